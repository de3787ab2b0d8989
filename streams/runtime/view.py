"""A worker as its API sees it: the parts behind :class:`streams.api.worker_view.WorkerView`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from streams.api.worker_view import NotReadyError, Progress, Readiness
from streams.domain.ledger import AgencyLedger, Months
from streams.kafka.partitioner import partition_for
from streams.metrics.collector import AgencyState
from streams.metrics.exposition import Exposition
from streams.processing.intake import Intake
from streams.processing.task import Task
from streams.processing.tasks import Tasks
from streams.settings import Settings
from streams.state.partition import NOT_SEEN
from streams.views.published_months import PublishedMonths
from streams.views.reference_data import ReferenceData

_NO_MONTHS = Months()


@dataclass(frozen=True)
class View:
    """One worker's parts, read on the event loop that they live on: whole chunks are seen only."""

    settings: Settings
    reference: ReferenceData
    register: PublishedMonths
    tasks: Tasks
    intake: Intake
    exposition: Exposition
    as_of: Callable[[], int]
    lag: Callable[[], Mapping[tuple[str, int], int]]
    owner_url: Callable[[int], str | None]

    def progress(self) -> Progress:
        return Progress(
            self.intake.processed, max(self.intake.last_progress, self.tasks.restore.last_progress)
        )

    def readiness(self) -> Readiness:
        tasks, recovery = self.tasks, self.tasks.restore.report
        return Readiness(
            ready=tasks.ready,
            problems=[],
            partitions=sorted(tasks.tasks),
            recovering=sorted(n for n, task in tasks.tasks.items() if not tasks.shows(task)),
            unaccounted={
                f"{topic}[{number}]": offsets
                for (topic, number), offsets in self._unaccounted().items()
                if offsets
            },
            recovery={
                "rows": recovery.rows,
                "repaired": recovery.repaired,
                "seconds": round(recovery.seconds, 3),
            },
        )

    def ledger(self, agency: str) -> AgencyLedger | None:
        task = self._task(agency)
        if task is None:
            return None
        if not self.tasks.shows(task):
            raise NotReadyError(f"agency {agency!r} is being recovered")
        return task.partition.ledgers.get(agency) or AgencyLedger()

    def rejected(self, agency: str) -> tuple[datetime, Mapping[str, int]]:
        return self.exposition.rejected(agency)

    def scrape(self, accept: str, behind: int | None) -> tuple[bytes, str]:
        return self.exposition.scrape(
            self.agency_states(),
            self.reference.targets,
            self.as_of(),
            self.lag(),
            self._unaccounted(),
            behind,
            accept,
        )

    def agency_states(self) -> Iterator[AgencyState]:
        """The registered agencies whose figures this worker may show, by code."""
        for agency in sorted(self.reference.agencies.values()):
            task = self._task(agency.code)
            if task is not None and self.tasks.shows(task):
                ledger = task.partition.ledgers.get(agency.code)
                seen = task.partition.seen.get(agency.code, NOT_SEEN)
                yield AgencyState(agency, ledger.months if ledger else _NO_MONTHS, seen.at)

    def _task(self, agency: str) -> Task | None:
        return self.tasks.tasks.get(partition_for(agency.encode(), self.settings.partitions))

    def _unaccounted(self) -> dict[tuple[str, int], int]:
        return {
            (topic, number): cursor.unaccounted
            for number, task in self.tasks.tasks.items()
            for topic, cursor in task.cursors.items()
        }
