"""Where whole topics end, asked again and again."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka.offsets import End
from streams.kafka.topic_ends import MissingTopicError, TopicEnds
from tests.conftest import Broker
from tests.kafka.clients import make_topic, producer


async def test_they_are_those_of_now_and_cost_little(broker: Broker, topic_prefix: str) -> None:
    topics = [
        await make_topic(broker.bootstrap, f"{topic_prefix}{name}", 12) for name in ("a", "b", "c")
    ]
    asking = TopicEnds(broker.client_options, topics)
    first = TopicPartition(topics[0], 0)
    taken = []
    try:
        async with asyncio.timeout(60), producer(broker) as sender:
            for sent in range(1, 21):
                await sender.send_and_wait(topics[0], b"x", partition=0)
                started = time.monotonic()
                found = await asking.ask()
                taken.append(time.monotonic() - started)
                assert len(found) == 36
                assert found[first] == End(sent, sent)
    finally:
        await asking.stop()
    # Far from the half second that a long poll takes; the median, as others use this machine too.
    assert sorted(taken)[10] < 0.3, taken


async def test_a_topic_that_is_not_there_is_named_and_not_created(
    broker: Broker, topic_prefix: str
) -> None:
    missing = f"{topic_prefix}missing"
    asking = TopicEnds(broker.client_options, [missing])
    admin = AIOKafkaAdminClient(**broker.client_options)
    await admin.start()
    try:
        with pytest.raises(MissingTopicError, match=missing):
            await asking.ask()
        assert missing not in await admin.list_topics()
    finally:
        await asking.stop()
        await admin.close()
