"""A whole deployment in one thread: brokers, Faust's consumer and workers, one step at a time.

The workers are the real ones (Intake, Tables, BatchWriter, pipeline); only what they talk to is
not: a producer whose batches land and are acknowledged when the test says so, changelog reads that
pause, and a consumer that keeps Faust's own books of what may be committed. A worker can be killed
between any two steps. Its batches on the way may be lost, or land long after its successor's.

A broker appends a batch whole or not at all, so a batch of one row lets a crash cut a table's rows
anywhere. Nothing here depends on time: the same seed gives the same run.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple

from faust.transport.consumer import Consumer
from faust.types import TP
from intervaltree import IntervalTree  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry

from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, Topic
from streams.kafka.batch_writer import BatchWriter
from streams.kafka.partitioner import partition_for
from streams.metrics.catalogue import Instruments
from streams.processing.intake import Intake
from streams.processing.reference_repair import ReferenceRepair
from streams.processing.task import Owned
from streams.processing.tasks import Tables
from streams.runtime.faust_driver import ChunkScheduler
from streams.settings import load
from streams.state.stores import NOTHING, MemoryStore
from streams.views.reference_data import Reference

SETTINGS = load(topic_prefix="", app_id="sim", partitions=2)
START_MS = 16_725_225_600_000  # the year 2500: facts of busy worlds reach to 2400
LOGS = ("sim-dossiers-changelog", "sim-services-changelog", "agency-months")


_CURRENT: ContextVar[Worker | None] = ContextVar("worker", default=None)


class Record(NamedTuple):
    """A record as aiokafka gives it, as far as anyone looks."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Cluster:
    """The brokers: logs, and what the group has committed."""

    def __init__(self) -> None:
        self.logs: defaultdict[TP, list[Record]] = defaultdict(list)
        self.ends: defaultdict[TP, int] = defaultdict(int)
        self.committed: dict[TP, int] = {}
        self.clock = START_MS
        self.distrusted: list[str] = []
        """Agencies whose restored ledgers were not what their rows give."""

    def append(self, topic: str, partition: int, rows: Iterable[Any]) -> int:
        """Append one batch; the offset of its first record."""
        tp = TP(topic, partition)
        base = self.ends[tp]
        for key, value, headers in rows:
            self.clock += 1
            self.logs[tp].append(
                Record(topic, partition, self.ends[tp], self.clock, 1, key, value, tuple(headers))
            )
            self.ends[tp] += 1
        return base

    def read(self, tp: TP, offset: int, most: int) -> list[Record]:
        """Up to ``most`` records at or after ``offset``."""
        return [record for record in self.logs[tp] if record.offset >= offset][:most]

    def compact(self, tp: TP) -> None:
        """Keep the last record of each key."""
        last = {record.key: record for record in self.logs[tp]}
        self.logs[tp] = sorted(last.values(), key=lambda record: record.offset)

    def latest(self, topic: str) -> dict[bytes | None, bytes | None]:
        """A compacted topic as its readers see it."""
        found: dict[bytes | None, bytes | None] = {}
        for partition in range(SETTINGS.partitions):
            for record in self.logs[TP(topic, partition)]:
                found[record.key] = record.value
        return found

    def send(self, event: Mapping[str, Any], partition: int | None = None) -> None:
        """What a portal does: the right partition unless it is told another."""
        key = event["key"].encode()
        right = partition_for(key, SETTINGS.partitions)
        value = event["value"]
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        at = right if partition is None else partition
        self.append(event["topic"], at, [(key, raw, (("portal", b"1"),))])


@dataclass(eq=False)
class Batch:
    """Rows on their way from a producer to a log."""

    topic: str
    partition: int
    rows: list[tuple[bytes | None, bytes | None, Any]]
    delivery: asyncio.Future[Any]
    base: int | None = None
    """Where it landed."""
    left: asyncio.Event = field(default_factory=asyncio.Event)


class Builder:
    """aiokafka's BatchBuilder, full after ``room`` rows."""

    def __init__(self, room: int) -> None:
        self.rows: list[tuple[bytes | None, bytes | None, Any]] = []
        self.room = room
        self._builder = self
        """The compiled builder inside, which rows are handed to."""

    def append(
        self, offset: int, timestamp: int, key: bytes | None, value: bytes | None, headers: Any
    ) -> object:
        assert offset == len(self.rows)
        if len(self.rows) >= self.room:
            return None
        self.rows.append((key, value, headers))
        return object()

    def close(self) -> None:
        pass


class Producer:
    """aiokafka's producer: one batch of a partition under way, one waiting, the rest held back."""

    def __init__(self, room: Callable[[], int]) -> None:
        self.underway: dict[TP, deque[Batch]] = defaultdict(deque)
        self.landed: dict[TP, deque[Batch]] = defaultdict(deque)
        self.room = room

    def create_batch(self) -> Builder:
        return Builder(self.room())

    async def send_batch(
        self, builder: Builder, topic: str, *, partition: int
    ) -> asyncio.Future[Any]:
        queue = self.underway[TP(topic, partition)]
        while len(queue) > 1:
            await queue[-1].left.wait()
        delivery: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        queue.append(Batch(topic, partition, builder.rows, delivery))
        return delivery


@dataclass(frozen=True)
class Together:
    """Rows and entries beside them that one write put in."""

    rows: dict[bytes, bytes]
    beside: dict[bytes, bytes | None]


class DiskStore(MemoryStore):
    """Rows that outlive the process; ``journal`` is what a write-ahead log would hold.

    As with RocksDB, using it after it was closed is an error.
    """

    keeps = True

    def __init__(self, journal: list[Any]) -> None:
        super().__init__()
        self._journal = journal
        self._closed = False
        for entry in journal:
            if isinstance(entry, Together):
                super().put_many(entry.rows, entry.beside)
            elif entry is None:
                super().clear()
            elif isinstance(entry, tuple):
                self._marks[entry[0]] = entry[1]
            else:
                self._position = entry

    def _log(self, entry: Any) -> None:
        if self._closed:
            raise RuntimeError("the database is closed")
        self._journal.append(entry)

    def put_many(
        self,
        rows: Mapping[bytes, bytes],
        beside: Mapping[bytes, bytes | None] = NOTHING,
        *,
        added: int = 0,
    ) -> None:
        assert added == len(rows.keys() - self._rows.keys()), "the count kept would be wrong"
        self._log(Together(dict(rows), dict(beside)))
        super().put_many(rows, beside)

    def set_position(self, offset: int) -> None:
        self._log(offset)
        super().set_position(offset)

    def mark(self, key: bytes, value: bytes) -> None:
        self._log((key, value))
        super().mark(key, value)

    def clear(self) -> None:
        self._log(None)
        super().clear()

    def close(self) -> None:
        self._closed = True


class SimulatedTables(Tables):
    """Tables whose reading of changelogs pauses at gates."""

    worker: Worker

    async def _read_to_end(
        self,
        number: int,
        positions: Mapping[str, int],
        take: Callable[[str, list[tuple[bytes, bytes]]], None],
    ) -> dict[str, int]:
        worker, cluster = self.worker, self.worker.cluster
        await worker.gate()
        tps = {table: TP(log, number) for table, log in self._logs.items()}
        ends = {table: cluster.ends[tp] for table, tp in tps.items()}
        if any(ends[table] < positions[table] for table in ends):
            return ends
        at = dict(positions)
        while behind := [table for table in ends if at[table] < ends[table]]:
            for table in behind:
                records = cluster.read(tps[table], at[table], worker.random.randint(1, 40))
                take(table, [(r.key, r.value) for r in records if r.key and r.value is not None])
                at[table] = records[-1].offset + 1 if records else ends[table]
            await worker.gate()
        return at

    def _distrust(self, owned: Owned, agency: str) -> None:
        self.worker.cluster.distrusted.append(agency)
        super()._distrust(owned, agency)

    async def _ends(self, numbers: list[int]) -> dict[int, dict[str, int]]:
        await self.worker.gate()
        ends = self.worker.cluster.ends
        return {n: {t: ends[TP(log, n)] for t, log in self._logs.items()} for n in numbers}

    def _open_store(self, number: int) -> Any:
        if self.worker.disk is None:
            return MemoryStore()
        if isinstance(self.worker.disk, Path):
            return super()._open_store(number)
        return DiskStore(self.worker.disk[number])


class SimulatedIntake(Intake):
    """Intake that asks the simulated log for a record."""

    worker: Worker

    async def _first_from(self, topic: str, partition: int, offset: int) -> int:
        tp = TP(topic, partition)
        found = self.worker.cluster.read(tp, offset, 1)
        assert found, "asked for a record after the end of the log"
        return found[0].offset


class SimulatedReference(Reference):
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


class Worker:
    """One process: the real intake and tables, and Faust's consumer beside them."""

    _instruments = Instruments(CollectorRegistry(), ())

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
        self.tables = SimulatedTables(settings, lambda: BatchWriter(self.producer), self._die)
        self.tables.worker = self
        self.tables.recounts.rest = lambda _: self.gate()
        writer = BatchWriter(self.producer)
        reference = SimulatedReference(cluster, sources)
        self.intake = SimulatedIntake(
            SETTINGS,
            self.tables,
            reference,
            ReferenceRepair(SETTINGS, reference, lambda: writer),
            self._instruments,
            self._die,
        )
        self.intake.worker = self
        self.stream: asyncio.Queue[Any] = asyncio.Queue()
        self.fetched: dict[TP, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        token = _CURRENT.set(self)
        self._run = asyncio.create_task(self.intake.run(self._events(), self._seek))
        _CURRENT.reset(token)
        self._forget_books()

    def _die(self, reason: str) -> None:
        self.fatal = reason

    async def gate(self) -> None:
        """Wait until the test lets a read go on."""
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate

    # Faust's consumer

    def _forget_books(self) -> None:
        self._books = SimpleNamespace(
            _acked=defaultdict(list),
            _acked_index=defaultdict(set),
            _gap=defaultdict(IntervalTree),
            _committed_offset=defaultdict(lambda: None),
        )
        self._read: dict[TP, int | None] = defaultdict(lambda: None)

    async def _events(self) -> AsyncIterator[Any]:
        while True:
            yield await self.stream.get()

    async def _seek(self, tp: TP, offset: int) -> None:
        self.fetched[tp] = offset
        self._read[tp] = offset or None

    def _ack(self, tp: TP, offset: int) -> None:
        # faust/transport/consumer.py, Consumer.ack
        committed = self._books._committed_offset[tp]
        if (committed is None or offset >= committed) and offset not in self._books._acked_index[
            tp
        ]:
            self._books._acked_index[tp].add(offset)
            self._books._acked[tp].append(offset)

    async def fetch(self, tp: TP, most: int) -> None:
        """Hand the next records of a partition over (``Consumer._drain_messages``)."""
        records = self.cluster.read(tp, self.fetched[tp], most)
        self.fetched[tp] = records[-1].offset + 1
        for _, chunk in ChunkScheduler().iterate({tp: records}):
            read = self._read[tp]
            if read is not None and chunk.offset < read:
                continue
            if read and chunk.offset - read > 1:
                await Consumer._add_gap(self._books, tp, read + 1, chunk.offset)
            self._read[tp] = chunk.offset
            message = SimpleNamespace(
                topic=tp.topic, partition=tp.partition, tp=tp, value=chunk.value
            )
            offset, books = chunk.offset, self._books

            def ack(offset: int = offset, books: Any = books) -> None:
                if books is self._books:
                    self._ack(tp, offset)

            self.stream.put_nowait(SimpleNamespace(message=message, ack=ack))

    def skip(self, tp: TP, most: int) -> None:
        """Lose fetched records, as Faust may after a recovery."""
        records = self.cluster.read(tp, self.fetched[tp], most)
        self.fetched[tp] = records[-1].offset + 1

    def commit(self) -> None:
        """Commit what Faust thinks may be committed (``Consumer._new_offset``)."""
        for tp in list(self._books._acked):
            offset = Consumer._new_offset(self._books, tp)
            if offset is not None:
                offset = self.tables.committable(tp.topic, tp.partition, offset)
            known = self._books._committed_offset[tp]
            if offset is not None and (known is None or offset > known):
                self._books._committed_offset[tp] = offset
                self.cluster.committed[tp] = offset

    async def assign(self, numbers: set[int]) -> None:
        """A rebalance that leaves this worker with ``numbers``, waiting for nothing."""
        self.tables.suspend()
        self._forget_books()
        await self.tables.drain(0)
        token = _CURRENT.set(self)
        self.tables.assign(numbers)
        _CURRENT.reset(token)
        self.fetched = {
            TP(str(topic), number): self.cluster.committed.get(TP(str(topic), number), 0)
            for topic in EVENT_TOPICS | {Topic.agencies}
            for number in numbers
        }
        for tp, offset in self.fetched.items():
            if tp in self.cluster.committed:
                self._read[tp] = offset
                self._books._committed_offset[tp] = offset or None

    def watch(self) -> None:
        """What the app does from time to time."""
        token = _CURRENT.set(self)
        asyncio.get_running_loop().create_task(self.tables.watch())
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
                if self.fetched[tp] < self.cluster.ends[tp]
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
            await self.fetch(tp, most)
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
        return not self.steps() and self.tables.ready and self.stream.empty()


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
