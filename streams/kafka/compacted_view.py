"""A compacted topic as a dict in memory, for whoever only reads: API, report, reference data.

A plain consumer without a group reads every partition from the beginning and then follows. The
topic is the only store: nothing here survives the process, and a new view reads it all again.
May be used on any event loop; knows nothing of Faust (whose GlobalTable lags behind by up to
1,000 updates) and nothing of what the records mean: the caller decodes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
)

from streams.kafka.consumers import plain_consumer
from streams.kafka.offsets import end_offsets
from streams.kafka.shared_question import SharedQuestion
from streams.kafka.topic_ends import partitions_of

K = TypeVar("K")
V = TypeVar("V")

logger = logging.getLogger(__name__)

_MAX_RECORDS = 4_000  # of one poll: what is decoded before other tasks on the loop get a turn
_POLL_MS = 500
_RETRY_SECONDS = 0.5


class ViewFailedError(Exception):
    """The view has stopped following and its entries may be old; ``__cause__`` says why."""


class ViewStoppedError(ViewFailedError):
    """The view was told to stop."""


class CompactedView(Generic[K, V]):
    """The newest value of every key of some compacted topics.

    ``decode(record)`` gives ``(key, value)``, or None for a record to be ignored; a value of None
    removes the entry (so decode a record whose value is null as ``(key, None)``). With ``merge`` an
    entry is not the newest value but all of them together: ``merge(old, value)``.
    ``on_change(key, old, new)`` is called on the loop for every change of an entry, None standing
    for absent; what the topics held at :meth:`start` is announced once, when it is complete.
    If one of them raises, the view fails: better no answer than one with a hole.

    Partitions added to a topic after :meth:`start` are not seen. If the broker lost records that
    were already read, everything is read again, and the old entries stand until that is complete.
    """

    def __init__(
        self,
        client_options: Mapping[str, Any],
        topics: Sequence[str],
        decode: Callable[[ConsumerRecord], tuple[K, V | None] | None],
        *,
        merge: Callable[[V | None, V], V] | None = None,
        on_change: Callable[[K, V | None, V | None], None] | None = None,
    ) -> None:
        """``client_options``: keyword arguments for aiokafka (bootstrap_servers, security)."""
        self._options = dict(client_options)
        self._topics = tuple(topics)
        self._decode = decode
        self._merge = merge
        self._on_change = on_change
        self._entries: dict[K, V] = {}
        self._loading: dict[K, V] | None = None  # what a read from the beginning has found so far
        self._load_ends: dict[TopicPartition, int] = {}
        self._reload = False
        self._applied: dict[TopicPartition, int] = {}  # next offset of each partition
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._failed: Exception | None = None
        self._stopped = False
        self._progress = asyncio.Event()
        self._ends = SharedQuestion(self._ask_ends)

    @property
    def entries(self) -> Mapping[K, V]:
        """The entries now, read only; take it anew for each use, it may be replaced."""
        return MappingProxyType(self._entries)

    @property
    def failed(self) -> Exception | None:
        """What ended the view for good; None while it follows, also through broker outages."""
        return self._failed

    def position(self, tp: TopicPartition) -> int:
        """The offset before which every record of a partition is in the entries."""
        return self._applied.get(tp, 0)

    async def start(self) -> None:
        """Read up to the end offsets as of now, then follow in the background.

        Raises MissingTopicError, KafkaError when no broker answers, and whatever ``decode`` raises
        (as ViewFailedError). Set a deadline around it if it must not wait out an outage. After an
        error it may be started again.
        """
        if self._consumer is not None:
            raise RuntimeError("a view is started once")
        # Ours to see and repair: a silent reset would leave entries that no longer exist.
        self._consumer = plain_consumer(self._options, auto_offset_reset="none")
        try:
            await self._consumer.start()
            partitions = await partitions_of(self._consumer, self._topics)
            self._consumer.assign(partitions)
            self._applied = dict.fromkeys(partitions, 0)
            self._reload = True
            self._task = asyncio.create_task(self._follow(self._consumer))
            await self._reached(dict.fromkeys(partitions, 0))
        except BaseException:
            await self.stop()
            self._consumer, self._stopped = None, False
            raise

    async def refresh(self, timeout: float = 30.0) -> None:
        """Return once everything acknowledged before the call is in the entries.

        Calls that wait at the same time share one question to the broker. Raises TimeoutError
        after ``timeout`` seconds (an outage; the view goes on), ViewFailedError if the view failed.
        """
        if self._consumer is None or self._task is None:
            raise RuntimeError("the view is not started")
        try:
            async with asyncio.timeout(timeout):
                await self._reached(await self._ends.answer())
        except asyncio.CancelledError:
            if self._stopped:
                raise ViewStoppedError(f"view of {self._topics}: stopped") from None
            raise

    @property
    def reloading(self) -> bool:
        """Whether everything is being read again, and the entries are those of before."""
        return self._reload or self._loading is not None

    async def stop(self) -> None:
        """Stop following; waiting refreshes raise ViewFailedError. The entries stay readable."""
        self._stopped = True
        self._progress.set()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._ends.stop()
        if self._consumer is not None:
            await self._consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        try:
            while True:
                try:
                    if self._reload:
                        await self._begin_load(consumer)
                    await self._poll(consumer)
                except OffsetOutOfRangeError:
                    logger.warning("records of %s are gone, reading all again", self._topics)
                    self._reload = True
                except KafkaError as error:
                    if not error.retriable and not isinstance(error, KafkaTimeoutError):
                        raise
                    logger.warning("view of %s: %r, trying again", self._topics, error)
                    await asyncio.sleep(_RETRY_SECONDS)
        except Exception as error:
            logger.exception("view of %s failed", self._topics)
            self._failed = error
            self._progress.set()

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
        for records in batches.values():
            self._apply(records)
        # The consumer's position, not the last record's offset: compaction leaves gaps. It does
        # reach the end: the newest segment, and so the last record, is never compacted.
        for tp in batches or self._applied:
            self._applied[tp] = await consumer.position(tp)
        self._complete_load()
        self._progress.set()
        await asyncio.sleep(0)  # getmany does not yield while it has records

    async def _begin_load(self, consumer: AIOKafkaConsumer) -> None:
        # Before anything else is awaited: a partition just assigned has no position yet, and
        # with auto_offset_reset="none" the consumer would soon call that an error.
        await consumer.seek_to_beginning(*self._applied)
        self._load_ends = await end_offsets(consumer, self._applied)
        self._applied = {tp: await consumer.position(tp) for tp in self._applied}
        self._loading = {}
        self._reload = False
        self._complete_load()
        self._progress.set()

    def _complete_load(self) -> None:
        if self._loading is None or not self._covers(self._load_ends):
            return
        old, self._entries, self._loading = self._entries, self._loading, None
        if self._on_change is not None:
            for key in old.keys() - self._entries.keys():
                self._announce(key, old[key], None)
            for key, value in self._entries.items():
                self._announce(key, old.get(key), value)

    def _apply(self, records: list[ConsumerRecord]) -> None:
        loading = self._loading is not None
        entries = self._loading if self._loading is not None else self._entries
        for record in records:
            decoded = self._decode(record)
            if decoded is None:
                continue
            key, value = decoded
            old = entries.get(key)
            if value is not None and self._merge is not None:
                value = self._merge(old, value)
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = value
            if not loading:
                self._announce(key, old, value)

    def _announce(self, key: K, old: V | None, new: V | None) -> None:
        if self._on_change is not None and old != new:
            self._on_change(key, old, new)

    async def _ask_ends(self) -> dict[TopicPartition, int]:
        before = dict(self._applied)  # what is applied while the question is out may be newer
        ends = await end_offsets(self._consumer, before)
        if any(end < before[tp] for tp, end in ends.items()):
            # A broker that lost its memory; Apache Kafka says OffsetOutOfRange instead.
            logger.warning("%s ends before what was read, reading all again", self._topics)
            self._reload = True
        return ends

    async def _reached(self, ends: Mapping[TopicPartition, int]) -> None:
        """Wait until all below ``ends`` is in the entries."""
        while self._reload or self._loading is not None or not self._covers(ends):
            if self._failed is not None:
                raise ViewFailedError(f"view of {self._topics}: {self._failed}") from self._failed
            if self._stopped:
                raise ViewStoppedError(f"view of {self._topics}: stopped")
            self._progress.clear()
            await self._progress.wait()

    def _covers(self, ends: Mapping[TopicPartition, int]) -> bool:
        return all(self._applied[tp] >= end for tp, end in ends.items())
