"""What a worker asks of logs beside its consumer: one port, so that simulations can stand in.

Reads go from known positions to the ends, for all who ask together at once. A worker that is
assigned twelve partitions restores them all at the same time: each with a consumer of its own would
mean twelve connections and fetches of metadata, and a poll for each partition's few records; here
whoever asks while a consumer is being started shares it. Knows nothing of what the records mean.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.kafka.aiokafka_internals import leave_as_unpacked
from streams.kafka.consumers import plain_consumer
from streams.kafka.offsets import end_offsets
from streams.kafka.unpacking import Unreadable, unreadable_within

_POLL_MS = 500
_READ_RECORDS = 5000
_READ_BYTES, _ONE_BATCH_BYTES = 8 * 1024 * 1024, 4096

Positions = dict[TopicPartition, int]
Take = Callable[[TopicPartition, list[tuple[bytes, bytes]]], None]
"""Called with keys and values in the order of the log; records without either are left out."""


Damaged = Callable[[str], None]
"""Called with what of a log can't be read, in words."""


class Record(Protocol):
    """A consumed record, as far as anyone looks (aiokafka's ConsumerRecord has it)."""

    partition: int
    offset: int
    timestamp: int | None
    """The broker's, ms since the epoch; anything at all where the topic keeps the producer's."""
    key: bytes | None
    value: bytes | None
    headers: Any
    """(name, value) pairs."""


class Log(Protocol):
    """Logs as a worker sees them beside its consumer. Every question may raise ``KafkaError``."""

    async def read(
        self, positions: Mapping[TopicPartition, int], take: Take, damaged: Damaged
    ) -> Positions:
        """Give ``take`` everything from ``positions`` to the ends as of now; return where it ended.

        If a log ends before its position nothing is taken, and the ends are returned. What can't
        be read is passed, and ``damaged`` is told.
        """

    async def ends(self, partitions: Iterable[TopicPartition]) -> Positions:
        """The offset after the last readable record of each partition."""

    async def starts(self, partitions: Iterable[TopicPartition]) -> Positions:
        """The first offset of each partition that has not been deleted or expired."""

    async def first_from(
        self, positions: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, Record]:
        """The first record at or after each offset; a partition that has none is left out.

        Raises ``TimeoutError`` if the brokers do not say in time.
        """

    def close(self) -> None:
        """End what is under way; whoever waits is cancelled."""


@dataclass(eq=False, slots=True)
class _Request:
    at: Positions
    """How far it has been read."""
    take: Take
    damaged: Damaged
    result: asyncio.Future[Positions]
    ends: Positions = field(default_factory=dict)

    def behind(self) -> list[TopicPartition]:
        return [tp for tp, at in self.at.items() if at < self.ends[tp]]


ASK_SECONDS = 60.0
"""A question about single records is answered within this time, or not at all."""


class KafkaLog:
    """The logs of a Kafka cluster. Survives nothing: who asks remembers how far it came."""

    def __init__(self, client_options: Mapping[str, Any]) -> None:
        """``client_options``: keyword arguments for aiokafka (bootstrap_servers, security)."""
        self._options = dict(client_options)
        self._joinable: list[_Request] | None = None
        """The requests of the round that has not asked for the ends yet."""
        self._rounds: set[asyncio.Task[None]] = set()

    async def read(
        self, positions: Mapping[TopicPartition, int], take: Take, damaged: Damaged
    ) -> Positions:
        """See :class:`Log`.

        Once the call is cancelled ``take`` is not called again. Raises ``KafkaError``, and what
        ``take`` raises.
        """
        future = asyncio.get_running_loop().create_future()
        request = _Request(dict(positions), take, damaged, future)
        waiting = self._joinable
        if waiting is None or any(request.at.keys() & other.at.keys() for other in waiting):
            # One consumer has one position in a partition, so who asks again waits for its own.
            waiting = self._joinable = []
            task = asyncio.create_task(self._round(waiting))
            self._rounds.add(task)
            task.add_done_callback(partial(self._done, waiting))
        waiting.append(request)
        try:
            return await request.result
        finally:
            request.result.cancel()

    def close(self) -> None:
        for task in self._rounds:
            task.cancel()

    async def ends(self, partitions: Iterable[TopicPartition]) -> Positions:
        async with self._consumer() as consumer:
            return await end_offsets(consumer, partitions)

    async def starts(self, partitions: Iterable[TopicPartition]) -> Positions:
        async with self._consumer() as consumer:
            found: Positions = await consumer.beginning_offsets(list(partitions))
            return found

    async def first_from(
        self, positions: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, Record]:
        found: dict[TopicPartition, Record] = {}
        # One batch of each is wanted, and a broker gives that whatever its size.
        async with asyncio.timeout(ASK_SECONDS), self._consumer(_ONE_BATCH_BYTES) as consumer:
            consumer.assign(list(positions))
            for tp, offset in positions.items():
                consumer.seek(tp, offset)
            ends = await end_offsets(consumer, positions)
            unread = {tp for tp, offset in positions.items() if offset < ends[tp]}
            while unread:
                fetched = await consumer.getmany(*unread, timeout_ms=_POLL_MS)
                for tp, records in fetched.items():
                    if records:
                        found[tp] = records[0]
                unread = {
                    tp for tp in unread - found.keys() if await consumer.position(tp) < ends[tp]
                }
        return found

    @contextlib.asynccontextmanager
    async def _consumer(self, most: int = _READ_BYTES) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = plain_consumer(self._options, max_partition_fetch_bytes=most)
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()

    async def _round(self, requests: list[_Request]) -> None:
        try:
            async with self._consumer() as consumer:
                if self._joinable is requests:
                    self._joinable = None
                await self._read(consumer, requests)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            for request in requests:
                if not request.result.done():
                    request.result.set_exception(error)

    def _done(self, requests: list[_Request], task: asyncio.Task[None]) -> None:
        # Also of a round that was cancelled before it began.
        self._rounds.discard(task)
        if self._joinable is requests:
            self._joinable = None
        for request in requests:
            request.result.cancel()

    async def _read(self, consumer: AIOKafkaConsumer, requests: list[_Request]) -> None:
        of = {tp: r for r in requests if not r.result.done() for tp in r.at}
        if not of:
            return
        consumer.assign(list(of))
        for tp, request in of.items():
            consumer.seek(tp, request.at[tp])
        ends = await end_offsets(consumer, of)
        for request in set(of.values()):
            request.ends = {tp: ends[tp] for tp in request.at}
            if any(end < request.at[tp] for tp, end in request.ends.items()):
                _finish(request, request.ends)
        while behind := self._behind(requests):
            leave_as_unpacked(consumer)
            fetched = await consumer.getmany(
                *behind, timeout_ms=_POLL_MS, max_records=_READ_RECORDS
            )
            for tp, records in fetched.items():
                if not of[tp].result.done():
                    try:
                        of[tp].take(
                            tp, [(r.key, r.value) for r in records if r.key and r.value is not None]
                        )
                    except Exception as error:
                        of[tp].result.set_exception(error)
            for tp in behind:
                # Not the last record's offset: compaction leaves gaps.
                before, of[tp].at[tp] = of[tp].at[tp], await consumer.position(tp)
                lost = unreadable_within(tp, before, of[tp].at[tp])
                if lost and not of[tp].result.done():
                    of[tp].damaged(_damage(tp, lost))
            await asyncio.sleep(0)

    @staticmethod
    def _behind(requests: list[_Request]) -> list[TopicPartition]:
        found: list[TopicPartition] = []
        for request in requests:
            if request.result.done():
                continue
            behind = request.behind()
            if not behind:
                # What was read may reach past the ends as asked; all of it was taken.
                _finish(request, dict(request.at))
            found += behind
        return found


def _damage(tp: TopicPartition, lost: list[Unreadable]) -> str:
    which = ", ".join(f"{one.first} to {one.next - 1} ({one.why})" for one in lost)
    return f"{tp.topic}[{tp.partition}]: records can't be read: {which}"


def _finish(request: _Request, result: Positions) -> None:
    if not request.result.done():
        request.result.set_result(result)
