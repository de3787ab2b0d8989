"""A worker as its API sees it: the parts behind :class:`streams.api.worker_view.WorkerView`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from streams.api.worker_view import NotReadyError, Progress, Readiness
from streams.domain.ledger import AgencyLedger, Months
from streams.kafka.partitioner import partition_for
from streams.metrics.collector import AgencyState
from streams.metrics.exposition import Exposition
from streams.processing.intake import Intake
from streams.processing.task import Owned
from streams.processing.tasks import Tables
from streams.settings import Settings
from streams.state.partition import NOT_SEEN
from streams.views.published_months import Register
from streams.views.reference_data import Reference

_NO_MONTHS = Months()


@dataclass(frozen=True)
class View:
    """One worker's parts, read on the event loop that they live on: whole chunks are seen only."""

    settings: Settings
    reference: Reference
    register: Register
    tables: Tables
    intake: Intake
    exposition: Exposition
    as_of: Callable[[], int]
    lag: Callable[[], Mapping[tuple[str, int], int]]
    owner_url: Callable[[int], str | None]

    def progress(self) -> Progress:
        return Progress(
            self.intake.taken_in, max(self.intake.last_progress, self.tables.last_progress)
        )

    def readiness(self) -> Readiness:
        tables, recovery = self.tables, self.tables.recovery
        return Readiness(
            ready=tables.ready,
            problems=[],
            partitions=sorted(tables.owned),
            recovering=sorted(n for n, own in tables.owned.items() if not tables.publishes(own)),
            unexplained={
                f"{topic}[{number}]": offsets
                for (topic, number), offsets in self._unexplained().items()
                if offsets
            },
            recovery={
                "rows": recovery.rows,
                "repaired": recovery.repaired,
                "seconds": round(recovery.seconds, 3),
            },
        )

    def ledger(self, agency: str) -> AgencyLedger | None:
        owned = self._owned(agency)
        if owned is None:
            return None
        if not self.tables.publishes(owned):
            raise NotReadyError(f"agency {agency!r} is being recovered")
        return owned.partition.ledgers.get(agency) or AgencyLedger()

    def scrape(self, accept: str, behind: int | None) -> tuple[bytes, str]:
        return self.exposition.scrape(
            self.agency_states(),
            self.reference.targets,
            self.as_of(),
            self.lag(),
            self._unexplained(),
            behind,
            accept,
        )

    def agency_states(self) -> Iterator[AgencyState]:
        """The registered agencies whose figures this worker may show, by code."""
        for agency in sorted(self.reference.agencies.values()):
            owned = self._owned(agency.code)
            if owned is not None and self.tables.publishes(owned):
                ledger = owned.partition.ledgers.get(agency.code)
                seen = owned.partition.seen.get(agency.code, NOT_SEEN)
                yield AgencyState(agency, ledger.months if ledger else _NO_MONTHS, seen.at)

    def _owned(self, agency: str) -> Owned | None:
        return self.tables.owned.get(partition_for(agency.encode(), self.settings.partitions))

    def _unexplained(self) -> dict[tuple[str, int], int]:
        return {
            (topic, number): offsets
            for number, owned in self.tables.owned.items()
            for topic, offsets in owned.unexplained.items()
        }
