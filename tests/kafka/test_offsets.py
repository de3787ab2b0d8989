"""End offsets count records, whatever the broker says of its batches."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from streams.kafka.offsets import end_offsets
from tests.conftest import Broker
from tests.kafka.clients import consumer, make_topic, producer, read, send_batch

BATCH = [(b"H56", b"%d" % n) for n in range(1000)]


async def test_a_batch_of_a_thousand_records_ends_at_a_thousand(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}events", partitions=3)
    one, two, idle = (TopicPartition(topic, n) for n in range(3))
    async with producer(broker, max_batch_size=1 << 20) as sender, consumer(broker) as reader:
        await send_batch(sender, topic, 0, BATCH)
        for _ in range(2):
            await send_batch(sender, topic, 1, BATCH[:7])
        assert await end_offsets(reader, [one, two, idle]) == {one: 1000, two: 14, idle: 0}


async def test_list_offsets_alone_is_wrong_on_the_embedded_broker_only(
    broker: Broker, topic_prefix: str
) -> None:
    # When this fails on the embedded broker, it has been mended: see streams/kafka/offsets.py.
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}events")
    tp = TopicPartition(topic, 0)
    async with producer(broker, max_batch_size=1 << 20) as sender, consumer(broker) as reader:
        await send_batch(sender, topic, 0, BATCH)
        listed = (await reader.end_offsets([tp]))[tp]
        assert listed == {"embedded": 1, "kafka": 1000}[broker.kind]
        assert await end_offsets(reader, [tp]) == {tp: 1000}


async def test_a_consumer_in_use_is_not_disturbed(broker: Broker, topic_prefix: str) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}events")
    tp = TopicPartition(topic, 0)
    async with producer(broker, max_batch_size=1 << 20) as sender, consumer(broker) as reader:
        await send_batch(sender, topic, 0, BATCH)
        reader.assign([tp])
        first = await reader.getmany(timeout_ms=5000, max_records=10)
        assert len(first[tp]) == 10
        position = await reader.position(tp)
        assert await end_offsets(reader, [tp]) == {tp: 1000}
        assert await reader.position(tp) == position
        rest = await read(reader, 990)
        assert [record.offset for record in rest] == list(range(10, 1000))


async def test_they_include_what_was_acknowledged_just_before(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}events")
    tp = TopicPartition(topic, 0)
    async with producer(broker) as sender, consumer(broker) as reader:
        for sent in range(1, 51):
            await sender.send_and_wait(topic, b"x", partition=0)
            assert await end_offsets(reader, [tp]) == {tp: sent}


async def test_they_do_not_wait_behind_the_consumers_long_poll(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}events")
    tp = TopicPartition(topic, 0)
    async with consumer(broker, fetch_max_wait_ms=20_000, request_timeout_ms=40_000) as reader:
        reader.assign([tp])
        polling = asyncio.create_task(reader.getone())
        await reader.position(tp)
        async with asyncio.timeout(10):
            for _ in range(5):
                assert await end_offsets(reader, [tp]) == {tp: 0}
        polling.cancel()


@pytest.mark.kafka
async def test_a_partition_that_is_not_there_is_named_when_time_is_up(
    apache_kafka: Broker, topic_prefix: str
) -> None:
    missing = TopicPartition(f"{topic_prefix}missing", 7)
    async with consumer(apache_kafka) as reader:
        with pytest.raises(KafkaTimeoutError, match=rf"{topic_prefix}missing\[7\] within 0.5 s"):
            await end_offsets(reader, [missing], timeout=0.5)
