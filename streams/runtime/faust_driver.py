"""Big steps instead of small ones: chunks of records in.

Faust's cost is per message (two tasks and several awaits each, faust/transport/consumer.py
``_drain_messages``), so its documented ``ConsumerScheduler`` setting hands over what was fetched
from a partition as one message. Knows no counting rule.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from faust import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message

from streams.kafka.aiokafka_internals import leave_as_unpacked, read_committed
from streams.kafka.permissions import may_not_join

CHUNK_RECORDS = 4000
"""At most this many records are handed over, and kept in flight, together."""

WAITING_CHUNKS = 8
"""Nothing more is fetched while so many chunks wait to be taken in: a backlog stays with the
broker, not in this process."""
_LOOK_AGAIN_SECONDS = 0.002

TRICKLE_FETCH_MS, STREAM_FETCH_MS, IDLE_FETCH_MS = 20, 100, 100
"""How long a broker may hold back its answer to a fetch: while some records come in, while many do,
and while none do.

Faust has 1500 fixed (``transport/drivers/aiokafka.py``). aiokafka has one fetch under way per
broker, so while that waits for partitions that are read to their ends, no other partition of the
broker is fetched: a worker with a backlog stood still for 40 % of the time.

The embedded broker looks at one partition after the other and answers when the time is over, with
those that it has come to. In a stream of some thousand events a second 20 ms were enough for half
of them, and an event waited for its partition's turn through several fetches (p99 halved with 100).
"""
STREAM_RECORDS = 100
"""As many records in one fetch are a stream. ``FETCH_BYTES`` then end a fetch before its time."""
FETCH_BYTES = 20_000
"""So much of all partitions together is worth an answer before that time is over. With less, a
stream of some thousand events a second is fetched a few records at a time, and the broker is busy
with fetches: events then wait for it, and not for this process."""
_QUIET_SECONDS = 1.0
_REFUSED_SECONDS = 1.0


class _ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust ships no types
    _records_at = -_QUIET_SECONDS
    _wait_ms = IDLE_FETCH_MS

    def _create_consumer(self, loop: asyncio.AbstractEventLoop) -> Any:
        # Faust reads uncommitted records unless it also writes in transactions (exactly_once).
        return read_committed(super()._create_consumer(loop))

    def highwater(self, tp: TP) -> Any:
        """How far the partition can be read: what an open transaction holds back is no backlog."""
        return self._ensure_consumer().last_stable_offset(tp)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's look at what stands still goes by the high watermark, which an open transaction
        keeps out of reach; ``processing/stuck_partitions.py`` looks better."""
        self._verify_aiokafka_event_path(now, tp)

    async def getmany(self, active_partitions: Any, timeout: float) -> Any:
        # Faust would go on fetching while chunks wait for their turn, up to thousands of them.
        until = time.monotonic() + timeout
        while self.app.waiting_chunks() >= WAITING_CHUNKS:
            if time.monotonic() > until:
                return {}
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        records = await super().getmany(active_partitions, timeout)
        if records:
            self._records_at = time.monotonic()
            many = sum(map(len, records.values())) >= STREAM_RECORDS
            self._wait_ms = STREAM_FETCH_MS if many else TRICKLE_FETCH_MS
        elif time.monotonic() - self._records_at >= _QUIET_SECONDS:
            self._wait_ms = IDLE_FETCH_MS
        # Read anew by aiokafka for each request it sends.
        fetcher = self._consumer._fetcher
        fetcher._fetch_min_bytes = FETCH_BYTES
        fetcher._fetch_max_wait_ms = self._wait_ms
        return records

    async def on_thread_stop(self) -> None:
        # aiokafka's fetcher, closed while it waits before it tries a broker again, lets the
        # CancelledError of that wait out (consumer/fetcher.py ``close``). The thread would end of
        # it, and the stop wait for ever for what comes after.
        with contextlib.suppress(asyncio.CancelledError):
            await super().on_thread_stop()

    async def _fetch_records(self, consumer: Any, *args: Any, **kwargs: Any) -> Any:
        # Runs in the thread that also fills the fetcher, so nothing changes meanwhile.
        leave_as_unpacked(consumer)
        try:
            return await super()._fetch_records(consumer, *args, **kwargs)
        except TopicAuthorizationFailedError:
            # The watch over the brokers names the right and ends the process, unless it is back
            # by then. Nothing was handed over, so the next fetch begins where this one did.
            await asyncio.sleep(_REFUSED_SECONDS)
            return {}
        except GroupAuthorizationFailedError:
            # aiokafka's coordinator ends of it, and would not join again with the right back.
            self.app.fatal(may_not_join(self.app.conf.id))
            raise


class _Consumer(driver.Consumer):  # type: ignore[misc]
    def _new_consumer_thread(self) -> Any:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _new_offset(self, tp: TP) -> int | None:
        # What lies between two messages counts as done in Faust's books (``_add_gap``), and with a
        # chunk as a message that is most of the log. After a seek back they would let records be
        # committed that this process was never handed again.
        offset = super()._new_offset(tp)
        return None if offset is None else self.app.committable(tp, offset)


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's Kafka transport, with fetches that do not hold one another up."""

    Consumer = _Consumer


class ChunkRecord(NamedTuple):
    """Records of one partition as one Faust message; its offset is the last one's.

    The records have at least ``offset``, ``timestamp``, ``key``, ``value`` and ``headers``.

    The fields are those that faust/transport/drivers/aiokafka.py ``_to_message`` reads. Faust's
    gap handling commits past the whole chunk once it is acknowledged.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: None
    value: Sequence[Any]
    checksum: None = None
    serialized_key_size: int = 0
    serialized_value_size: int = 0
    headers: tuple[()] = ()


class ChunkScheduler:
    """A Faust scheduling strategy that yields one :class:`ChunkRecord` per partition."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        """All fetched records, chunk by chunk, in offset order within each partition."""
        for tp, fetched in records.items():
            for start in range(0, len(fetched), CHUNK_RECORDS):
                chunk = fetched[start : start + CHUNK_RECORDS]
                last = chunk[-1]
                yield (
                    tp,
                    ChunkRecord(
                        tp.topic,
                        tp.partition,
                        last.offset,
                        last.timestamp,
                        last.timestamp_type,
                        None,
                        chunk,
                    ),
                )


class ChunkSchema(Schema):  # type: ignore[misc]  # Faust ships no types
    """Hands the chunk to the agent as it is: decoding is the pipeline's work, and its errors."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Faust's hook for the decode function of a topic."""
        create_event = app.create_event

        async def decode(message: Message, *, propagate: bool = False) -> Any:
            return create_event(None, message.value, message.headers, message)

        return decode
