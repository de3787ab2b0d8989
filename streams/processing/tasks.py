"""The tasks of one worker: which it has, and what moves them from phase to phase.

A task has everything on its partition number: the source topics, the two changelogs and its part of
the public topic. Its phases are in :mod:`streams.processing.task`, how it is restored in
:mod:`streams.processing.restore`.

What survives a crash: whatever the broker acknowledged. A row is a set of merged facts, so reading
old rows, foreign rows or the same row twice never loses one (docs/adr/0002).

Faust's own tables are not used: they recover at about 4,000 rows a second, show rows of lost
partitions, and commit past changelog records that never arrived (docs/adr/0001).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from schemas.topics import EVENT_TOPICS
from streams.kafka.batch_writer import Acknowledged, BatchWriter
from streams.kafka.log import Log
from streams.processing.changelogs import Changelogs
from streams.processing.cut_logs import check_sources
from streams.processing.restore import (
    FencedError,
    OvertakenError,
    Restore,
    RestoreReport,
    newest,
)
from streams.processing.task import Cause, Phase, Task
from streams.processing.verify import Verification
from streams.settings import Settings
from streams.state.codecs import Checkpoint, UnreadableRowError
from streams.state.partition import Partition
from streams.state.stores import (
    DamagedStoreError,
    MemoryStore,
    RocksStore,
    Store,
    StoreInUseError,
    UnusableStoreError,
)
from streams.views.published_months import PublishedMonths

logger = logging.getLogger(__name__)

DAMAGE = (DamagedStoreError, UnreadableRowError)
"""What :meth:`Tasks.rebuild` is the answer to."""

T = TypeVar("T")


Seek = Callable[[tuple[str, int], int], Awaitable[None]]
"""Makes the consumer read a (topic, partition) on from an offset, if it is still assigned to it."""


class Tasks:
    """The tasks of one worker. ``fatal`` is called with what must end the process."""

    def __init__(
        self,
        settings: Settings,
        writer: Callable[[], BatchWriter],
        log: Log,
        published: PublishedMonths,
        seek: Seek,
        fatal: Callable[[str], None],
        in_touch: Callable[[], bool] = lambda: True,
        identities: Mapping[str, str] = MappingProxyType({}),
        address: str = "",
    ) -> None:
        """``in_touch``: whether the group still counts on this worker; if not, others may have its
        partitions. ``identities``: source topic → which topic of that name it is, where the broker
        tells it. ``address``: where this worker is asked over HTTP, told to whoever reads the
        public rows; empty: nobody is told."""
        self._settings = settings
        self._log = log
        self._seek = seek
        self._fatal = fatal
        self.changelogs = Changelogs(settings, writer, log)
        self.restore = Restore(settings, self.changelogs, log, published, identities, address)
        self._events = [settings.topic(topic) for topic in EVENT_TOPICS]
        self.verification = Verification(self._verification_failed)
        self.tasks: dict[int, Task] = {}
        self._prepared: dict[int, Partition] = {}
        """What :meth:`prepare` has opened and nobody has been assigned yet."""
        self._in_touch = in_touch
        self._assigned = False

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
        self.restore.report = RestoreReport(time.monotonic())
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
                partition.recall_checkpoints(self.restore.sources)
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

        Faust's own books are not asked (docs/adr/0008).
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
                known = self.changelogs.follow(task, batch)
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
        if task.phase is Phase.CLOSED:
            return
        try:
            task.partition.advance(topic, checkpoint)
        except DAMAGE as damage:
            self.rebuild(task.number, damage)

    async def poll(self) -> None:
        """Notice what nobody tells of: rows of others where nothing is written, and event topics
        that have lost records which were read. To be called often.

        Raises ``KafkaError`` or ``TimeoutError`` while the brokers cannot be asked.
        """
        await self._poll_changelogs()
        lost = await check_sources(self._log, self.tasks.values(), self._events)
        for at, start in lost.items():
            await self._seek(at, start)

    async def _poll_changelogs(self) -> None:
        quiet = {
            task: dict(task.changelog_offsets)
            for task in self.tasks.values()
            if task.running and not task.in_flight
        }
        for task, found in (await self.changelogs.ends(quiet)).items():
            known = quiet[task]
            unchanged = task.running and not task.in_flight and task.changelog_offsets == known
            if unchanged and found != known:
                self._fence(
                    task, f"partition {task.number}: its logs end at {found}, our rows at {known}"
                )

    def _fence(self, task: Task, why: str) -> None:
        logger.warning("%s: another worker wrote there; reading it again", why)
        task.move(Cause.fenced)
        self._restore_soon(task)

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
            started = time.monotonic()
            rows, repaired = await self.restore.run(task, generation)
            await self._run(task, rows, repaired, time.monotonic() - started)
        except OvertakenError:
            return
        except FencedError as error:
            self._fence(task, str(error))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not newest(task, generation):
                return
            if isinstance(error, DAMAGE):
                self.rebuild(task.number, error)
                return
            logger.exception("restoring partition %d failed", task.number)
            self._fatal(f"restoring partition {task.number} failed: {error!r}")

    async def _run(self, task: Task, rows: int, repaired: int, seconds: float) -> None:
        task.move(Cause.restored)
        task.rebuilt = False
        report = self.restore.report
        report.rows += rows
        report.repaired += repaired
        report.seconds = time.monotonic() - report.started
        log = logger.info if rows or repaired else logger.debug
        log(
            "partition %d is ready: %d changelog rows in %.2f s, %d dossiers, %d rows repaired",
            task.number,
            rows,
            seconds,
            len(task.partition.dossiers),
            repaired,
        )
        self.verification.soon(task)
        # Whatever the group was told: the state goes on where it ends.
        for topic, cursor in task.cursors.items():
            await self._seek((topic, task.number), cursor.position)
