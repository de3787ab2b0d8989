"""Brokers for the measurements, and the events put into their topics."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aiokafka import AIOKafkaProducer

from bench.workload import Event, Workload
from streams.kafka.broker import EmbeddedBroker
from streams.kafka.topics import catalogue, create_missing

PREFIX = "hoso."
BROKERS = ("embedded", "apache")


@contextmanager
def fresh_broker(kind: str = "embedded") -> Iterator[str]:
    """The bootstrap servers of an empty broker of its own: the embedded one or Apache Kafka."""
    if kind == "embedded":
        with EmbeddedBroker() as broker:
            yield broker.bootstrap
        return
    from tests.kafka.apache import ApacheKafka  # needs a checkout, Java and Maven

    with (
        tempfile.TemporaryDirectory(prefix="hoso-bench-kafka-") as directory,
        ApacheKafka(Path(directory)) as kafka,
    ):
        yield kafka.bootstrap


async def load(bootstrap: str, workload: Workload, partitions: int = 12) -> None:
    """Create the contract's topics and put the workload into them."""
    await create_missing({"bootstrap_servers": bootstrap}, catalogue(partitions=partitions))
    await send(bootstrap, workload.reference)
    await send(bootstrap, workload.events)


async def send(bootstrap: str, events: Sequence[Event]) -> None:
    """Send events as fast as they go, and wait until the broker has acknowledged them all."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", linger_ms=20, max_batch_size=500_000
    )
    await producer.start()
    try:
        pending = [
            await producer.send(PREFIX + event.topic, value=event.value, key=event.key)
            for event in events
        ]
        await asyncio.gather(*pending)
    finally:
        await producer.stop()
