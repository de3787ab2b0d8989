"""Short-lived aiokafka clients and topics for the broker tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from streams.kafka.topics import TopicSpec, create_missing
from tests.conftest import Broker

COMPACT = {"cleanup.policy": "compact"}
DEADLINE = 30.0


async def make_topic(
    bootstrap: str, name: str, partitions: int = 1, config: dict[str, str] | None = None
) -> str:
    """Create a topic with as many replicas as there are brokers, up to three; its name."""
    replication = min(3, bootstrap.count(",") + 1)
    spec = TopicSpec(name, partitions, replication, config or {})
    await create_missing({"bootstrap_servers": bootstrap}, [spec])
    return name


@asynccontextmanager
async def producer(broker: Broker, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that asks for every acknowledgement."""
    client = AIOKafkaProducer(**broker.client_options, acks="all", **options)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


@asynccontextmanager
async def consumer(broker: Broker, *topics: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that starts at the beginning."""
    options.setdefault("auto_offset_reset", "earliest")
    client = AIOKafkaConsumer(*topics, **broker.client_options, **options)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


@asynccontextmanager
async def transaction(
    broker: Broker, name: str, *, timeout_ms: int = 60_000
) -> AsyncIterator[AIOKafkaProducer]:
    """A producer with a transaction open that the test ends, or Kafka does after ``timeout_ms``."""
    async with producer(broker, transactional_id=name, transaction_timeout_ms=timeout_ms) as client:
        await client.begin_transaction()
        yield client


async def send_batch(
    client: AIOKafkaProducer, topic: str, partition: int, records: list[tuple[bytes, bytes]]
) -> int:
    """Send all records as one batch, wait for the acknowledgement, give the first offset."""
    batch = client.create_batch()
    for key, value in records:
        assert batch.append(key=key, value=value, timestamp=None) is not None, "batch too small"
    acknowledged = await client.send_batch(batch, topic, partition=partition)
    return int((await acknowledged).offset)


async def read(client: AIOKafkaConsumer, count: int) -> list[ConsumerRecord]:
    """The next ``count`` records of all assigned partitions; fails when they do not come."""
    found: list[ConsumerRecord] = []
    async with asyncio.timeout(DEADLINE):
        while len(found) < count:
            for records in (await client.getmany(timeout_ms=200)).values():
                found.extend(records)
    return found


async def read_topic(broker: Broker, topic: str, count: int) -> list[ConsumerRecord]:
    """The first ``count`` records of partition 0."""
    async with consumer(broker) as client:
        client.assign([TopicPartition(topic, 0)])
        return await read(client, count)


async def until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE) -> None:
    """Wait for a condition; fail with its name when the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"within {seconds:g} s not {what}"
        await asyncio.sleep(0.02)
