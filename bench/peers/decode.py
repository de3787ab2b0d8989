"""The contract's events by the same pydantic validators as hoso's: value → Fact.

Used by every peer whose own way of reading JSON is Python; pathway reads it in Rust.
"""

from __future__ import annotations

from pydantic import TypeAdapter

from bench.counts import ENDED, Fact
from schemas.events import ProcessedEvent, SubmittedEvent

validate_submitted = TypeAdapter(SubmittedEvent).validator.validate_json
validate_processed = TypeAdapter(ProcessedEvent).validator.validate_json


def submitted(value: bytes) -> Fact:
    """A record of the submissions topic. Raises pydantic's ValidationError."""
    data = validate_submitted(value).data
    return Fact(data.agency, data.dossier, data.service, data.channel == "online", False)


def processed(value: bytes) -> Fact:
    """A record of the processing topic. Raises pydantic's ValidationError."""
    data = validate_processed(value).data
    return Fact(data.agency, data.dossier, None, False, data.status in ENDED)
