"""A register under simulation: events sent, workers in turn, faults, and what must come out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

from faust.types import TP

from schemas.topics import EVENT_TOPICS, Topic
from streams.domain.calendar import PERIOD_KINDS, month_name
from streams.domain.definitions import DEFINITIONS
from streams.domain.indicators import Agency, report
from streams.domain.ledger import Months
from streams.domain.targets import Targets
from streams.kafka.partitioner import partition_for
from streams.state.codecs import (
    AgencyMonth,
    decode_agency_month,
    split_agency_month_key,
    split_taken_in_key,
)
from tests.domain.register import Register, in_the_oracles_shape
from tests.domain.worlds import World
from tests.oracle import Oracle
from tests.processing.cluster import LOGS, SETTINGS, Cluster
from tests.processing.producer import Batch
from tests.processing.simulation import Worker, settle, track_tasks

PARTITIONS = range(SETTINGS.partitions)


class Deployment:
    """A cluster, the workers that are alive, and batches of dead ones that may still land."""

    def __init__(self, world: World, random: Random, *, disk: bool | Path = False) -> None:
        """``disk``: stores outlive their worker; in RocksDB itself under a directory, if given."""
        track_tasks()
        self.world = world
        self.random = random
        self.cluster = Cluster()
        self.sources = {e["key"]: frozenset[str]() for e in world.reference if _registers(e)}
        self.disk: dict[int, list[Any]] | Path | None = None
        if disk:
            self.disk = disk if isinstance(disk, Path) else {n: [] for n in PARTITIONS}
        self.workers: list[Worker] = []
        self.owners: dict[int, Worker] = {}
        self.stray: deque[Batch] = deque()
        self.rejected: list[bytes] = []
        self.log: list[str] = []

    # What portals do

    def send(self, events: Iterable[Mapping[str, Any]]) -> None:
        for event in events:
            self.cluster.send(event)

    def send_astray(self, event: Mapping[str, Any]) -> None:
        """To the wrong partition for its key."""
        right = partition_for(event["key"].encode(), SETTINGS.partitions)
        self.cluster.send(event, (right + 1) % SETTINGS.partitions)

    def send_rubbish(self, topic: str, key: str, raw: bytes) -> None:
        self.rejected.append(raw)
        self.cluster.send({"topic": topic, "key": key, "value": raw})

    # What operators and fate do

    def start(self) -> Worker:
        worker = Worker(self.cluster, self.sources, self.random, self.disk)
        self.workers.append(worker)
        return worker

    async def give(self, owners: Mapping[int, Worker]) -> None:
        """A rebalance."""
        self.owners = dict(owners)
        for worker in self.workers:
            await worker.assign({n for n, owner in owners.items() if owner is worker})
        await settle()

    async def share(self) -> None:
        """A rebalance among the live workers, evenly or not."""
        # One disk cannot be held by two: those runs have one worker at a time.
        await self.give({n: self.random.choice(self.workers) for n in PARTITIONS})

    async def kill(self, worker: Worker, *, stray: bool) -> None:
        """SIGKILL. With ``stray``, a part of what its producer had under way lands later."""
        underway = await worker.kill()
        self.workers.remove(worker)
        if stray:
            by_log: dict[TP, list[Batch]] = {}
            for batch in underway:
                by_log.setdefault(TP(batch.topic, batch.partition), []).append(batch)
            for batches in by_log.values():
                self.stray.extend(batches[: self.random.randint(0, len(batches))])
        if isinstance(self.disk, dict):
            for journal in self.disk.values():
                del journal[self.random.randint(0, len(journal)) :]

    def lose_disk(self) -> None:
        """What workers that are to be started had on disk is gone."""
        assert isinstance(self.disk, dict)
        for journal in self.disk.values():
            journal.clear()

    def land_stray(self) -> None:
        """A dead worker's batch lands. Within a log they keep their order."""
        batch = self.stray.popleft()
        self.cluster.append(batch.topic, batch.partition, batch.rows)

    def truncate(self, tp: TP, records: int) -> None:
        """An unclean leader election loses the last records; their portals send them again, in
        another order, after one that nobody has sent before at this place."""
        log = self.cluster.logs[tp]
        lost = log[-records:]
        if not lost:
            return
        self.cluster.truncate(tp, lost[0].offset)
        again = [*lost, self.random.choice(log)]
        self.random.shuffle(again)
        for record in again:
            self.cluster.append(*tp, [(record.key, record.value, record.headers)])

    async def poll(self) -> None:
        """Every worker looks for rows of others, and puts right what it finds."""
        for worker in self.workers:
            worker.poll()
        await settle()
        await self.run_until_idle()

    def compact(self) -> None:
        """Compact what may be compacted: logs of which the owner has seen everything."""
        for number, owner in self.owners.items():
            task = owner.tasks.tasks.get(number)
            if task is None or not task.running:
                continue
            for table, log in zip(("dossiers", "services", "months"), LOGS, strict=True):
                if task.changelog_offsets.get(table) == self.cluster.ends[TP(log, number)]:
                    self.cluster.compact(TP(log, number))

    # Running

    async def step(self, worker: Worker, choice: tuple[str, Any], most: int = 12) -> None:
        self.log.append(f"{self.workers.index(worker)} {choice[0]} {choice[1] or ''}")
        await worker.step(*choice, most)
        assert worker.fatal is None, worker.fatal

    async def run_until_idle(self) -> None:
        """No more faults: everything sent is taken in, written, acknowledged and committed."""
        for _ in range(20_000):
            busy = [worker for worker in self.workers if worker.steps()]
            if not busy:
                break
            for worker in busy:
                for choice in worker.steps():
                    if choice in worker.steps():
                        await self.step(worker, choice)
        else:
            raise AssertionError("the workers never come to rest")
        for worker in self.workers:
            worker.commit()
            assert worker.idle or not worker.tasks.tasks

    async def restart_everything(self, *, from_logs_alone: bool = False) -> Worker:
        """All workers end, one starts anew and recovers."""
        for worker in list(self.workers):
            await worker.kill()
            self.workers.remove(worker)
        if from_logs_alone and self.disk is not None:
            self.lose_disk()
        worker = self.start()
        await self.give(dict.fromkeys(PARTITIONS, worker))
        await self.run_until_idle()
        return worker

    # What must come out

    def owned_cells(self) -> dict[str, dict[str, dict[str, list[int]]]]:
        """agency → month → columns, in the ledgers of the owners."""
        found: dict[str, dict[str, dict[str, list[int]]]] = {}
        for number, owner in self.owners.items():
            task = owner.tasks.tasks[number]
            assert task.running
            for agency, ledger in task.partition.ledgers.items():
                for month, cells in ledger.months.items():
                    if rows := cells.rows():
                        found.setdefault(agency, {})[month_name(month)] = rows
        return found

    def published(self) -> dict[str, Months]:
        """The register as anyone reads it from ``agency-months``."""
        found: dict[str, Months] = {}
        for row in self._rows():
            found.setdefault(row.agency, Months())[row.month] = row.cells
        return found

    def _rows(self) -> Iterator[AgencyMonth]:
        for key, value in self.cluster.latest("agency-months").items():
            if split_agency_month_key(key or b"") is not None:
                yield decode_agency_month(value or b"")

    def published_cells(self) -> dict[str, dict[str, dict[str, list[int]]]]:
        found: dict[str, dict[str, dict[str, list[int]]]] = {}
        for agency, months in self.published().items():
            for month, cells in months.items():
                if rows := cells.rows():
                    found.setdefault(agency, {})[month_name(month)] = rows
        return found

    def check(self) -> None:
        """Ledgers and published rows against a fold, and the figures against the oracle."""
        assert self.cluster.distrusted == []
        register = Register(self.world.events)
        expected = register.cells()
        assert self.owned_cells() == expected
        assert self.published_cells() == expected
        oracle = Oracle(self.world.events)
        for day in self.world.asked[:1]:
            for kind in PERIOD_KINDS[-2:]:
                assert self.figures(register, day, kind) == oracle.figures(day, kind, "mic-2022")
        self._check_seen()
        self._check_marks()
        self._check_dead_letters()
        for tp, offset in self.cluster.committed.items():
            assert offset <= self.cluster.ends[tp]

    def figures(self, register: Register, day: date, kind: Any) -> dict[str, Any]:
        """The API's figures, from the published rows alone."""
        rows = report(
            [Agency(a.code, a.name, a.kind) for a in register.agencies.values()],
            self.published(),
            Targets(dict(register.assigned.values())),
            DEFINITIONS["mic-2022"],
            kind,
            day.toordinal(),
        )
        return {row.scope: in_the_oracles_shape(row) for row in rows}

    def _check_seen(self) -> None:
        """When an agency was last heard of: the latest accepted record on its own partition."""
        expected: dict[str, int] = {}
        bad = set(self.rejected)
        for topic in EVENT_TOPICS:
            for number in PARTITIONS:
                for record in self.cluster.logs[TP(str(topic), number)]:
                    home = partition_for(record.key or b"", SETTINGS.partitions) == number
                    if home and record.value not in bad:
                        agency = (record.key or b"").decode()
                        expected[agency] = max(expected.get(agency, 0), record.timestamp)
        found: dict[str, int] = {}
        for row in self._rows():
            found[row.agency] = max(found.get(row.agency, 0), row.last_event_at or 0)
        assert found == expected, (found, expected)

    def _check_marks(self) -> None:
        """The newest mark of each source topic is its end, and no row behind the last mark of a
        partition says anything new: whoever reads up to it has exactly the events before it."""
        for number in PARTITIONS:
            found: dict[str, int] = {}
            up_to_marks: dict[bytes, bytes] = {}
            rows: dict[bytes, bytes] = {}
            for record in self.cluster.logs[TP("agency-months", number)]:
                assert record.key is not None
                assert record.value is not None
                topic = split_taken_in_key(record.key)
                if topic is None:
                    rows[record.key] = record.value
                else:
                    found[topic] = int(record.value)
                    up_to_marks = dict(rows)
            ends = {str(t): self.cluster.ends[TP(str(t), number)] for t in EVENT_TOPICS}
            for topic, end in ends.items():
                reached = found.get(topic, 0)
                assert reached == end, topic
            assert _cells(up_to_marks) == _cells(rows)

    def _check_dead_letters(self) -> None:
        letters = [
            record.value
            for number in PARTITIONS
            for record in self.cluster.logs[TP(str(Topic.dead_letters), number)]
        ]
        assert set(letters) == set(self.rejected), "a rejected record is in no dead letter"


def _cells(rows: Mapping[bytes, bytes]) -> dict[bytes, dict[str, list[int]]]:
    found = {key: decode_agency_month(value).cells.rows() for key, value in rows.items()}
    return {key: cells for key, cells in found.items() if cells}


def _registers(event: Mapping[str, Any]) -> bool:
    return event["topic"] == "agencies" and event["value"] is not None
