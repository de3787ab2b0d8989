"""What the project relies on, on both brokers, and where they differ.

Relied on: a batch is read whole and in order, headers and null keys and values are kept, offsets
of a partition are contiguous, ``acks=all`` and gzip work, keys go where murmur2 puts them, a group
commits and resumes, and its partitions move when members come and go.

Known differences of the embedded broker, each asserted here so that this text stays true:

- ``message.timestamp.type=LogAppendTime`` is stored but not honoured: a record keeps the timestamp
  its producer gave it. The rule on events from the future judges by the producer's clock there.
- A topic that a client asks about by name is created, with partitions of the broker's choosing.
- A compacted topic takes records without a key; Apache Kafka refuses them.
- ListOffsets(latest) counts batches, see test_offsets.py. Nothing is compacted or expired.
"""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import BrokerResponseError

from streams.kafka.partitioner import partition_for
from streams.kafka.topics import catalogue, create_missing
from tests.conftest import Broker
from tests.kafka.apache import ApacheKafka
from tests.kafka.clients import (
    COMPACT,
    consumer,
    make_topic,
    producer,
    read,
    read_topic,
    send_batch,
    until,
)

LONG_AGO_MS = 1_641_350_400_000  # 2022-01-05


async def test_a_record_bears_the_brokers_time_on_apache_kafka_only(
    broker: Broker, topic_prefix: str
) -> None:
    await create_missing(broker.client_options, catalogue(topic_prefix, 1))
    topic = f"{topic_prefix}submissions"
    before = time.time() * 1000
    async with producer(broker) as sender:
        await sender.send_and_wait(topic, b"{}", key=b"H56", timestamp_ms=LONG_AGO_MS)
    (record,) = await read_topic(broker, topic, 1)
    if broker.kind == "kafka":
        assert record.timestamp_type == 1
        assert before - 1000 <= record.timestamp <= time.time() * 1000 + 1000
    else:
        assert (record.timestamp_type, record.timestamp) == (0, LONG_AGO_MS)


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_a_batch_is_read_whole_and_in_order(
    broker: Broker, topic_prefix: str, compression: str | None
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}events")
    rows = [(b"k%d" % n, b"v%d" % n) for n in range(1000)]
    async with producer(broker, max_batch_size=1 << 20, compression_type=compression) as sender:
        for first in (0, 1000, 2000):
            assert await send_batch(sender, topic, 0, rows) == first
    records = await read_topic(broker, topic, 3000)
    assert [record.offset for record in records] == list(range(3000))
    assert [(record.key, record.value) for record in records] == rows * 3


async def test_a_reader_can_start_in_the_middle_of_a_batch(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}events")
    async with producer(broker, max_batch_size=1 << 20) as sender, consumer(broker) as reader:
        await send_batch(sender, topic, 0, [(b"k", b"%d" % n) for n in range(1000)])
        reader.assign([TopicPartition(topic, 0)])
        reader.seek(TopicPartition(topic, 0), 617)
        assert [record.offset for record in await read(reader, 383)] == list(range(617, 1000))


async def test_headers_and_null_keys_and_values_are_kept(broker: Broker, topic_prefix: str) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}dead-letters")
    headers = [("hoso-reason", b"not_json"), ("hoso-detail", "hồ sơ".encode()), ("twice", b"1")]
    headers += [("twice", b"2"), ("empty", b"")]
    sent: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
        (None, b"value", []),
        (b"key", None, headers),
        (None, None, headers[:1]),
        (b"", b"", []),
        (bytes(range(256)), bytes(range(256)), []),
    ]
    async with producer(broker) as sender:
        # As a batch: aiokafka's send() refuses a record that has neither key nor value.
        batch = sender.create_batch()
        for key, value, with_headers in sent:
            assert batch.append(key=key, value=value, timestamp=None, headers=with_headers)
        await (await sender.send_batch(batch, topic, partition=0))
    records = await read_topic(broker, topic, len(sent))
    assert [(r.key, r.value, list(r.headers)) for r in records] == sent


async def test_a_compacted_topic_refuses_records_without_a_key_on_apache_kafka_only(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}agencies", 1, COMPACT)
    async with producer(broker) as sender:
        if broker.kind == "kafka":
            with pytest.raises(BrokerResponseError):
                await sender.send_and_wait(topic, b"{}")
        else:
            await sender.send_and_wait(topic, b"{}")


async def test_the_default_producer_places_keys_as_partition_for_says(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}events", 12)
    keys = [b"H%02d" % n for n in range(63)] + [b"G%02d" % n for n in range(22)]
    async with producer(broker) as sender:
        for key in keys:
            placed = await sender.send_and_wait(topic, b"{}", key=key)
            assert placed.partition == partition_for(key, 12)


@pytest.mark.slow
async def test_a_group_resumes_where_it_committed(broker: Broker, topic_prefix: str) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}events")
    tp = TopicPartition(topic, 0)
    options = {
        "group_id": f"{topic_prefix}group",
        "enable_auto_commit": False,
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 1000,
    }
    async with producer(broker, max_batch_size=1 << 20) as sender:
        await send_batch(sender, topic, 0, [(b"k", b"%d" % n) for n in range(100)])
    async with consumer(broker, topic, **options) as member:
        await read(member, 100)
        await member.commit({tp: 42})
    async with consumer(broker, topic, **options) as member:
        assert [record.offset for record in await read(member, 58)] == list(range(42, 100))
        assert await member.committed(tp) == 42


class _Assigned(ConsumerRebalanceListener):  # type: ignore[misc]
    """Counts assignments."""

    def __init__(self) -> None:
        self.times = 0

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        pass

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self.times += 1


@pytest.mark.slow
async def test_a_groups_partitions_are_shared_and_taken_over(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}events", 4)
    every = {TopicPartition(topic, n) for n in range(4)}

    async def join() -> AIOKafkaConsumer:
        member = AIOKafkaConsumer(
            **broker.client_options,
            group_id=f"{topic_prefix}group",
            session_timeout_ms=6000,
            rebalance_timeout_ms=6000,
            heartbeat_interval_ms=500,
        )
        member.subscribe([topic], listener=_Assigned())
        await member.start()
        return member

    first = await join()
    try:
        await until(lambda: first.assignment() == every, "alone with all partitions")
        second = await join()
        try:
            await until(
                lambda: (
                    len(first.assignment()) == 2
                    and first.assignment() | second.assignment() == every
                ),
                "two members with two partitions each",
            )
        finally:
            await second.stop()
        await until(lambda: first.assignment() == every, "alone again with all partitions")
    finally:
        await first.stop()


async def test_a_topic_asked_about_is_created_on_the_embedded_broker_only(
    broker: Broker, topic_prefix: str
) -> None:
    topic = f"{topic_prefix}typo"
    admin = AIOKafkaAdminClient(**broker.client_options)
    await admin.start()
    try:
        await admin.describe_topics([topic])
        assert (topic in await admin.list_topics()) == (broker.kind == "embedded")
    finally:
        await admin.close()


@pytest.mark.kafka
@pytest.mark.slow
async def test_what_three_brokers_acknowledged_outlives_one_of_them(
    kafka_cluster: ApacheKafka,
) -> None:
    broker = Broker("kafka", kafka_cluster.bootstrap)
    topic = await make_topic(kafka_cluster.bootstrap, "events")
    async with producer(broker) as sender:
        for n in range(100):
            await sender.send_and_wait(topic, b"%d" % n, partition=0)
            if n == 50:
                kafka_cluster.kill_node(0)
    records = await read_topic(broker, topic, 100)
    assert {record.value for record in records} == {b"%d" % n for n in range(100)}
    assert [record.offset for record in records] == list(range(len(records)))
    await asyncio.to_thread(kafka_cluster.start_node, 0)
