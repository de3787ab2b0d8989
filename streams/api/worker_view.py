"""What the API needs of the worker that it answers for, and nothing else of one.

Implemented in :mod:`streams.runtime`; the API is tested, and could be served, without a worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from streams.domain.ledger import AgencyLedger
from streams.settings import Settings
from streams.views.published_months import PublishedMonths
from streams.views.reference_data import ReferenceData


class NotReadyError(Exception):
    """What was asked for cannot be answered now, but will be; the message says why."""


class Progress(NamedTuple):
    """What a worker has done so far."""

    processed: int
    """Records finished with, of all topics."""
    at: float
    """When it last processed a chunk or got on with a restore, on the monotonic clock."""


class Readiness(NamedTuple):
    """Whether a worker is ready, and what it waits for if not. The fields of ``/readyz``."""

    ready: bool
    problems: list[str]
    """What is wrong with the topics: none, for while there are any the topic gate answers."""
    partitions: list[int]
    """The partitions that it owns."""
    recovering: list[int]
    """Those of them whose figures are not shown yet."""
    unaccounted: dict[str, int]
    """``topic[partition]`` → offsets moved past without an outcome."""
    recovery: dict[str, float]
    """Rows read, rows repaired and seconds of the last recovery."""


class WorkerView(Protocol):
    """A worker, or a process that owns no partition and only reads."""

    @property
    def settings(self) -> Settings: ...

    @property
    def reference(self) -> ReferenceData: ...

    @property
    def register(self) -> PublishedMonths: ...

    def as_of(self) -> int:
        """The as-of day (an ordinal) where a question names none."""

    def lag(self) -> Mapping[tuple[str, int], int]:
        """(topic, partition) → records that the broker has and the worker has not processed."""

    def progress(self) -> Progress: ...

    def readiness(self) -> Readiness: ...

    def ledger(self, agency: str) -> AgencyLedger | None:
        """The ledger of an agency; None where another worker owns its partition.

        Raises ``NotReadyError`` while the partition is recovered.
        """

    def rejected(self, agency: str) -> tuple[datetime, Mapping[str, int]]:
        """Since when, and how many records of an agency this process rejected, by reason."""

    def owner_url(self, partition: int) -> str | None:
        """The web address of the worker that owns ``partition``, or None while nobody does."""
