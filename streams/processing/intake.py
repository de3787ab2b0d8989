"""The flow of one chunk: from Faust's stream to acknowledged rows, and only then its checkpoint.

One agent processes all five topics that portals and officials write to. No exception leaves it
(Faust would acknowledge the events of an escaping one): bad input is a dead letter, and what a
restart must settle ends the process through ``fatal``.

The steps of a chunk, and what follows when one fails or the process ends in it. The table is in
docs/architecture.md too, and a test holds both against each other.

1. Wait (``Tasks.running``): nothing has happened. A task that was lost leaves the chunk to its new
   owner.
2. Put in order (``Intake._in_order``): the state is as before. Brokers that cannot be asked end the
   process; records that were skipped are fetched again.
3. Validate (``Intake._validate``): the state is as before. Reference data that cannot be read is
   waited for.
4. Merge (``process_chunk``): the state may be half changed. A damaged store is set aside and the
   task restored; anything else ends the process. The chunk is processed again.
5. Write what goes elsewhere (``Changelogs.write``): dead letters and forwarded records may stand
   there and be written again: a dead letter is known by its coordinates, and a forwarded record
   changes nothing the second time.
6. Write rows (``BatchWriter.enqueue``): each row is whole or absent. No checkpoint speaks of a row
   that is not in front of it, so the chunk is processed again, and merging its facts once more
   changes nothing.
7. Wait for all acknowledgements (``Intake._finish``): as 6. After 60 s without, or a refusal, the
   process ends. A row that was acknowledged at an offset that is not ours fences the task.
8. Move the checkpoint (``Tasks.advance``): the rows and the checkpoint are in the logs already, so
   a restore finds the chunk done.
9. Commit to the group (``_Consumer._commit_tps``): the group knows less than the changelog, which
   is what counts: the consumer is sent to the end of what was restored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from aiokafka import TopicPartition

from schemas.decoder import Rejection
from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, Topic
from streams.kafka.batch_writer import Acknowledged
from streams.kafka.log import Log, Record
from streams.kafka.unpacking import unreadable_offsets
from streams.processing.chunk import RETRYABLE, Validated, Writes, process_chunk, validate
from streams.processing.cut_logs import missing
from streams.processing.reference_repair import ReferenceRepair
from streams.processing.source_cursor import Fetched, SourceCursor
from streams.processing.task import Task
from streams.processing.tasks import DAMAGE, Seek, Tasks
from streams.settings import Settings
from streams.state.codecs import Checkpoint
from streams.views.reference_data import ReferenceData

logger = logging.getLogger(__name__)

CHUNKS_IN_FLIGHT = 24
"""Chunks whose rows are on their way to the broker while the next ones are worked on.

Two topics of twelve partitions: one round of small chunks, so that none waits for the broker's
answer to another partition's rows before its facts are processed.
"""

WRITE_SECONDS = 60.0
"""A chunk's rows are acknowledged within this time, or the process ends and replays the chunk.

aiokafka gives a batch up after 40 s, but has been seen to forget one after a network cut.
"""

Pending = list[Awaitable[Acknowledged]]


class Counters(Protocol):
    """What is counted of this process's work; :mod:`streams.metrics.catalogue` has it."""

    def count_chunk(
        self,
        topic: str,
        outcomes: Iterable[tuple[str, int]],
        rejected: Iterable[tuple[tuple[str, str], int]],
        seconds: float,
    ) -> None:
        """A chunk is done: records by outcome, and those rejected by (agency, reason)."""

    def count_lost(self, at: tuple[str, int], records: int) -> None:
        """So many records of (topic, partition) are gone that nobody has read."""


class Intake:
    """Processes chunks for the partitions that ``tasks`` has."""

    def __init__(
        self,
        settings: Settings,
        tasks: Tasks,
        reference: ReferenceData,
        repair: ReferenceRepair,
        log: Log,
        counters: Counters,
        fatal: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._tasks = tasks
        self._reference = reference
        self._repair = repair
        self._log = log
        self._counters = counters
        self._fatal = fatal
        self._topics = {settings.topic(topic): topic for topic in EVENT_TOPICS | REFERENCE_TOPICS}
        self._slots = asyncio.Semaphore(CHUNKS_IN_FLIGHT)
        self.last_progress = time.monotonic()
        self.processed = 0
        """Records this process has finished with, of all topics."""

    @property
    def topics(self) -> list[str]:
        """The topics to subscribe to, by full name."""
        return sorted(self._topics)

    async def run(self, events: Any, seek: Seek) -> None:
        """Process every chunk of a Faust stream with manual acknowledgement."""
        async for event in events:
            try:
                try:
                    await self._chunk(event, seek)
                except DAMAGE as damage:
                    # Nothing of the chunk was handed over; it waits for what is rebuilt.
                    self._tasks.rebuild(event.message.partition, damage)
                    await self._chunk(event, seek)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                logger.exception("a chunk could not be processed")
                self._fatal(f"a chunk could not be processed: {error!r}")

    async def _chunk(self, event: Any, seek: Seek) -> None:
        message = event.message
        tp = TopicPartition(message.topic, message.partition)
        topic = self._topics[tp.topic]
        task = await self._tasks.running(tp.partition)
        if task is None:
            return  # ours no more: the new owner reads it from its checkpoint
        cursor = task.cursors[tp.topic]
        fetched = await self._in_order(task, cursor, tp, message.value, seek)
        if fetched is None:
            return
        started = time.monotonic()
        position = cursor.position
        results = await self._validate(topic, fetched.records)
        if topic in REFERENCE_TOPICS and any(isinstance(v, Rejection) for v in results):
            await self._refresh_reference()
            await self._repair.make_good([tp.partition])
        await self._slots.acquire()
        try:
            same = await self._tasks.running(tp.partition) is task
            if not same or task.cursors.get(tp.topic) is not cursor or cursor.position != position:
                self._slots.release()
                return  # restored from elsewhere meanwhile: what comes next shows what is missing
            processed = cursor.after(fetched)
            writes = process_chunk(
                topic,
                tp.topic,
                task.partition,
                self._settings.partitions,
                fetched.records,
                results,
                self._reference.sources,
                processed,
            )
            self._account(cursor, tp, fetched, writes)
            cursor.processed = processed
        except BaseException:
            self._slots.release()
            raise
        # In flight from the moment its facts are in the state, so that whoever waits for the
        # chunks in flight (a restore, a rebalance) also waits for one that is being handed over.
        handed_over: asyncio.Future[Pending] = asyncio.get_running_loop().create_future()
        finish = asyncio.create_task(
            self._finish(
                task, cursor, event, writes, processed, handed_over, task.last_chunk, started
            )
        )
        task.last_chunk = finish
        task.in_flight.add(finish)
        finish.add_done_callback(task.in_flight.discard)
        try:
            handed_over.set_result(await self._tasks.changelogs.write(task, tp.topic, writes))
        except asyncio.CancelledError:
            finish.cancel()
            raise
        except Exception as error:
            handed_over.set_exception(error)

    async def _finish(
        self,
        task: Task,
        cursor: SourceCursor,
        event: Any,
        writes: Writes,
        checkpoint: Checkpoint,
        handed_over: asyncio.Future[Pending],
        before: asyncio.Task[bool] | None,
        started: float,
    ) -> bool:
        """Move the checkpoint once the broker has every row of the chunk and of those before it.

        Gives whether it was moved.
        """
        topic = event.message.topic
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                batches = await asyncio.gather(*await handed_over)
            if before is not None:
                await asyncio.wait([before])
                if before.cancelled() or not before.result():
                    return False
            self._tasks.acknowledged(task, batches)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.exception("rows of a chunk could not be written")
            self._fatal(f"rows of a chunk of {topic} could not be written: {error!r}")
            return False
        finally:
            self._slots.release()
        if task.cursors.get(topic) is cursor:
            cursor.checkpoint = checkpoint
            self._tasks.advance(task, topic, checkpoint)
        event.ack()
        self._count(topic, writes, time.monotonic() - started)
        return True

    def _count(self, topic: str, writes: Writes, seconds: float) -> None:
        self.last_progress = time.monotonic()
        self.processed += writes.outcomes.total()
        self._counters.count_chunk(topic, writes.outcomes.items(), writes.rejected.items(), seconds)

    async def _validate(self, topic: Topic, records: Sequence[Record]) -> list[Validated]:
        """A result per record; unknown agencies get a second look at fresh reference data.

        Registrations come by another topic. Whoever registers an agency and then sends its events
        must not see them refused because this process had not read the registration yet.
        """
        sources = self._reference.sources
        results = [validate(topic, record, sources) for record in records]
        doubtful = [
            index
            for index, result in enumerate(results)
            if isinstance(result, Rejection) and result.reason in RETRYABLE
        ]
        if doubtful:
            await self._refresh_reference()
            for index in doubtful:
                results[index] = validate(topic, records[index], self._reference.sources)
        return results

    async def _refresh_reference(self) -> None:
        while True:
            try:
                await self._reference.refresh()
            except TimeoutError:
                logger.warning("reference data cannot be read, trying again")
            else:
                return

    def _account(
        self, cursor: SourceCursor, tp: TopicPartition, fetched: Fetched, writes: Writes
    ) -> None:
        """Every offset passed = applied + duplicate + superseded + rejected + forwarded, or absent
        from the log. Anything else is a fault of this program: the worker says so and is not
        ready, whatever its figures look like."""
        absent = cursor.absent(fetched)
        passed = fetched.until - cursor.position
        unaccounted = passed - absent - writes.outcomes.total()
        if unaccounted:
            logger.error(
                "%s[%d]: %d records up to offset %d are not accounted for",
                tp.topic,
                tp.partition,
                unaccounted,
                fetched.until - 1,
            )
        cursor.unaccounted += unaccounted

    async def _in_order(
        self, task: Task, cursor: SourceCursor, tp: TopicPartition, fetched: Fetched, seek: Seek
    ) -> Fetched | None:
        """The part of a chunk that goes on at the cursor's position; None if there is none now.

        Faust and its client have been seen to drop records that were fetched, and a log may lose
        its end and put other records there, under a new leader epoch. So a chunk that begins after
        the position is passed only when the log itself says that it has nothing between; and one
        that begins before it is left out only while the log still has what was read there.
        """
        again = fetched.first < cursor.position
        if (again or fetched.epoch > cursor.processed.epoch) and await self._truncated(tp, cursor):
            await self._rewind(task, cursor, tp)
        position = cursor.position
        if fetched.first < position:
            if fetched.until <= position:
                if fetched.until < position and cursor.sought != position:
                    cursor.sought = position
                    await seek(tp, position)
                return None
            new = [record for record in fetched.records if record.offset >= position]
            fetched = Fetched(position, fetched.until, new)
        first = fetched.records[0].offset if fetched.records else fetched.until
        if first > position:
            found = (await self._log.first_from({tp: position})).get(tp)
            if found is not None and found.offset < first:
                logger.warning(
                    "%s[%d]: records from %d were skipped, seeking back", *tp, found.offset
                )
                await seek(tp, position)
                return None
            if self._topics[tp.topic] in EVENT_TOPICS:
                await self._expired(tp, cursor, first)
        if damaged := unreadable_offsets(tp, position, fetched.until):
            self._counters.count_lost(tp, damaged)
        cursor.sought = None
        return fetched

    async def _truncated(self, tp: TopicPartition, cursor: SourceCursor) -> bool:
        last = cursor.processed.last
        return cursor.truncated or (last is not None and bool(await missing(self._log, {tp: last})))

    async def _rewind(self, task: Task, cursor: SourceCursor, tp: TopicPartition) -> None:
        start = (await self._log.starts([tp]))[tp]
        logger.error(
            "%s[%d]: the log has lost records that were read, up to offset %d; reading all that it "
            "has from %d. What was lost still counts here, and the audit will name it",
            *tp,
            cursor.position - 1,
            start,
        )
        if task.in_flight:
            await asyncio.wait(set(task.in_flight))
        cursor.rewind(start)
        task.partition.advance(tp.topic, cursor.checkpoint)

    async def _expired(self, tp: TopicPartition, cursor: SourceCursor, until: int) -> None:
        """Count what was removed unread between the position and ``until``: the log begins later.

        Offsets within the log that no record has are no loss (transaction markers). The count is of
        this process; durably, the audit says what an event topic has lost (docs/audit.md).
        """
        start = (await self._log.starts([tp]))[tp]
        lost = min(start, until) - cursor.position
        if lost > 0:
            logger.error(
                "%s[%d]: %d records from offset %d on were removed before they were read",
                *tp,
                lost,
                cursor.position,
            )
            self._counters.count_lost(tp, lost)
