"""The flow of one chunk: from Faust's stream to acknowledged rows, and only then to its ack.

One agent takes in all five topics that portals and officials write to. No exception leaves it
(Faust would acknowledge the events of an escaping one): bad input is a dead letter, and what a
restart must settle ends the process through ``fatal``.

What survives a crash at any point: see :mod:`streams.processing.chunk` (nothing is acknowledged
before the broker has its rows) and :mod:`streams.processing.tasks` (what is read back).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import TopicPartition

from schemas.decoder import Rejection
from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, Topic
from streams.kafka.batch_writer import Acknowledged
from streams.kafka.consumers import plain_consumer
from streams.metrics.catalogue import Instruments
from streams.processing.chunk import MENDABLE, Record, Verdict, Writes, judge, take_in
from streams.processing.lost_records import LostRecords
from streams.processing.reference_repair import ReferenceRepair
from streams.processing.task import Owned
from streams.processing.tasks import DAMAGE, Tables
from streams.settings import Settings
from streams.views.reference_data import Reference

logger = logging.getLogger(__name__)

CHUNKS_IN_FLIGHT = 24
"""Chunks whose rows are on their way to the broker while the next ones are worked on.

Two topics of twelve partitions: one round of small chunks, so that none waits for the broker's
answer to another partition's rows before its facts are taken in.
"""

WRITE_SECONDS = 60.0
"""A chunk's rows are acknowledged within this time, or the process ends and replays the chunk.

aiokafka gives a batch up after 40 s, but has been seen to forget one after a network cut.
"""
ASK_SECONDS = 60.0
"""The log says within this time whether it has a record, or the process ends likewise."""

Pending = list[Awaitable[Acknowledged]]
Records = Sequence[Record]


class Intake:
    """Takes in chunks for the partitions that ``tables`` owns."""

    def __init__(
        self,
        settings: Settings,
        tables: Tables,
        reference: Reference,
        repair: ReferenceRepair,
        instruments: Instruments,
        fatal: Callable[[str], None],
        lost: LostRecords | None = None,
    ) -> None:
        self._settings = settings
        self._lost = lost
        self._tables = tables
        self._reference = reference
        self._repair = repair
        self._instruments = instruments
        self._fatal = fatal
        self._topics = {settings.topic(topic): topic for topic in EVENT_TOPICS | REFERENCE_TOPICS}
        self._slots = asyncio.Semaphore(CHUNKS_IN_FLIGHT)
        self._holes: dict[tuple[str, int, int], int] = {}
        """(topic, partition, offset) → the first offset after it that a record has."""
        self.waiting_chunks: Callable[[], int] = lambda: 0
        """How many chunks were handed over and not yet begun."""
        self.last_progress = time.monotonic()
        self.taken_in = 0
        """Records this process has finished with, of all topics."""

    @property
    def topics(self) -> list[str]:
        """The topics to subscribe to, by full name."""
        return sorted(self._topics)

    async def run(self, events: Any, seek: Callable[[Any, int], Awaitable[None]]) -> None:
        """Take in every chunk of a Faust stream with manual acknowledgement."""
        async for event in events:
            try:
                try:
                    await self._chunk(event, seek)
                except DAMAGE as damage:
                    # Nothing of the chunk was handed over; it waits for what is rebuilt.
                    self._tables.rebuild(event.message.partition, damage)
                    await self._chunk(event, seek)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                logger.exception("a chunk could not be taken in")
                self._fatal(f"a chunk could not be taken in: {error!r}")

    async def _chunk(self, event: Any, seek: Callable[[Any, int], Awaitable[None]]) -> None:
        message = event.message
        name, number, records = message.topic, message.partition, message.value
        topic = self._topics[name]
        owned = await self._tables.settled(number)
        if owned is None:
            return  # ours no more: the new owner reads it from the committed offset
        absent = 0
        if topic in EVENT_TOPICS:
            lost, absent = await self._gap(owned, name, records)
            if lost is not None:
                logger.warning(
                    "%s[%d]: records from %d were skipped, seeking back", name, number, lost
                )
                await seek(message.tp, lost)
                return
        started = time.monotonic()
        verdicts = await self._judge(topic, records)
        if topic in REFERENCE_TOPICS and any(isinstance(v, Rejection) for v in verdicts):
            await self._refresh_reference()
            await self._repair.make_good([number])
        await self._slots.acquire()
        try:
            owned_now = await self._tables.settled(number)
            if owned_now is not owned:
                self._slots.release()
                return
            writes = take_in(
                topic,
                name,
                owned.partition,
                self._settings.partitions,
                records,
                verdicts,
                self._reference.sources,
            )
            self._conserve(owned, topic, name, records, writes, absent)
        except BaseException:
            self._slots.release()
            raise
        # In flight from the moment its facts are in the state, so that whoever waits for the
        # chunks in flight (a recovery, a rebalance) also waits for one that is being handed over.
        handed_over: asyncio.Future[Pending] = asyncio.get_running_loop().create_future()
        finish = asyncio.create_task(
            self._finish(owned, event, name, writes, handed_over, owned.last_chunk, started)
        )
        owned.last_chunk = finish
        owned.in_flight.add(finish)
        finish.add_done_callback(owned.in_flight.discard)
        try:
            handed_over.set_result(await self._tables.write(owned, name, writes))
        except asyncio.CancelledError:
            finish.cancel()
            raise
        except Exception as error:
            handed_over.set_exception(error)

    async def _finish(
        self,
        owned: Owned,
        event: Any,
        topic: str,
        writes: Writes,
        handed_over: asyncio.Future[Pending],
        before: asyncio.Task[bool] | None,
        started: float,
    ) -> bool:
        """Acknowledge the chunk once the broker has every row of it and of those before it.

        In order, because Faust commits past chunks that are not acknowledged when a later one is
        (faust-streaming#606). Gives whether it was acknowledged.
        """
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                batches = await asyncio.gather(*await handed_over)
            if before is not None:
                await asyncio.wait([before])
                if before.cancelled() or not before.result():
                    return False
            self._tables.acknowledged(owned, batches, writes)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.exception("rows of a chunk could not be written")
            self._fatal(f"rows of a chunk of {topic} could not be written: {error!r}")
            return False
        finally:
            self._slots.release()
        if not owned.lost:
            self._tables.advance(owned, topic, event.message.value[-1].offset + 1)
        event.ack()
        self._count(topic, writes, time.monotonic() - started)
        if owned.disturbed:
            self._tables.restore(owned)
        return True

    def _count(self, topic: str, writes: Writes, seconds: float) -> None:
        self.last_progress = time.monotonic()
        self.taken_in += writes.outcomes.total()
        self._instruments.batch_seconds.observe(seconds)
        for outcome, count in writes.outcomes.items():
            self._instruments.events.labels(topic, outcome).inc(count)
        for (agency, reason), count in writes.rejected.items():
            self._instruments.rejected.labels(agency, reason).inc(count)

    async def _judge(self, topic: Topic, records: Records) -> list[Verdict]:
        """A verdict per record; unknown agencies get a second look at fresh reference data.

        Registrations come by another topic. Whoever registers an agency and then sends its events
        must not see them refused because this process had not read the registration yet.
        """
        sources = self._reference.sources
        verdicts = [judge(topic, record, sources) for record in records]
        doubtful = [
            index
            for index, verdict in enumerate(verdicts)
            if isinstance(verdict, Rejection) and verdict.reason in MENDABLE
        ]
        if doubtful:
            await self._refresh_reference()
            for index in doubtful:
                verdicts[index] = judge(topic, records[index], self._reference.sources)
        return verdicts

    async def _refresh_reference(self) -> None:
        while True:
            try:
                await self._reference.refresh()
            except TimeoutError:
                logger.warning("reference data cannot be read, trying again")
            else:
                return

    def _conserve(
        self,
        owned: Owned,
        topic: Topic,
        name: str,
        records: Records,
        writes: Writes,
        absent: int,
    ) -> None:
        """Move on, and account for every offset moved past.

        Offsets taken in = applied + duplicate + superseded + rejected + forwarded, plus those that
        the log is known not to have. Anything else is a fault of this program: the worker says so
        and is not ready, whatever its figures look like.
        """
        unexplained = len(records) - writes.outcomes.total()
        before, after = owned.next.get(name, 0), records[-1].offset + 1
        if topic in EVENT_TOPICS and after > before:
            fresh = len(records)
            if records[0].offset < before:
                fresh = sum(record.offset >= before for record in records)
            unexplained += after - before - absent - fresh
        if unexplained:
            logger.error(
                "%s[%d]: %d records up to offset %d are not accounted for",
                name,
                owned.number,
                unexplained,
                after - 1,
            )
        owned.unexplained[name] = owned.unexplained.get(name, 0) + unexplained
        owned.next[name] = max(before, after)

    async def _gap(self, owned: Owned, topic: str, records: Records) -> tuple[int | None, int]:
        """The gap fence: the first offset missing before or within a chunk, and holes passed.

        Offsets of event topics are contiguous, so a chunk must start where the last one of its
        partition ended (or before: a replay), and so must each record. Where there is a gap the
        log itself is asked. A record that exists was skipped on the way: it must be read again.
        Offsets that no record has (transaction markers, expired records) are passed, and logged;
        how many is the second answer.
        """
        expected = owned.next.get(topic, 0)
        absent = 0
        if [record.offset for record in records] == list(range(expected, expected + len(records))):
            return None, absent
        for record in records:
            if record.offset > expected:
                hole = (topic, owned.number, expected)
                if self._holes.get(hole, 0) < record.offset:
                    first = await self._first_from(topic, owned.number, expected)
                    if first < record.offset:
                        return first, absent
                    self._holes[hole] = first
                    logger.warning(
                        "%s[%d]: the log has no records from %d to %d",
                        topic,
                        owned.number,
                        expected,
                        record.offset - 1,
                    )
                    if self._lost is not None:
                        await self._lost.note((topic, owned.number), expected, record.offset)
                absent += record.offset - expected
            expected = max(expected, record.offset + 1)
        return None, absent

    async def _first_from(self, topic: str, partition: int, offset: int) -> int:
        """The offset of the first record at or after ``offset``, asked of the log itself."""
        consumer = plain_consumer(self._settings.client_options())
        tp = TopicPartition(topic, partition)
        async with asyncio.timeout(ASK_SECONDS):
            try:
                await consumer.start()
                consumer.assign([tp])
                consumer.seek(tp, offset)
                record = await consumer.getone(tp)
                return int(record.offset)
            finally:
                await consumer.stop()
