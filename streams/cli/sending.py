"""Sending records the way a portal should: right keys, murmur2, every one acknowledged.

Records of a key keep their order. Nothing here judges what is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from schemas.topics import REFERENCE_TOPICS, Topic
from streams.kafka.partitioner import partition_for
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.kafka.batch_writer import Acknowledged

HEADERS = (("content-type", b"application/cloudevents+json"),)

_IN_FLIGHT = 200  # batches the broker has not acknowledged yet; more wait

_LAST_WORDS_SECONDS = 5.0


class Message(NamedTuple):
    """A record to be sent. ``value`` None: a tombstone."""

    topic: Topic
    key: bytes
    value: bytes | None


class Outbox:
    """Sends messages in batches; an asynchronous context manager.

    What is on a reference topic is acknowledged before any fact after it is sent, and the other
    way round, so that whoever registers an agency and then sends its events never sees them
    refused. Leaving the context in order means that the broker has everything; an error in
    sending surfaces from :meth:`send`, :meth:`flush` or there, as a ``KafkaError``.
    """

    def __init__(self, settings: Settings) -> None:
        """The topics must exist, with ``settings.partitions`` partitions each."""
        self._settings = settings
        self._producer: Any = None
        self._writer: Any = None
        self._pending: deque[asyncio.Future[Acknowledged]] = deque()
        self._reference = False
        self.sent: Counter[Topic] = Counter()
        """Messages handed over so far, by topic."""

    async def __aenter__(self) -> Self:
        from aiokafka import AIOKafkaProducer

        from streams.kafka.batch_writer import BATCH_BYTES, BatchWriter

        self._producer = AIOKafkaProducer(
            **self._settings.client_options(),
            acks="all",
            max_batch_size=BATCH_BYTES,
            max_request_size=8 * 1024 * 1024,
            compression_type="lz4",
        )
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        self._writer = BatchWriter(self._producer)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                await self.flush()
        finally:
            # Interrupted or failed: what was handed over may still go out, but not for long.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await self._producer.stop()
            for future in self._pending:
                future.cancel()
            await asyncio.gather(*self._pending, return_exceptions=True)
            self._pending.clear()

    async def send(self, messages: Iterable[Message]) -> None:
        """Hand messages over in their order."""
        run: list[Message] = []
        for message in messages:
            reference = message.topic in REFERENCE_TOPICS
            if reference != self._reference:
                await self._enqueue(run)
                await self.flush()
                run, self._reference = [], reference
            run.append(message)
        await self._enqueue(run)

    async def flush(self) -> None:
        """Return when the broker has acknowledged everything."""
        while self._pending:
            await self._pending.popleft()

    async def _enqueue(self, messages: list[Message]) -> None:
        from streams.kafka.batch_writer import Outgoing

        groups: Mapping[tuple[Topic, int], list[Outgoing]] = defaultdict(list)
        for topic, key, value in messages:
            number = partition_for(key, self._settings.partitions)
            headers = () if value is None else HEADERS
            groups[topic, number].append(Outgoing(key, value, headers))
        for (topic, number), rows in groups.items():
            self._pending += await self._writer.enqueue(self._settings.topic(topic), number, rows)
            self.sent[topic] += len(rows)
        while len(self._pending) > _IN_FLIGHT or (self._pending and self._pending[0].done()):
            await self._pending.popleft()


def summary(sent: Mapping[Topic, int], settings: Settings) -> list[str]:
    """How many went where, a line per topic."""
    lines = [f"{count:>9,}  {settings.topic(topic)}" for topic, count in sent.items() if count]
    total = sum(sent.values())
    return [*lines, f"{total:>9,}  sent"]
