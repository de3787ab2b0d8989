"""Big steps instead of small ones: chunks of records in.

Faust's cost is per message (two tasks and several awaits each, faust/transport/consumer.py
``_drain_messages``), so its documented ``ConsumerScheduler`` setting hands over what was fetched
from a partition as one message. Knows no counting rule.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import faust
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from faust import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message

from streams.kafka.aiokafka_internals import (
    leave_as_unpacked,
    note_leader_epochs,
    positions,
    read_committed,
)
from streams.kafka.permissions import may_not_join
from streams.kafka.reconnect import start_when_reachable
from streams.processing.source_cursor import Fetched
from streams.runtime.deadline import STOP_SECONDS, end_within

CHUNK_RECORDS = 4000
"""At most this many records are fetched, handed over and kept in flight together."""

WAITING_CHUNKS = 8
"""Nothing more is fetched while so many chunks wait to be processed: a backlog stays with the
broker, not in this process."""
_LOOK_AGAIN_SECONDS = 0.002

TRICKLE_FETCH_MS, STREAM_FETCH_MS, IDLE_FETCH_MS = 20, 100, 100
"""How long a broker may hold back its answer to a fetch: while some records come in, while many do,
and while none do.

Faust has 1500 fixed (``transport/drivers/aiokafka.py``). aiokafka has one fetch under way per
broker, so while that waits for partitions that are read to their ends, no other partition of the
broker is fetched: a worker with a backlog was idle for 40 % of the time.

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
_FAILED = 2


class Driven(Protocol):
    """What drives: asked by Faust's parts, and told when the app starts and stops."""

    def waiting_chunks(self) -> int:
        """How many chunks were fetched and wait to be processed."""

    def checkpoints(self) -> Mapping[tuple[str, int], int]:
        """(topic, partition) → the offset that the group is to be told."""

    def positions(self) -> Mapping[tuple[str, int], int]:
        """(topic, partition) → where the consumer is to go on, whatever the group was told."""

    async def start(self) -> None:
        """Called before the first partition is assigned."""

    async def stop(self) -> None:
        """Called before the last commit."""

    async def close(self) -> None:
        """Called after the consumer has stopped."""

    def fatal(self, reason: str) -> None:
        """Called with what must end the process."""


class _ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust ships no types
    _records_at = -_QUIET_SECONDS
    _wait_ms = IDLE_FETCH_MS
    _epochs: Mapping[tuple[str, int], int]
    _left: Mapping[tuple[str, int], int] = MappingProxyType({})
    """Where the last fetch has left each partition, or a seek since. aiokafka moves a position that
    the log has lost between fetches as well, and tells nobody: here it is known."""

    def _create_consumer(self, loop: asyncio.AbstractEventLoop) -> Any:
        # Faust reads uncommitted records unless it also writes in transactions (exactly_once).
        consumer = read_committed(super()._create_consumer(loop))
        self._epochs = note_leader_epochs(consumer)
        return consumer

    async def on_start(self) -> None:
        await start_when_reachable(super().on_start)

    async def seek_here(self, tp: TP, offset: int) -> None:
        """Seek, in this thread: it drops what was fetched, which is handed over here as well.

        Does nothing if the partition has been lost on the way.
        """
        consumer = self._ensure_consumer()
        if tp in consumer.assignment():
            consumer.seek(tp, offset)
            self._left = {**self._left, tp: offset}

    def highwater(self, tp: TP) -> Any:
        """How far the partition can be read: what an open transaction holds back is no backlog."""
        return self._ensure_consumer().last_stable_offset(tp)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's look at what is stuck goes by the high watermark, which an open transaction
        keeps out of reach; ``processing/stuck_partitions.py`` looks better."""
        self._verify_aiokafka_event_path(now, tp)

    async def getmany(self, active_partitions: Any, timeout: float) -> Any:
        # Faust would go on fetching while chunks wait for their turn, up to thousands of them.
        until = time.monotonic() + timeout
        while self.app.driven.waiting_chunks() >= WAITING_CHUNKS:
            if time.monotonic() > until:
                return {}
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        fetched = await super().getmany(active_partitions, timeout)
        if fetched:
            self._records_at = time.monotonic()
            many = sum(len(each.records) for each in fetched.values()) >= STREAM_RECORDS
            self._wait_ms = STREAM_FETCH_MS if many else TRICKLE_FETCH_MS
        elif time.monotonic() - self._records_at >= _QUIET_SECONDS:
            self._wait_ms = IDLE_FETCH_MS
        # Read anew by aiokafka for each request it sends.
        fetcher = self._consumer._fetcher
        fetcher._fetch_min_bytes = FETCH_BYTES
        fetcher._fetch_max_wait_ms = self._wait_ms
        return fetched

    async def on_thread_stop(self) -> None:
        # aiokafka's fetcher, closed while it waits before it tries a broker again, lets the
        # CancelledError of that wait out (consumer/fetcher.py ``close``). The thread would end of
        # it, and the stop wait for ever for what comes after.
        with contextlib.suppress(asyncio.CancelledError):
            await super().on_thread_stop()

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, *args: Any, **kwargs: Any
    ) -> Any:
        # Runs in the thread that also fills the fetcher, so nothing changes meanwhile.
        leave_as_unpacked(consumer)
        before = dict(positions(consumer))
        for tp in self._left.keys() & consumer.assignment():
            before[tp] = min(self._left[tp], before.get(tp, self._left[tp]))
        try:
            records = await super()._fetch_records(consumer, active_partitions, *args, **kwargs)
        except TopicAuthorizationFailedError:
            # The watch over the brokers names the right and ends the process, unless it is back
            # by then. Nothing was handed over, so the next fetch begins where this one did.
            await asyncio.sleep(_REFUSED_SECONDS)
            return {}
        except GroupAuthorizationFailedError:
            # aiokafka's coordinator ends of it, and would not join again with the right back.
            self.app.driven.fatal(may_not_join(self.app.conf.id))
            raise
        after = positions(consumer)
        self._left = {**before, **after}
        fetched = {}
        for tp in records.keys() | (after.keys() & active_partitions):
            some = records.get(tp, ())
            until = after.get(tp, some[-1].offset + 1 if some else 0)
            first = before.get(tp, until)
            if some:
                first = min(first, some[0].offset)
            if first < until:
                fetched[TP(*tp)] = Fetched(first, until, some, self._epochs.get(tp, -1))
        return fetched

    async def _commit(self, offsets: Any) -> Any:
        # aiokafka refuses an empty commit, which is all that is left when a rebalance comes first.
        assigned = self.assignment()
        return bool(assigned & offsets.keys()) and await super()._commit(offsets)


class _NoReadOffsets(dict[TP, int | None]):
    """Faust drops messages before the last one that it has handed over: it knows of none."""

    def __getitem__(self, _: TP) -> None:
        return None

    def __setitem__(self, *_: Any) -> None:
        pass

    def update(self, *_: Any, **__: Any) -> None:
        pass


class _Consumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, without its books: what is read, dropped and committed is ours to say."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NoReadOffsets()

    def _new_consumer_thread(self) -> Any:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def ack(self, message: Any) -> bool:
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def perform_seek(self) -> None:
        await super().perform_seek()
        assigned = self.assignment()
        for at, offset in self.app.driven.positions().items():
            if at in assigned:
                await self.seek(TP(*at), offset)

    async def _seek(self, partition: TP, offset: int) -> None:
        # Faust seeks in the caller's thread. Now and then the fetcher then missed, in the middle of
        # handing over, what it held of the partition (KeyError), and the worker ended.
        await self._thread.call_thread(self._thread.seek_here, partition, offset)

    async def _add_gap(self, *_: Any) -> None:
        pass

    async def _commit_tps(self, *_: Any, **__: Any) -> bool:
        offsets = {
            tp: offset
            for at, offset in self.app.driven.checkpoints().items()
            if (tp := TP(*at)) and offset != (self._committed_offset[tp] or 0)
        }
        committed = bool(offsets) and await self._commit(offsets)
        if committed:
            self._committed_offset.update(offsets)
        return committed


class _Producer(driver.Producer):  # type: ignore[misc]
    async def on_start(self) -> None:
        await start_when_reachable(super().on_start)


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's Kafka transport, with fetches that do not hold one another up."""

    Consumer = _Consumer
    Producer = _Producer


class FaustApp(faust.App):  # type: ignore[misc]
    """A Faust app that is driven by a worker."""

    def __init__(self, driven: Driven, *args: Any, **kwargs: Any) -> None:
        self.driven = driven
        super().__init__(*args, ConsumerScheduler=ChunkScheduler, **kwargs)

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Transport:
        return Transport(self.conf.broker_producer, self)

    def coordinator(self) -> Any:
        """aiokafka's GroupCoordinator behind the consumer, once partitions are assigned."""
        return self.consumer._thread._consumer._coordinator

    async def on_start(self) -> None:
        await super().on_start()
        await self.driven.start()

    async def on_stop(self) -> None:
        await self.driven.stop()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        await self.driven.close()


class FaustProcess(faust.Worker):  # type: ignore[misc]
    """Runs an app as this process, until SIGTERM or SIGINT or a failure; then it ends surely.

    Faust would set up logging by itself, with a spinner, and at some levels with the root logger at
    DEBUG; ours is set up already.
    """

    def __init__(self, app: FaustApp) -> None:
        super().__init__(
            app, loglevel=None, quiet=True, override_logging=False, redirect_stdouts=False
        )
        self.spinner = None  # it would write its escape codes even where there is no terminal

    async def stop(self) -> None:
        # Faust waits here for the consumer, which waits for the group's coordinator.
        end_within(
            STOP_SECONDS,
            0 if self._signal_stop_time else _FAILED,
            "what was not acknowledged is read again at the next start",
        )
        await super().stop()


class ChunkRecord(NamedTuple):
    """What was fetched of one partition as one Faust message; its offset is the last one's.

    The fields are those that faust/transport/drivers/aiokafka.py ``_to_message`` reads.
    """

    topic: str
    partition: int
    offset: int
    value: Fetched
    timestamp: int = 0
    timestamp_type: int = 0
    key: None = None
    checksum: None = None
    serialized_key_size: int = 0
    serialized_value_size: int = 0
    headers: tuple[()] = ()


class ChunkScheduler:
    """A Faust scheduling strategy that yields one :class:`ChunkRecord` per partition."""

    def iterate(self, records: Mapping[TP, Fetched]) -> Iterator[tuple[TP, Any]]:
        """All that was fetched, partition by partition."""
        for tp, fetched in records.items():
            yield tp, ChunkRecord(tp.topic, tp.partition, fetched.until - 1, fetched)


class ChunkSchema(Schema):  # type: ignore[misc]  # Faust ships no types
    """Hands the chunk to the agent as it is: decoding is the pipeline's work, and its errors."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Faust's hook for the decode function of a topic."""
        create_event = app.create_event

        async def decode(message: Message, *, propagate: bool = False) -> Any:
            return create_event(None, message.value, message.headers, message)

        return decode
