"""Whole workers in one thread, one step at a time.

They are the real ones (Intake, Tasks, BatchWriter, chunk); only what they talk to is not: brokers
in memory (:mod:`tests.processing.cluster`), a producer (:mod:`tests.processing.producer`), disks
(:mod:`tests.processing.disk`), a log whose answers pause, and a consumer. A worker can be killed
between any two steps. Its batches on the way may be lost, or land long after its successor's.
Nothing here depends on time: the same seed gives the same run.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextvars import Context, ContextVar
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from faust.types import TP
from prometheus_client import CollectorRegistry

from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, Topic
from streams.kafka.batch_writer import BatchWriter
from streams.kafka.log import Damaged, Positions, Take
from streams.metrics.catalogue import Instruments
from streams.processing.intake import Intake
from streams.processing.reference_repair import ReferenceRepair
from streams.processing.source_cursor import Fetched
from streams.processing.task import Task
from streams.processing.tasks import Tasks
from streams.processing.verify import WrongLedgerError
from streams.runtime.faust_driver import ChunkScheduler
from streams.state.stores import MemoryStore
from streams.views.published_months import PublishedMonths
from streams.views.reference_data import ReferenceData
from tests.processing.cluster import SETTINGS, Cluster
from tests.processing.disk import DiskStore, WatchedStore, damaged_after
from tests.processing.producer import Batch, Producer

_CURRENT: ContextVar[Worker | None] = ContextVar("worker", default=None)


class SimulatedLog:
    """The port to the logs; each answer waits at a gate of its worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def read(
        self, positions: Mapping[TopicPartition, int], take: Take, damaged: Damaged
    ) -> Positions:
        worker, cluster = self._worker, self._worker.cluster
        await worker.gate()
        ends = {tp: cluster.ends[TP(*tp)] for tp in positions}
        if any(ends[tp] < at for tp, at in positions.items()):
            return ends
        at = dict(positions)
        while behind := [tp for tp in ends if at[tp] < ends[tp]]:
            for tp in behind:
                records = cluster.read(TP(*tp), at[tp], worker.random.randint(1, 40))
                take(tp, [(r.key, r.value) for r in records if r.key and r.value is not None])
                at[tp] = records[-1].offset + 1 if records else ends[tp]
            await worker.gate()
        return at

    async def ends(self, partitions: Iterable[TopicPartition]) -> Positions:
        await self._worker.gate()
        return {tp: self._worker.cluster.ends[TP(*tp)] for tp in partitions}

    async def starts(self, partitions: Iterable[TopicPartition]) -> Positions:
        await self._worker.gate()
        return {tp: self._worker.cluster.starts[TP(*tp)] for tp in partitions}

    async def first_from(
        self, positions: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, Any]:
        await self._worker.gate()
        cluster = self._worker.cluster
        found = {tp: cluster.read(TP(*tp), at, 1) for tp, at in positions.items()}
        return {tp: records[0] for tp, records in found.items() if records}

    def close(self) -> None:
        pass


class SimulatedRows(PublishedMonths):
    """The public rows as a view has them: as they were at some moment, until it is refreshed."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(SETTINGS)
        self._worker = worker
        self._at: defaultdict[int, int] = defaultdict(int)

    async def refresh(self) -> None:
        await self._worker.gate()
        for number in range(SETTINGS.partitions):
            tp = TP("agency-months", number)
            records: list[Any] = self._worker.cluster.read(tp, self._at[number], 1_000_000)
            self.view._apply(records)
            self._at[number] = self._worker.cluster.ends[tp]
        await self._worker.gate()

    def position(self, number: int) -> int:
        return self._at[number]


class SimulatedTasks(Tasks):
    """Tasks whose rows on disk are in this process, and which say what was found wrong."""

    def __init__(self, worker: Worker, *args: Any) -> None:
        self._worker = worker
        super().__init__(*args)

    def _verification_failed(self, task: Task, error: Exception) -> None:
        if isinstance(error, WrongLedgerError):
            self._worker.cluster.distrusted.append(str(error))
        super()._verification_failed(task, error)

    def _open_store(self, number: int) -> Any:
        if self._worker.disk is None:
            return MemoryStore()
        if isinstance(self._worker.disk, Path):
            return super()._open_store(number)
        journal = self._worker.disk[number]
        uses = self._worker.cluster.damage.pop(number, None)
        return DiskStore(journal) if uses is None else WatchedStore(journal, damaged_after(uses))


class SimulatedReference(ReferenceData):
    """Reference data read from the simulated logs, but for the agencies, which are given."""

    def __init__(self, cluster: Cluster, sources: Mapping[str, frozenset[str]]) -> None:
        super().__init__(SETTINGS)
        self._cluster = cluster
        self._given = sources
        self._read: defaultdict[TP, int] = defaultdict(int)

    @property
    def sources(self) -> Mapping[str, frozenset[str]]:
        return self._given

    async def refresh(self) -> None:
        for topic in REFERENCE_TOPICS:
            for number in range(SETTINGS.partitions):
                tp = TP(str(topic), number)
                records: list[Any] = self._cluster.read(tp, self._read[tp], 1_000_000)
                self._read[tp] = self._cluster.ends[tp]
                self.view._apply(records)


class _Instruments(Instruments):
    """Also counts in a plain way what was lost."""

    def __init__(self, lost: Counter[Any]) -> None:
        super().__init__(CollectorRegistry(), SETTINGS)
        self._lost = lost

    def count_lost(self, at: tuple[str, int], records: int) -> None:
        self._lost[at] += records


class Worker:
    """One process: the real intake and tables, and Faust's consumer beside them."""

    def __init__(
        self,
        cluster: Cluster,
        sources: Mapping[str, frozenset[str]],
        random: Random,
        disk: dict[int, list[Any]] | Path | None = None,
    ) -> None:
        settings = SETTINGS
        if isinstance(disk, Path):
            settings = SETTINGS.model_copy(update={"store": "rocksdb", "data_dir": disk})
        self.cluster = cluster
        self.random = random
        self.disk = disk
        self.fatal: str | None = None
        self.gates: deque[asyncio.Future[None]] = deque()
        rows = random.choice((1, 1, 2, 5, 1000))
        self.producer = Producer(lambda: rows)
        self.lost: Counter[Any] = Counter()
        """(topic, partition) → records that were gone before they were read."""
        writer = BatchWriter(self.producer)
        reference = SimulatedReference(cluster, sources)
        log = SimulatedLog(self)
        self.tasks = SimulatedTasks(
            self,
            settings,
            lambda: writer,
            log,
            SimulatedRows(self),
            self._seek,
            self._die,
            lambda: True,
            dict(cluster.identities),
        )
        self.tasks.verification.rest = lambda _: self.gate()
        self.intake = Intake(
            SETTINGS,
            self.tasks,
            reference,
            ReferenceRepair(SETTINGS, reference, lambda: writer),
            log,
            _Instruments(self.lost),
            self._die,
        )
        self.stream: asyncio.Queue[Any] = asyncio.Queue()
        self.fetched: dict[TP, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        token = _CURRENT.set(self)
        self._run = asyncio.create_task(self.intake.run(self._events(), self._seek))
        _CURRENT.reset(token)

    def _die(self, reason: str) -> None:
        self.fatal = reason

    async def gate(self) -> None:
        """Wait until the test lets a read go on."""
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate

    # Faust's consumer

    async def _events(self) -> AsyncIterator[Any]:
        while True:
            yield await self.stream.get()

    async def _seek(self, at: tuple[str, int], offset: int) -> None:
        self.fetched[TP(*at)] = offset

    def fetch(self, tp: TP, most: int) -> None:
        """Hand the next records of a partition over."""
        start = self.fetched[tp]
        if start > self.cluster.ends[tp]:
            start = self.fetched[tp] = self.cluster.starts[tp]  # aiokafka's reset to the earliest
        records = self.cluster.read(tp, start, most)
        until = records[-1].offset + 1 if len(records) == most else self.cluster.ends[tp]
        self.fetched[tp] = until
        epoch = records[0].epoch if records else -1
        for _, chunk in ChunkScheduler().iterate({tp: Fetched(start, until, records, epoch)}):
            message = SimpleNamespace(
                topic=tp.topic, partition=tp.partition, tp=tp, value=chunk.value
            )
            self.stream.put_nowait(SimpleNamespace(message=message, ack=lambda: None))

    def skip(self, tp: TP, most: int) -> None:
        """Lose fetched records, as Faust may after a recovery."""
        records = self.cluster.read(tp, self.fetched[tp], most)
        self.fetched[tp] = records[-1].offset + 1

    def commit(self) -> None:
        """What Faust does from time to time."""
        for at, offset in self.tasks.checkpoints().items():
            if offset:
                self.cluster.committed[TP(*at)] = offset

    async def assign(self, numbers: set[int]) -> None:
        """A rebalance that leaves this worker with ``numbers``, waiting for nothing."""
        self.tasks.suspend()
        await self.tasks.drain(0)
        token = _CURRENT.set(self)
        self.tasks.assign(numbers)
        _CURRENT.reset(token)
        self.fetched = {
            TP(str(topic), number): self.cluster.committed.get(TP(str(topic), number), 0)
            for topic in EVENT_TOPICS | {Topic.agencies}
            for number in numbers
        }

    def poll(self) -> None:
        """What the app does from time to time."""
        token = _CURRENT.set(self)
        asyncio.get_running_loop().create_task(self.tasks.poll())
        _CURRENT.reset(token)

    # Steps

    def steps(self) -> list[tuple[str, Any]]:
        """What could happen next, in a fixed order."""
        found: list[tuple[str, Any]] = []
        if self.gates:
            found.append(("read", None))
        for tp, queue in self.producer.underway.items():
            if queue:
                found.append(("land", tp))
        for tp, queue in self.producer.landed.items():
            if queue:
                found.append(("acknowledge", tp))
        if self.stream.qsize() < 6:
            found += [
                ("fetch", tp)
                for tp in sorted(self.fetched)
                if self.fetched[tp] != self.cluster.ends[tp]
            ]
        return found

    async def step(self, what: str, tp: TP | None, most: int) -> None:
        """Take one of :meth:`steps`."""
        if what == "read":
            gate = self.gates.popleft()
            if not gate.done():
                gate.set_result(None)
        elif what == "land":
            assert tp is not None
            batch = self.producer.underway[tp].popleft()
            batch.base = self.cluster.append(tp.topic, tp.partition, batch.rows)
            batch.left.set()
            self.producer.landed[tp].append(batch)
        elif what == "acknowledge":
            assert tp is not None
            batch = self.producer.landed[tp].popleft()
            if not batch.delivery.done():
                batch.delivery.set_result(SimpleNamespace(offset=batch.base))
        elif what == "fetch":
            assert tp is not None
            self.fetch(tp, most)
        await settle()

    async def kill(self) -> list[Batch]:
        """End the process; what its producer had under way, in order per partition."""
        for task in list(self._tasks):
            task.cancel()
        await settle()
        return [batch for queue in self.producer.underway.values() for batch in queue]

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do but to wait for new records."""
        return not self.steps() and self.tasks.ready and self.stream.empty()


def track_tasks() -> None:
    """Let the running loop tell each worker of its tasks, so that a kill finds them all."""

    def create(
        loop: asyncio.AbstractEventLoop, coro: Any, *, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context)
        worker = _CURRENT.get() if context is None else context.get(_CURRENT)
        if worker is not None:
            worker._tasks.add(task)
            task.add_done_callback(worker._tasks.discard)
        return task

    asyncio.get_running_loop().set_task_factory(create)


async def settle() -> None:
    """Let every task run until it waits for something that only a step brings."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    while True:
        await asyncio.sleep(0)
        if not ready:
            return
