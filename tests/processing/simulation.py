"""A whole deployment in one thread: brokers, Faust's consumer and workers, one step at a time.

The workers are the real ones (Intake, Tasks, BatchWriter, chunk); only what they talk to is not: a
producer whose batches land and are acknowledged when the test says so, a log whose answers pause,
and a consumer. A worker can be killed
between any two steps. Its batches on the way may be lost, or land long after its successor's.

A broker appends a batch whole or not at all, so a batch of one row lets a crash cut a table's rows
anywhere. Nothing here depends on time: the same seed gives the same run.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from faust.types import TP
from prometheus_client import CollectorRegistry

from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, Topic
from streams.kafka.batch_writer import BatchWriter
from streams.kafka.log import Damaged, Positions, Take
from streams.kafka.partitioner import partition_for
from streams.metrics.catalogue import Instruments
from streams.processing.intake import Intake
from streams.processing.reference_repair import ReferenceRepair
from streams.processing.source_cursor import Fetched
from streams.processing.task import Task
from streams.processing.tasks import Tasks
from streams.runtime.faust_driver import ChunkScheduler
from streams.settings import load
from streams.state.codecs import decode_agency_seen, split_agency_month_key, split_taken_in_key
from streams.state.partition import NOT_SEEN, Seen, later
from streams.state.stores import NOTHING, DamagedStoreError, MemoryStore
from streams.views.reference_data import ReferenceData

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
    epoch: int
    """The leader's, of the batch."""


class Cluster:
    """The brokers: logs, and what the group has committed."""

    def __init__(self) -> None:
        self.logs: defaultdict[TP, list[Record]] = defaultdict(list)
        self.ends: defaultdict[TP, int] = defaultdict(int)
        self.starts: defaultdict[TP, int] = defaultdict(int)
        self.identities: dict[str, str] = {}
        """Topic → which one of that name it is."""
        self.epochs: defaultdict[TP, int] = defaultdict(int)
        self.committed: dict[TP, int] = {}
        self.clock = START_MS
        self.damage: dict[int, int] = {}
        """Partition → how often its store, opened next, can be used before damage shows."""
        self.distrusted: list[str] = []
        """Agencies whose restored ledgers were not what their rows give."""

    def append(self, topic: str, partition: int, rows: Iterable[Any]) -> int:
        """Append one batch; the offset of its first record."""
        tp = TP(topic, partition)
        base = self.ends[tp]
        for key, value, headers in rows:
            self.clock += 1
            self.logs[tp].append(
                Record(
                    topic,
                    partition,
                    self.ends[tp],
                    self.clock,
                    1,
                    key,
                    value,
                    tuple(headers),
                    self.epochs[tp],
                )
            )
            self.ends[tp] += 1
        return base

    def read(self, tp: TP, offset: int, most: int) -> list[Record]:
        """Up to ``most`` records at or after ``offset``."""
        return [record for record in self.logs[tp] if record.offset >= offset][:most]

    def truncate(self, tp: TP, offset: int) -> None:
        """Lose what is at ``offset`` and after it, as an unclean leader election does."""
        self.logs[tp] = [record for record in self.logs[tp] if record.offset < offset]
        self.ends[tp] = min(self.ends[tp], offset)
        self.epochs[tp] += 1

    def expire(self, tp: TP, offset: int) -> None:
        """Delete what is before ``offset``."""
        self.logs[tp] = [record for record in self.logs[tp] if record.offset >= offset]
        self.starts[tp] = max(self.starts[tp], offset)

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


Use = Callable[[str], None]


class WatchedStore(DiskStore):
    """Tells of each use before it."""

    def __init__(self, journal: list[Any], use: Use) -> None:
        super().__init__(journal)
        self._use = use
        rows = self._rows
        self.get = lambda key: (use("get"), rows.get(key))[1]

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        self._use("get_many")
        return [self._rows.get(key) for key in keys]

    def put_many(
        self,
        rows: Mapping[bytes, bytes],
        beside: Mapping[bytes, bytes | None] = NOTHING,
        *,
        added: int = 0,
    ) -> None:
        self._use("put_many")
        super().put_many(rows, beside, added=added)

    def set_position(self, offset: int) -> None:
        self._use("set_position")
        super().set_position(offset)

    def mark(self, key: bytes, value: bytes) -> None:
        self._use("mark")
        super().mark(key, value)

    def marked(self, key: bytes) -> bytes | None:
        self._use("marked")
        return super().marked(key)

    def items(self) -> Any:
        self._use("items")
        return super().items()

    def of_prefix(self, prefix: bytes) -> Any:
        self._use("of_prefix")
        return super().of_prefix(prefix)

    def key_from(self, key: bytes) -> bytes | None:
        self._use("key_from")
        return super().key_from(key)

    def beside(self, prefix: bytes) -> Any:
        self._use("beside")
        return super().beside(prefix)

    def beside_one(self, key: bytes) -> bytes | None:
        self._use("beside_one")
        return super().beside_one(key)


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


class SimulatedRows:
    """The public rows as a view has them: as they were at some moment, until it is refreshed."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._at: defaultdict[int, int] = defaultdict(int)

    async def refresh(self) -> None:
        await self._worker.gate()
        for number in range(SETTINGS.partitions):
            self._at[number] = self._worker.cluster.ends[TP("agency-months", number)]
        await self._worker.gate()

    def rows_of(self, number: int) -> dict[tuple[str, int], bytes]:
        log = self._worker.cluster.logs[TP("agency-months", number)]
        rows = {r.key: r.value for r in log if r.offset < self._at[number] and r.key}
        found = {split_agency_month_key(key): value for key, value in rows.items()}
        return {at: value for at, value in found.items() if at is not None and value is not None}

    def seen_of(self, number: int) -> dict[str, Seen]:
        seen: dict[str, Seen] = {}
        for record in self._worker.cluster.logs[TP("agency-months", number)]:
            key, value = record.key or b"", record.value or b""
            if record.offset < self._at[number] and split_agency_month_key(key) is not None:
                agency, _, at, day = decode_agency_seen(value)
                seen[agency] = later(seen.get(agency, NOT_SEEN), Seen(at, day))
        return seen

    def taken_in(self, number: int) -> dict[str, int]:
        log = self._worker.cluster.logs[TP("agency-months", number)]
        rows = {r.key: r.value for r in log if r.offset < self._at[number] and r.key}
        found = {split_taken_in_key(key): value for key, value in rows.items()}
        return {t: int(value) for t, value in found.items() if t is not None and value is not None}

    def position(self, number: int) -> int:
        return self._at[number]


class SimulatedTasks(Tasks):
    """Tasks whose rows on disk are in this process, and which say what was found wrong."""

    def __init__(self, worker: Worker, *args: Any) -> None:
        self._worker = worker
        super().__init__(*args)

    def invalidate(self, task: Task, agency: str) -> None:
        self._worker.cluster.distrusted.append(agency)
        super().invalidate(task, agency)

    def _open_store(self, number: int) -> Any:
        if self._worker.disk is None:
            return MemoryStore()
        if isinstance(self._worker.disk, Path):
            return super()._open_store(number)
        journal = self._worker.disk[number]
        uses = self._worker.cluster.damage.pop(number, None)
        return DiskStore(journal) if uses is None else WatchedStore(journal, _damaged_after(uses))


def _damaged_after(uses: int) -> Use:
    """A bad block that is met once: what is done then must not meet it again."""
    left = count(uses, -1)

    def use(what: str) -> None:
        if next(left) == 0:
            raise DamagedStoreError(f"{what} found a bad block")

    return use


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
        super().__init__(CollectorRegistry(), ())
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
        asyncio.get_running_loop().create_task(self._poll())
        _CURRENT.reset(token)

    async def _poll(self) -> None:
        await self.tasks.poll_changelogs()
        for at, start in (await self.tasks.check_sources()).items():
            await self._seek(at, start)

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
