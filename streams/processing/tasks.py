"""The tasks of one worker: assignment, restore, writing.

The only module that writes to a changelog or to ``agency-months``. A task has everything on its
partition number: the source topics, the two changelogs and its part of the public topic. Its
phases are in :mod:`streams.processing.task`.

A restore is one idempotent function: wait for the chunks in flight → read the changelogs on to
their ends → make the ledgers those of the rows → read the public rows → write what the logs lack.
Whatever interrupts it, another one does it all again.

What survives a crash: whatever the broker acknowledged. A row is a set of merged facts, so reading
old rows, foreign rows or the same row twice never loses one (docs/adr/0002).

Faust's own tables are not used: they recover at about 4,000 rows a second, show rows of lost
partitions, and commit past changelog records that never arrived (docs/adr/0001).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

from aiokafka import TopicPartition

from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, Topic
from streams.kafka.batch_writer import Acknowledged, BatchWriter, Outgoing
from streams.kafka.log import Log
from streams.processing.chunk import Writes, checkpoint_row, marks, month_rows
from streams.processing.source_cursor import SourceCursor
from streams.processing.task import Cause, Phase, Task
from streams.processing.verify import Verification
from streams.settings import Settings
from streams.state.codecs import (
    Checkpoint,
    LastRecord,
    UnreadableRowError,
    record_digest,
)
from streams.state.partition import Partition, Seen
from streams.state.stores import (
    DamagedStoreError,
    MemoryStore,
    RocksStore,
    Store,
    StoreInUseError,
    UnusableStoreError,
)

logger = logging.getLogger(__name__)

DAMAGE = (DamagedStoreError, UnreadableRowError)
"""What :meth:`Tasks.rebuild` is the answer to."""

T = TypeVar("T")


Seek = Callable[[tuple[str, int], int], Awaitable[None]]
"""Makes the consumer read a (topic, partition) on from an offset, if it is still assigned to it."""


class PublishedRows(Protocol):
    """The newest rows of ``agency-months``, as anyone reads them."""

    async def refresh(self) -> None:
        """Return when everything published before the call has been read.

        Raises ``TimeoutError`` when the brokers do not answer in time.
        """

    def rows_of(self, number: int) -> Mapping[tuple[str, int], bytes]:
        """(agency, month) → the newest row on partition ``number``."""

    def seen_of(self, number: int) -> Mapping[str, Seen]:
        """Agency → the latest that any row on partition ``number`` ever said was seen of it."""

    def taken_in(self, number: int) -> Mapping[str, int]:
        """Source topic (full name) → the newest mark on partition ``number``."""

    def position(self, number: int) -> int:
        """The offset before which every row of partition ``number`` has been read."""


@dataclass(slots=True)
class RestoreReport:
    """The restores since the last assignment, taken together."""

    started: float
    """When the assignment came, on the monotonic clock."""
    rows: int = 0
    """Changelog rows read."""
    repaired: int = 0
    """Rows written because the log lacked facts that were known, or the public row differed."""
    seconds: float = 0.0
    """From the assignment to the last task running so far."""


class _OvertakenError(Exception):
    """A newer restore of the task has begun, or the task is suspended or closed.

    Cancelling alone does not end a restore surely: aiokafka swallows a cancellation here and there
    (``NoGroupCoordinator.close``). So each step asks whether the generation is still its own.
    """


class Tasks:
    """The tasks of one worker. ``fatal`` is called with what must end the process."""

    def __init__(
        self,
        settings: Settings,
        writer: Callable[[], BatchWriter],
        log: Log,
        published: PublishedRows,
        seek: Seek,
        fatal: Callable[[str], None],
        in_touch: Callable[[], bool] = lambda: True,
        identities: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """``in_touch``: whether the group still counts on this worker; if not, others may have its
        partitions. ``identities``: source topic → which topic of that name it is, where the broker
        tells it."""
        self._settings = settings
        self._writer = writer
        self._log = log
        self._published = published
        self._seek = seek
        self._fatal = fatal
        self._changelogs = {
            "dossiers": settings.changelog("dossiers"),
            "services": settings.changelog("services"),
        }
        self._logs = {**self._changelogs, "months": settings.topic(Topic.agency_months)}
        self._events = [settings.topic(topic) for topic in EVENT_TOPICS]
        self._sources = [*self._events, *map(settings.topic, REFERENCE_TOPICS)]
        self._one_at_a_time = asyncio.Lock()
        self.verification = Verification(self.invalidate, self._verification_failed)
        self.tasks: dict[int, Task] = {}
        self._prepared: dict[int, Partition] = {}
        """What :meth:`prepare` has opened and nobody has been assigned yet."""
        self._in_touch = in_touch
        self._identities = identities
        self._assigned = False
        self.report = RestoreReport(time.monotonic())
        self.last_progress = time.monotonic()
        """When a restore last read rows or folded some, on the monotonic clock."""

    # Assignment

    async def prepare(self) -> None:
        """Open what an earlier process of this worker has left on disk, and restore its ledgers.

        A group misses a killed member only after a session timeout, and hands out its partitions
        then, most likely to the one that comes back: this is done by the time it is asked for.
        """
        directory = self._store_directory()
        if self._settings.store == "memory" or not directory.is_dir():
            return
        numbers = range(self._settings.partitions)
        for number in (n for n in numbers if (directory / str(n)).is_dir()):
            self._prepared[number] = partition = Partition(number, self._open_store(number))
            try:
                for _ in partition.restore():
                    await asyncio.sleep(0)
            except DAMAGE as damage:
                partition.set_aside(str(damage))

    def suspend(self) -> None:
        """A rebalance began: publish nothing and start no chunk until it is settled."""
        self._assigned = False
        for task in self.tasks.values():
            if task.phase is not Phase.SUSPENDED:
                task.move(Cause.revoking)

    async def drain(self, timeout: float) -> None:
        """Wait for the chunks in flight, so that what they wrote is acknowledged before others
        take over; gives up after ``timeout`` seconds, since rows written late do no harm."""
        chunks = [chunk for task in self.tasks.values() for chunk in task.in_flight]
        if chunks:
            await asyncio.wait(chunks, timeout=timeout)

    def assign(self, numbers: set[int]) -> None:
        """The rebalance is settled: have exactly the tasks ``numbers``, and restore them."""
        self._assigned = True
        self.report = RestoreReport(time.monotonic())
        for number in self.tasks.keys() - numbers:
            self._close(self.tasks.pop(number))
        for number in sorted(numbers):
            task = self.tasks.get(number)
            if task is not None:
                task.move(Cause.assigned)
                self._restore_soon(task)
                continue
            try:
                partition = self._prepared.pop(number, None)
                if partition is None:
                    partition = Partition(number, self._open_store(number))
            except (StoreInUseError, UnusableStoreError) as error:
                self._fatal(str(error))
                return
            task = self.tasks[number] = Task(number, partition)
            try:
                partition.recall_checkpoints(self._sources)
            except DAMAGE as damage:
                self.rebuild(number, damage)
            else:
                self._restore_soon(task)
        self._close_prepared()

    def _close_prepared(self) -> None:
        for partition in self._prepared.values():
            partition.dossiers.close()
        self._prepared.clear()

    def _close(self, task: Task) -> None:
        task.move(Cause.lost)
        if task.restore is not None:
            task.restore.cancel()
        task.stop_verification()
        task.partition.dossiers.close()

    def close(self) -> None:
        """Release every partition; rows on disk stay."""
        for task in self.tasks.values():
            self._close(task)
        self.tasks.clear()
        self._close_prepared()
        self.verification.close()
        self._log.close()

    async def running(self, number: int) -> Task | None:
        """The task once it is running, or None when this worker does not have it (any more)."""
        while (task := self.tasks.get(number)) is not None and not task.running:
            await task.changed()
        return task

    @property
    def ready(self) -> bool:
        """Whether a rebalance is settled, every task runs, and every offset is accounted for.

        A worker that was assigned nothing, since there are more workers than partitions, is ready.
        """
        return self._assigned and all(
            self.shows(task) and not any(c.unaccounted for c in task.cursors.values())
            for task in self.tasks.values()
        )

    def shows(self, task: Task) -> bool:
        """Whether the task's figures may be shown: running, and surely still ours."""
        return task.running and self._in_touch()

    def shown(self) -> Iterable[Task]:
        """The tasks whose figures may be shown."""
        return [task for task in self.tasks.values() if self.shows(task)]

    def checkpoints(self) -> dict[tuple[str, int], int]:
        """(source topic, partition) → what the group is to be told: everything before it is done.

        Faust's own books are not asked (docs/adr/0007).
        """
        return {
            (topic, task.number): cursor.checkpoint.next
            for task in self.tasks.values()
            for topic, cursor in task.cursors.items()
        }

    def positions(self) -> dict[tuple[str, int], int]:
        """(source topic, partition) → where the consumer is to go on, of running tasks."""
        return {
            (topic, task.number): cursor.position
            for task in self.tasks.values()
            if task.running
            for topic, cursor in task.cursors.items()
        }

    def reached(self) -> dict[tuple[str, int], int]:
        """(Event topic, partition) → the next offset that the ledgers of shown tasks lack."""
        return {
            (topic, task.number): task.cursors[topic].position
            for task in self.shown()
            for topic in self._events
        }

    def _open_store(self, number: int) -> Store:
        if self._settings.store == "memory":
            return MemoryStore()
        return RocksStore(self._store_directory() / str(number))

    def _store_directory(self) -> Path:
        return self._settings.data_dir / self._settings.app_id / "dossiers"

    # Writing

    async def write(self, task: Task, topic: str, writes: Writes) -> list[Awaitable[Acknowledged]]:
        """Hand over everything a chunk must have written; the caller awaits what is returned.

        Order matters within a topic, where it is kept, and for the checkpoint among the dossier or
        service rows: it speaks of dead letters and forwarded records too, so those are waited for
        before anything else is handed over.
        """
        writer, number = self._writer(), task.number
        elsewhere: list[Awaitable[Acknowledged]] = []
        if writes.dead_letters:
            dead_letters = self._settings.topic(Topic.dead_letters)
            elsewhere += await writer.enqueue(dead_letters, number, writes.dead_letters)
        misrouted: dict[int, list[Outgoing]] = {}
        for right, record in writes.forwards:
            misrouted.setdefault(right, []).append(record)
        for right, records in misrouted.items():
            elsewhere += await writer.enqueue(topic, right, records)
        if elsewhere:
            await asyncio.gather(*elsewhere)
        pending: list[Awaitable[Acknowledged]] = []
        for table, rows in (
            ("dossiers", writes.dossiers),
            ("services", writes.services),
            ("months", writes.months),
        ):
            if rows:
                pending += await writer.enqueue(self._logs[table], number, rows)
        return pending

    def acknowledged(self, task: Task, batches: Iterable[Acknowledged]) -> None:
        """Batches are in their logs. Notices when somebody else has written there before them.

        The only writer of a log finds each batch where the last one ended. A gap means another
        worker's rows (one that has lost the partition and does not know yet), or a batch of ours
        sent twice; the task is then restored from the gap on, which merges and repairs.
        """
        if task.phase is Phase.CLOSED:
            return  # its store is closed, and whoever has the task now reads the log
        try:
            for batch in batches:
                known = self._follow(task, batch)
                if known != batch.base_offset and task.running:
                    self._fence(
                        task,
                        f"{batch.topic}[{task.number}]: expected our rows at offset {known}, "
                        f"found them at {batch.base_offset}",
                    )
        except DAMAGE as damage:
            self.rebuild(task.number, damage)  # from the logs, which have them

    def advance(self, task: Task, topic: str, checkpoint: Checkpoint) -> None:
        """The rows of everything of ``topic`` before the checkpoint are in the logs."""
        try:
            task.partition.advance(topic, checkpoint)
        except DAMAGE as damage:
            self.rebuild(task.number, damage)

    def _follow(self, task: Task, batch: Acknowledged) -> int | None:
        """Move on past a batch that stands where its log ended; where that was."""
        table = next(table for table, log in self._logs.items() if log == batch.topic)
        known = task.changelog_offsets.get(table)
        if known == batch.base_offset:
            task.changelog_offsets[table] = known + batch.records
            if table == "dossiers" and task.running:
                task.partition.dossiers.set_position(known + batch.records)
        return known

    async def poll_changelogs(self) -> None:
        """Notice rows of others also where nothing is written; to be called often.

        Raises ``KafkaError`` while the broker cannot be asked.
        """
        quiet = {
            task: dict(task.changelog_offsets)
            for task in self.tasks.values()
            if task.running and not task.in_flight
        }
        if not quiet:
            return
        tps = [TopicPartition(log, task.number) for log in self._logs.values() for task in quiet]
        ends = await self._log.ends(tps)
        for task, known in quiet.items():
            found = {t: ends[TopicPartition(log, task.number)] for t, log in self._logs.items()}
            unchanged = task.running and not task.in_flight and task.changelog_offsets == known
            if unchanged and found != known:
                self._fence(
                    task, f"partition {task.number}: its logs end at {found}, our rows at {known}"
                )

    async def check_sources(self) -> dict[tuple[str, int], int]:
        """Notice event topics that have lost records which were read; to be called often.

        An unclean leader election, or a broker that lost its disk, may put new records where old
        ones were. The consumer is never told; a new leader epoch tells the intake, but only with
        the next record. Gives the (topic, partition)s, each with the
        offset to read on from; their cursors are told. Raises ``KafkaError`` or ``TimeoutError``
        while the brokers cannot be asked.
        """
        cursors = {
            TopicPartition(topic, task.number): task.cursors[topic]
            for task in self.tasks.values()
            if task.running
            for topic in self._events
        }
        last = {tp: c.processed.last for tp, c in cursors.items() if c.processed.last is not None}
        gone = await self.missing(last)
        for tp in gone:
            cursors[tp].truncated = cursors[tp].processed.last == last[tp]
        return {(tp.topic, tp.partition): start for tp, start in gone.items()}

    async def missing(
        self, records: Mapping[TopicPartition, LastRecord]
    ) -> dict[TopicPartition, int]:
        """Those of the partitions that have another record, or none, where they had this one.

        With the first offset that each still has; a record that has expired or was deleted on
        purpose is not missing. Raises as :meth:`check_sources`.
        """
        if not records:
            return {}
        found = await self._log.first_from({tp: last.offset for tp, last in records.items()})
        doubtful = [
            tp
            for tp, last in records.items()
            if (record := found.get(tp)) is None
            or LastRecord(record.offset, record_digest(record)) != last
        ]
        starts = await self._log.starts(doubtful) if doubtful else {}
        return {tp: start for tp, start in starts.items() if start <= records[tp].offset}

    def _fence(self, task: Task, why: str) -> None:
        logger.warning("%s: another worker wrote there; reading it again", why)
        task.move(Cause.fenced)
        self._restore_soon(task)

    def invalidate(self, task: Task, agency: str) -> None:
        """The restored ledger of ``agency`` is not what its rows give.

        Which of the two is wrong cannot be told from the store: the changelog says what is right.
        """
        damage = f"the restored ledger of {agency} is not what its rows give"
        self.rebuild(task.number, DamagedStoreError(damage))

    def _verification_failed(self, task: Task, error: Exception) -> None:
        if isinstance(error, DAMAGE):
            self.rebuild(task.number, error)
            return
        logger.error("the rows of partition %d cannot be verified", task.number, exc_info=error)
        self._fatal(f"the rows of partition {task.number} cannot be verified: {error!r}")

    def rebuild(self, number: int, damage: Exception) -> None:
        """A task's store is damaged: set it aside, and restore from the changelogs' beginnings.

        Whatever was under way may have left the state half changed: it is forgotten. A chunk that
        was not handed over yet is to be processed again once the task is running. Calls ``fatal``
        if the new store is damaged as well: then the disk is.
        """
        task = self.tasks.get(number)
        if task is None:
            return
        task.stop_verification()
        try:
            if task.rebuilt:
                raise DamagedStoreError(f"its new store is damaged again: {damage}") from damage
            task.partition.set_aside(str(damage))
        except (*DAMAGE, UnusableStoreError) as error:
            self._fatal(f"partition {number} cannot be rebuilt: {error}")
            return
        task.rebuilt = True
        task.changelog_offsets.clear()  # rows of chunks in flight are found by reading
        task.cursors.clear()
        if task.phase is not Phase.SUSPENDED:
            task.move(Cause.invalid)
            self._restore_soon(task)

    # Restore

    def _restore_soon(self, task: Task) -> None:
        if task.restore is not None:
            task.restore.cancel()
        task.restore = asyncio.create_task(self._restore_or_die(task))

    async def _restore_or_die(self, task: Task) -> None:
        generation = task.generation
        try:
            await self._restore(task, generation)
        except _OvertakenError:
            return
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not _newest(task, generation):
                return
            if isinstance(error, DAMAGE):
                self.rebuild(task.number, error)
                return
            logger.exception("restoring partition %d failed", task.number)
            self._fatal(f"restoring partition {task.number} failed: {error!r}")

    async def _restore(self, task: Task, generation: int) -> None:
        started = time.monotonic()
        if task.in_flight:
            await asyncio.wait(set(task.in_flight))
        task.stop_verification()
        partition = task.partition
        await self._in_slices(task, generation, partition.restore())
        rows = await self._read_changelogs(task, generation)
        # One at a time: the first are ready sooner, and others on the loop wait for one slice.
        async with self._one_at_a_time:
            await self._in_slices(task, generation, partition.rebuild_ledgers())
            repaired = await self._repair(task, generation)
        # Only now: what the log lacks is known from the rows after this position alone.
        partition.dossiers.set_position(task.changelog_offsets["dossiers"])
        task.move(Cause.restored)
        task.rebuilt = False
        self.report.rows += rows
        self.report.repaired += repaired
        self.report.seconds = time.monotonic() - self.report.started
        log = logger.info if rows or repaired else logger.debug
        log(
            "partition %d is ready: %d changelog rows in %.2f s, %d dossiers, %d rows repaired",
            task.number,
            rows,
            time.monotonic() - started,
            len(partition.dossiers),
            repaired,
        )
        self.verification.soon(task)
        # Whatever the group was told: the state goes on where it ends.
        for topic, cursor in task.cursors.items():
            await self._seek((topic, task.number), cursor.position)

    async def _read_changelogs(self, task: Task, generation: int) -> int:
        """Read the changelogs on to their ends; the number of rows."""
        partition = task.partition
        absorb = {
            "dossiers": partition.absorb_dossiers,
            "services": partition.absorb_services,
        }
        tables = {TopicPartition(log, task.number): t for t, log in self._changelogs.items()}
        rows = 0

        def take(tp: TopicPartition, records: list[tuple[bytes, bytes]]) -> None:
            nonlocal rows
            self._check(task, generation)
            rows += len(records)
            self.last_progress = time.monotonic()
            absorb[tables[tp]](records)

        known = {"dossiers": partition.dossiers.position, **task.changelog_offsets}
        positions = {tp: known.get(table, 0) for tp, table in tables.items()}
        ends = await self._log.read(positions, take, partition.lacks.append)
        self._check(task, generation)
        if any(ends[tp] < position for tp, position in positions.items()):
            # Not the log that this state was built from (another cluster, a broker that lost its
            # disk): what the log says counts.
            logger.warning("partition %d: a changelog is shorter than known", task.number)
            task.changelog_offsets.clear()
            task.cursors.clear()
            partition.forget()
            ends = await self._log.read(dict.fromkeys(positions, 0), take, partition.lacks.append)
            self._check(task, generation)
        task.changelog_offsets |= {tables[tp]: end for tp, end in ends.items()}
        return rows

    async def _repair(self, task: Task, generation: int) -> int:
        """Write rows that the logs lack, and public rows that differ from the ledgers."""
        partition = task.partition
        await self._refresh_published()
        self._check(task, generation)
        task.changelog_offsets["months"] = self._published.position(task.number)
        if partition.incomplete:
            logger.error(
                "partition %d: its changelogs can't be read whole (%s): reading the event topics "
                "again from their beginnings",
                task.number,
                "; ".join(partition.incomplete),
            )
            task.cursors.clear()
            for topic in self._events:
                self.advance(task, topic, Checkpoint(0, identity=self._identities.get(topic, "")))
        self._resume_cursors(task)
        differing = await self._in_slices(
            task,
            generation,
            partition.unpublished(
                self._published.rows_of(task.number), self._published.seen_of(task.number)
            ),
        )
        dossiers, services = partition.unmerged()
        writes = Writes(
            dossiers=[Outgoing(key, row) for key, row in dossiers.items()],
            services=[Outgoing(key, row) for key, row in services.items()],
            months=month_rows(partition, differing),
        )
        repaired = len(writes.dossiers) + len(writes.services) + len(writes.months)
        if partition.incomplete:
            for topic in self._events:
                of_catalogue = topic == self._settings.topic(Topic.catalogue)
                rows = writes.services if of_catalogue else writes.dossiers
                rows.append(checkpoint_row(topic, task.cursors[topic].checkpoint))
        known_marks = self._published.taken_in(task.number)
        reached = {topic: task.cursors[topic].checkpoint.next for topic in self._events}
        reached = {topic: at for topic, at in reached.items() if at or topic in known_marks}
        if writes.months or reached != known_marks:
            # Rows that a mark is to speak of stand before it; another's mark is not to be trusted.
            writes.months += marks(reached)
        batches = await asyncio.gather(*await self.write(task, "", writes))
        self._check(task, generation)
        known = [self._follow(task, batch) for batch in batches]
        if known != [batch.base_offset for batch in batches]:
            self._fence(task, f"partition {task.number}: not all rows stand where its logs ended")
            raise _OvertakenError
        partition.published()
        return repaired

    async def _refresh_published(self) -> None:
        while True:
            try:
                await self._published.refresh()
            except TimeoutError:
                logger.warning("agency-months cannot be read, trying again")
            else:
                return

    def _resume_cursors(self, task: Task) -> None:
        """Go on where changelog and public rows both are: a crash may have left either behind."""
        marks = self._published.taken_in(task.number)
        for topic in self._sources:
            identity = self._identities.get(topic, "")
            begin = Checkpoint(0, identity=identity)
            cursor = task.cursors.setdefault(topic, SourceCursor(begin, begin))
            checkpoint = task.partition.checkpoints.get(topic)
            if checkpoint is None:
                continue
            if identity and checkpoint.identity not in ("", identity):
                logger.error(
                    "%s[%d] is another topic than the one that was read up to offset %d: reading "
                    "it from its beginning",
                    topic,
                    task.number,
                    checkpoint.next,
                )
                task.partition.advance(topic, begin)
                continue
            checkpoint = checkpoint._replace(identity=identity or checkpoint.identity)
            if topic in self._events and checkpoint.last is not None:  # else from before the marks
                known = min(marks.get(topic, 0), checkpoint.next)
                checkpoint = checkpoint._replace(next=known)
            cursor.resume(checkpoint)

    async def _in_slices(
        self, task: Task, generation: int, slices: Generator[object, None, T]
    ) -> T:
        while True:
            try:
                next(slices)
            except StopIteration as end:
                result: T = end.value
                return result
            self.last_progress = time.monotonic()
            await asyncio.sleep(0)
            self._check(task, generation)

    def _check(self, task: Task, generation: int) -> None:
        """Raises :class:`_OvertakenError`."""
        if not _newest(task, generation):
            raise _OvertakenError


def _newest(task: Task, generation: int) -> bool:
    return task.phase is Phase.RESTORING and task.generation == generation
