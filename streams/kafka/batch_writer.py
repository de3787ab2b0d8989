"""Rows out in big steps: whole aiokafka batches, acknowledged by the broker. Knows no rule."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from streams.kafka.aiokafka_internals import append_to, close_with

BATCH_BYTES = 900_000
"""Under Kafka's default ``max.message.bytes`` (1 MiB) for a whole record batch."""

Headers = Sequence[tuple[str, bytes | None]]


class Outgoing(NamedTuple):
    """A record to be written."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Acknowledged(NamedTuple):
    """A batch the broker has."""

    topic: str
    partition: int
    base_offset: int
    records: int


class BatchWriter:
    """Writes rows in batches with ``acks=all`` and gives back what the broker acknowledged."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def enqueue(
        self, topic: str, partition: int, rows: Iterable[Outgoing]
    ) -> list[asyncio.Future[Acknowledged]]:
        """Hand rows over in order; the futures resolve when the broker has them.

        Batches of one partition are sent one after the other, in the order of the calls. Raises
        ``KafkaError`` here or from a future when the broker cannot be reached in time.
        """
        pending: list[asyncio.Future[Acknowledged]] = []
        now_ms = time.time_ns() // 1_000_000
        batch = self._producer.create_batch()
        append, count = append_to(batch), 0
        for key, value, headers in rows:
            if append(count, now_ms, key, value, [*headers] if headers else _NO_HEADERS) is None:
                pending.append(await self._send(batch, topic, partition, count))
                batch = self._producer.create_batch()
                # The first record of a batch always fits, whatever its size. None that is written
                # is larger than a batch (tests/processing/test_dead_letter.py and
                # tests/state/test_partition.py).
                append, count = append_to(batch), 0
                append(count, now_ms, key, value, [*headers])
            count += 1
        if count:
            pending.append(await self._send(batch, topic, partition, count))
        return pending

    async def _send(
        self, builder: Any, topic: str, partition: int, count: int
    ) -> asyncio.Future[Acknowledged]:
        close_with(builder, count)
        delivery = await self._producer.send_batch(builder, topic, partition=partition)
        return asyncio.ensure_future(_acknowledged(delivery, topic, partition, count))


_NO_HEADERS: list[tuple[str, bytes | None]] = []


async def _acknowledged(
    delivery: asyncio.Future[Any], topic: str, partition: int, count: int
) -> Acknowledged:
    metadata = await delivery
    return Acknowledged(topic, partition, metadata.offset, count)
