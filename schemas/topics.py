"""The topics of the register, which kind each is, and which event type belongs on which.

Names here are without the configured prefix (`hoso.` by default): the prefix is a matter of
deployment. Imports nothing but the standard library. Source: the contract, section 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Topic(StrEnum):
    """A topic, by its name without the prefix."""

    submissions = "submissions"
    processing = "processing"
    catalogue = "catalogue"
    agencies = "agencies"
    targets = "targets"
    agency_months = "agency-months"
    dead_letters = "dead-letters"


EVENT_TOPICS: Final[frozenset[Topic]] = frozenset(
    {Topic.submissions, Topic.processing, Topic.catalogue}
)
"""Facts sent by portals, keyed by agency, kept without limit, stamped by the broker."""

REFERENCE_TOPICS: Final[frozenset[Topic]] = frozenset({Topic.agencies, Topic.targets})
"""Who may speak and what was promised. A null value is a tombstone: it removes the entry."""

COMPACTED_TOPICS: Final[frozenset[Topic]] = REFERENCE_TOPICS | {Topic.agency_months}
"""Topics whose last value per key is the state, and whose older values may be gone."""

TOPIC_OF_TYPE: Final[Mapping[str, Topic]] = MappingProxyType(
    {
        "hoso.dossier.submitted.v1": Topic.submissions,
        "hoso.dossier.processed.v1": Topic.processing,
        "hoso.service.listed.v1": Topic.catalogue,
        "hoso.agency.registered.v1": Topic.agencies,
        "hoso.target.assigned.v1": Topic.targets,
    }
)
"""CloudEvents `type` → the one topic it may arrive on (the contract, section 2)."""
