"""The tables ``dossiers``, ``services`` and ``agency_months``: ownership, recovery, writing.

The only module that writes to a changelog or to ``agency-months``. A partition number is owned
with everything on it: its source topics, its two changelogs and its part of the public topic.

The life of an owned partition: *assigned* → read the changelogs to their ends, merge, fold, write
what was missing → *ready* (its figures may be published, its chunks taken in) → *suspended* during
a rebalance → ready again after reading what others wrote meanwhile, or *lost* and dropped.

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

from aiokafka import TopicPartition

from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, Topic
from streams.kafka.batch_writer import Acknowledged, BatchWriter, Outgoing
from streams.kafka.consumers import plain_consumer
from streams.kafka.log_reader import LogReader
from streams.kafka.offsets import end_offsets
from streams.processing.chunk import Writes, marks, month_rows
from streams.processing.task import Owned, RecoveryReport
from streams.processing.verify import Recounts
from streams.settings import Settings
from streams.state.codecs import UnreadableRowError, split_agency_month_key
from streams.state.partition import NOT_SEEN, Partition
from streams.state.stores import (
    DamagedStoreError,
    MemoryStore,
    RocksStore,
    Store,
    StoreInUseError,
    UnusableStoreError,
)
from streams.views.published_months import Live

logger = logging.getLogger(__name__)

DAMAGE = (DamagedStoreError, UnreadableRowError)
"""What :meth:`Tables.rebuild` is the answer to."""


class Tables:
    """The owned partitions of one worker. ``fatal`` is called with what must end the process."""

    def __init__(
        self, settings: Settings, writer: Callable[[], BatchWriter], fatal: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._writer = writer
        self._fatal = fatal
        self._logs = {
            "dossiers": settings.changelog("dossiers"),
            "services": settings.changelog("services"),
            "months": settings.topic(Topic.agency_months),
        }
        self._events = [settings.topic(topic) for topic in EVENT_TOPICS]
        self._reader = LogReader(settings.client_options(), {self._logs["months"]})
        self._folding = asyncio.Lock()
        self.recounts = Recounts(self._distrust, self._recount_failed)
        self.owned: dict[int, Owned] = {}
        self._prepared: dict[int, Partition] = {}
        """What :meth:`prepare` has opened and nobody has been assigned yet."""
        self.sources: Mapping[str, str] = {}
        """Source topic → its identity, where the broker tells it; to be set before the start."""
        self.in_touch: Callable[[], bool] = lambda: True
        """Whether the group still counts on this worker; if not, others may own its partitions."""
        self._assigned = False
        self.recovery = RecoveryReport(time.monotonic())
        self.last_progress = time.monotonic()
        """When a recovery last took in rows or folded some, on the monotonic clock."""

    # Ownership

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
            partition.sources = self.sources
            try:
                await self._in_slices(partition.restore())
            except DAMAGE as damage:
                partition.set_aside(str(damage))

    def suspend(self) -> None:
        """A rebalance began: publish nothing and start no chunk until it is settled."""
        self._assigned = False
        for owned in self.owned.values():
            owned.ready = False
            owned.settled.clear()

    async def drain(self, timeout: float) -> None:
        """Wait for the chunks in flight, so that what they wrote is acknowledged before others
        take over; gives up after ``timeout`` seconds, since rows written late do no harm."""
        tasks = [task for owned in self.owned.values() for task in owned.in_flight]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

    def assign(self, numbers: set[int]) -> None:
        """The rebalance is settled: own exactly ``numbers``, and recover them."""
        self._assigned = True
        self.recovery = RecoveryReport(time.monotonic())
        for number in self.owned.keys() - numbers:
            self._drop(self.owned.pop(number))
        for number in sorted(numbers):
            owned = self.owned.get(number)
            if owned is None:
                partition = self._prepared.pop(number, None)
                try:
                    if partition is None:
                        partition = Partition(number, self._open_store(number))
                        partition.sources = self.sources
                    owned = self.owned[number] = Owned(number, partition)
                    owned.unchecked = partition.keeping
                    self._begin_progress(partition)
                except DAMAGE as damage:
                    self.rebuild(number, damage)
                    continue
                except (StoreInUseError, UnusableStoreError) as error:
                    self._fatal(str(error))
                    return
            self._recover_soon(owned)
        self._close_prepared()

    def _begin_progress(self, partition: Partition) -> None:
        for topic in EVENT_TOPICS | REFERENCE_TOPICS:
            partition.advance(self._settings.topic(topic), 0)

    def _close_prepared(self) -> None:
        for partition in self._prepared.values():
            partition.dossiers.close()
        self._prepared.clear()

    def _drop(self, owned: Owned) -> None:
        owned.lost = True
        owned.ready = False
        owned.settled.set()
        if owned.recovery is not None:
            owned.recovery.cancel()
        owned.stop_recount()
        owned.partition.dossiers.close()

    def close(self) -> None:
        """Release every partition; rows on disk stay."""
        for owned in self.owned.values():
            self._drop(owned)
        self.owned.clear()
        self._close_prepared()
        self.recounts.close()
        self._reader.close()

    def committable(self, topic: str, number: int, offset: int) -> int | None:
        """How far of ``offset`` the group may be told: not past what is taken in and in the logs.

        None if nothing, or if the partition is not ours.
        """
        owned = self.owned.get(number)
        if owned is None:
            return None
        return min(offset, owned.partition.progress.get(topic, 0)) or None

    async def settled(self, number: int) -> Owned | None:
        """The partition once it is ready, or None when this worker does not own it (any more)."""
        while (owned := self.owned.get(number)) is not None:
            await owned.settled.wait()
            if owned.ready:
                return owned
            if owned.lost:
                continue
        return None

    @property
    def ready(self) -> bool:
        """Whether a rebalance is settled, everything owned is recovered and accounted for.

        A worker that was assigned nothing, since there are more workers than partitions, is ready.
        """
        return self._assigned and all(
            self.publishes(owned) and not any(owned.unexplained.values())
            for owned in self.owned.values()
        )

    def publishes(self, owned: Owned) -> bool:
        """Whether the partition's figures may be shown: recovered, and surely still ours."""
        return owned.ready and self.in_touch()

    def live(self) -> dict[str, Live]:
        """The agencies of the ready partitions, as their ledgers stand."""
        return {
            agency: Live(ledger.months, owned.partition.seen.get(agency, NOT_SEEN))
            for owned in self.owned.values()
            if self.publishes(owned)
            for agency, ledger in owned.partition.ledgers.items()
        }

    def reached(self) -> dict[tuple[str, int], int]:
        """(Event topic, partition) → how far the ledgers that :meth:`live` gives go."""
        return {
            (topic, owned.number): owned.next.get(topic, 0)
            for owned in self.owned.values()
            if self.publishes(owned)
            for topic in self._events
        }

    def _open_store(self, number: int) -> Store:
        if self._settings.store == "memory":
            return MemoryStore()
        return RocksStore(self._store_directory() / str(number))

    def _store_directory(self) -> Path:
        return self._settings.data_dir / self._settings.app_id / "dossiers"

    # Writing

    async def write(
        self, owned: Owned, topic: str, writes: Writes
    ) -> list[Awaitable[Acknowledged]]:
        """Hand over everything a chunk must have written; the caller awaits what is returned.

        Order matters within a topic, where it is kept, and for the progress mark among the dossier
        or service rows: it speaks of dead letters and forwarded records too, so those are waited
        for before anything else is handed over.
        """
        writer, number = self._writer(), owned.number
        elsewhere: list[Awaitable[Acknowledged]] = []
        if writes.dead_letters:
            dead_letters = self._settings.topic(Topic.dead_letters)
            elsewhere += await writer.enqueue(dead_letters, number, writes.dead_letters)
        astray: dict[int, list[Outgoing]] = {}
        for right, record in writes.forwards:
            astray.setdefault(right, []).append(record)
        for right, records in astray.items():
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

    def acknowledged(self, owned: Owned, batches: list[Acknowledged], writes: Writes) -> None:
        """What :meth:`write` handed over is in the logs, in these batches, in order."""
        at = 0
        try:
            for batch in batches:
                rows: list[Outgoing] = []
                if batch.topic == self._logs["months"]:
                    rows = writes.months[at : at + batch.records]
                    at += batch.records
                self._acknowledged(owned, batch, rows)
        except DAMAGE as damage:
            self.rebuild(owned.number, damage)  # from the logs, which have them

    def advance(self, owned: Owned, topic: str, offset: int) -> None:
        """Everything of ``topic`` before ``offset`` is taken in, and its rows are in the logs."""
        try:
            owned.partition.advance(topic, offset)
        except DAMAGE as damage:
            self.rebuild(owned.number, damage)

    def _acknowledged(self, owned: Owned, batch: Acknowledged, months: list[Outgoing]) -> None:
        """A batch is in its log. Notices when somebody else has written there before it.

        The only writer of a log finds each batch where the last one ended. A gap means another
        worker's rows (one that has lost the partition and does not know yet), or a batch of ours
        sent twice; the partition is then read again from the gap on, which merges and repairs.
        """
        if owned.lost:
            return  # its store is closed, and whoever owns it now reads the log
        for table, log in self._logs.items():
            if log == batch.topic:
                if owned.positions.get(table) == batch.base_offset and not owned.disturbed:
                    owned.positions[table] = batch.base_offset + batch.records
                    if table == "dossiers" and not owned.unrepaired:
                        owned.partition.dossiers.set_position(owned.positions[table])
                    if table == "months":
                        rows = [(row.key or b"", row.value or b"") for row in months]
                        owned.partition.kept_months.written(
                            [row for row in rows if split_agency_month_key(row[0]) is not None],
                            log,
                            owned.positions[table],
                        )
                elif not owned.disturbed:
                    logger.warning(
                        "%s[%d]: expected our rows at offset %s, found them at %d: "
                        "another worker wrote there; reading it again",
                        log,
                        owned.number,
                        owned.positions.get(table),
                        batch.base_offset,
                    )
                    owned.disturbed = True
                return

    async def watch(self) -> None:
        """Notice rows of others also in partitions that nothing is written to; to be called often.

        Raises ``KafkaError`` while the broker cannot be asked.
        """
        quiet = {
            number: (owned, dict(owned.positions))
            for number, owned in self.owned.items()
            if owned.ready and not owned.in_flight
        }
        ends = await self._ends(list(quiet)) if quiet else {}
        for number, (owned, known) in quiet.items():
            undisturbed = owned.ready and not owned.in_flight and owned.positions == known
            if undisturbed and ends[number] != known:
                logger.warning(
                    "partition %d: its logs end at %s, our rows at %s: another worker wrote there; "
                    "reading it again",
                    number,
                    ends[number],
                    known,
                )
                owned.disturbed = True
                self.restore(owned)

    def restore(self, owned: Owned) -> None:
        """Recover a disturbed partition again; it is not ready meanwhile."""
        if not owned.lost and self.owned.get(owned.number) is owned:
            self._recover_soon(owned)

    # Recovery

    def rebuild(self, number: int, damage: Exception) -> None:
        """A partition's store is damaged: set it aside, and recover from the logs' beginnings.

        Whatever was under way may have left the state half changed: it is forgotten. A chunk that
        was not handed over yet is to be taken in again once the partition is ready. Calls
        ``fatal`` if the new store is damaged as well: then the disk is.
        """
        owned = self.owned.get(number)
        if owned is None:
            return
        owned.stop_recount()
        try:
            if owned.rebuilding:
                raise DamagedStoreError(f"its new store is damaged again: {damage}") from damage
            owned.partition.set_aside(str(damage))
            self._begin_progress(owned.partition)
        except (*DAMAGE, UnusableStoreError) as error:
            self._fatal(f"partition {number} cannot be rebuilt: {error}")
            return
        owned.rebuilding = owned.unrepaired = True
        owned.disturbed = True  # rows of chunks in flight are found by reading
        owned.unchecked = False
        owned.positions.clear()
        self._recover_soon(owned)

    def _recover_soon(self, owned: Owned) -> None:
        if owned.recovery is not None and not owned.recovery.done():
            owned.recovery.cancel()
        owned.ready = False
        owned.settled.clear()
        owned.recovery = asyncio.create_task(self._recover_or_die(owned))

    async def _recover_or_die(self, owned: Owned) -> None:
        try:
            await self._recover(owned)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if _overtaken(owned):
                return
            if isinstance(error, DAMAGE) and not owned.rebuilding:
                self.rebuild(owned.number, error)
                return
            logger.exception("recovery of partition %d failed", owned.number)
            self._fatal(f"recovery of partition {owned.number} failed: {error!r}")

    async def _recover(self, owned: Owned) -> None:
        started = time.monotonic()
        if owned.in_flight:
            await asyncio.wait(set(owned.in_flight))
        owned.stop_recount()
        partition = owned.partition
        if not partition.keeping:
            await self._in_slices(partition.restore())
            owned.unchecked = partition.keeping
        for agency, ledger in partition.ledgers.items():
            owned.shown.update((agency, month) for month in ledger.months)
        recalled = partition.recall_months(self._logs["months"])
        positions = {
            "dossiers": owned.positions.get("dossiers", partition.dossiers.position),
            "services": owned.positions.get("services", 0),
            "months": owned.positions.get("months", recalled),
        }
        absorb: dict[str, Callable[[list[tuple[bytes, bytes]]], None]] = {
            "dossiers": partition.absorb_dossiers,
            "services": partition.absorb_services,
            "months": partition.absorb_months,
        }
        rows = 0

        def take(table: str, records: list[tuple[bytes, bytes]]) -> None:
            nonlocal rows
            rows += len(records)
            self.last_progress = time.monotonic()
            absorb[table](records)

        ends = await self._read_to_end(owned.number, positions, take)
        if any(ends[table] < positions[table] for table in ends):
            # Not the log that this state was built from (another cluster, a broker that lost its
            # disk): what the log says counts.
            logger.warning("partition %d: a changelog is shorter than known", owned.number)
            owned.positions = {}
            owned.next = {}
            partition.forget()
            ends = await self._read_to_end(owned.number, dict.fromkeys(positions, 0), take)
        if _overtaken(owned):
            return
        if rows or not owned.positions:
            owned.unrepaired = True
        # One at a time: the first are ready sooner, and others on the loop wait for one slice.
        async with self._folding:
            if partition.keeping:
                await self._in_slices(partition.relist())
            elif owned.unrepaired:
                await self._in_slices(partition.fold())
                while partition.saved is not None and not partition.keeping:
                    await self._in_slices(partition.fold())  # rows came meanwhile
        owned.positions = dict(ends)
        partition.kept_months.keep(self._logs["months"], ends["months"])
        owned.disturbed = False
        for topic, offset in partition.restart_sources().items():
            logger.error(
                "%s[%d] is another topic than the one that was read up to offset %d: reading it "
                "from its beginning",
                topic,
                owned.number,
                offset,
            )
            owned.next.pop(topic, None)
            if topic in self._events:
                partition.marks.setdefault(topic, 0)
            owned.unrepaired = True  # its mark in the public topic says too much
        for topic, offset in partition.progress.items():
            owned.next[topic] = max(owned.next.get(topic, 0), offset)
        repaired = await self._repair(owned) if owned.unrepaired else 0
        if _overtaken(owned):
            return
        # Only now: what the log lacks is known from the rows after this position alone.
        partition.dossiers.set_position(owned.positions["dossiers"])
        partition.published.clear()
        owned.ready = True
        owned.rebuilding = False
        owned.settled.set()
        seconds = time.monotonic() - started
        self.recovery.rows += rows
        self.recovery.repaired += repaired
        self.recovery.seconds = time.monotonic() - self.recovery.started
        log = logger.info if rows or repaired else logger.debug
        log(
            "partition %d is ready: %d changelog rows in %.2f s, %d dossiers, %d rows repaired",
            owned.number,
            rows,
            seconds,
            len(partition.dossiers),
            repaired,
        )
        if owned.unchecked:
            self.recounts.soon(owned)

    def _distrust(self, owned: Owned, agency: str) -> None:
        # Which of the two is wrong cannot be told from the store: the changelog says what is right.
        damage = f"the restored ledger of {agency} is not what its rows give"
        self.rebuild(owned.number, DamagedStoreError(damage))

    def _recount_failed(self, owned: Owned, error: Exception) -> None:
        if isinstance(error, DAMAGE):
            self.rebuild(owned.number, error)
            return
        logger.error("the rows of partition %d cannot be recounted", owned.number, exc_info=error)
        self._fatal(f"the rows of partition {owned.number} cannot be recounted: {error!r}")

    async def _in_slices(self, slices: Iterable[object]) -> None:
        for _ in slices:
            self.last_progress = time.monotonic()
            await asyncio.sleep(0)

    async def _repair(self, owned: Owned) -> int:
        """Write rows that the logs lack, and public rows that differ from the fold.

        A recovery that is not the first reads only the newest public rows. A month that another
        worker's rows have emptied (a dossier moved to another month) may have an older one, so
        what the ledgers had before is written too, unless its row was read and agrees.

        A rebalance may interrupt it; the next recovery then does it all again.
        """
        partition = owned.partition
        dossiers, services = partition.unmerged()
        unread = owned.shown - partition.published.keys()
        writes = Writes(
            dossiers=[Outgoing(key, row) for key, row in dossiers.items()],
            services=[Outgoing(key, row) for key, row in services.items()],
            months=month_rows(partition, partition.unpublished() | unread),
        )
        repaired = len(writes.dossiers) + len(writes.services) + len(writes.months)
        reached = {
            topic: at
            for topic in self._events
            if (at := partition.progress.get(topic, 0)) or topic in partition.marks
        }
        if writes.months or partition.marks != reached:
            # Rows that a mark is to speak of stand before it; another's mark is not to be trusted.
            writes.months += marks(reached)
            partition.marks = reached
        batches = await asyncio.gather(*await self.write(owned, "", writes))
        self.acknowledged(owned, batches, writes)
        partition.repaired()
        owned.shown.clear()
        owned.unrepaired = False
        return repaired

    async def _ends(self, numbers: list[int]) -> dict[int, dict[str, int]]:
        """Where the logs of some partitions end, by table."""
        consumer = plain_consumer(self._settings.client_options())
        await consumer.start()
        try:
            tps = [TopicPartition(log, n) for log in self._logs.values() for n in numbers]
            ends = await end_offsets(consumer, tps)
        finally:
            await consumer.stop()
        return {
            number: {table: ends[TopicPartition(log, number)] for table, log in self._logs.items()}
            for number in numbers
        }

    async def _read_to_end(
        self,
        number: int,
        positions: Mapping[str, int],
        take: Callable[[str, list[tuple[bytes, bytes]]], None],
    ) -> dict[str, int]:
        """Read the partition's logs from ``positions`` to their ends as of now; give the ends."""
        tables = {TopicPartition(log, number): table for table, log in self._logs.items()}
        ends = await self._reader.read(
            {tp: positions[table] for tp, table in tables.items()},
            lambda tp, records: take(tables[tp], records),
        )
        return {table: ends[tp] for tp, table in tables.items()}


def _overtaken(owned: Owned) -> bool:
    """Whether the recovery that asks has been cancelled, by a newer one or with the partition.

    Cancelling alone does not end it surely: aiokafka swallows a cancellation here and there
    (``NoGroupCoordinator.close``), and the recovery would make a partition ready that has to be
    read again, or go on in a store that is closed.
    """
    return owned.lost or owned.recovery is not asyncio.current_task()
