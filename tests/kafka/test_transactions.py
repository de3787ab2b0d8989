"""Two portals write to one partition, one of them in transactions: what each kind of reader sees.

``o``: acknowledged outside any transaction. ``a``: aborted. ``c``: committed. ``h``: in a
transaction that hangs, neither committed nor aborted.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition

from streams.audit.logs import Log
from streams.kafka.aiokafka_internals import leave_as_unpacked
from streams.kafka.compacted_view import CompactedView
from streams.kafka.consumers import plain_consumer
from streams.kafka.log import KafkaLog
from streams.kafka.offsets import End, end_offsets, ends
from tests.conftest import Broker
from tests.kafka.clients import (
    COMPACT,
    DEADLINE,
    consumer,
    make_topic,
    producer,
    transaction,
    until,
)
from tests.runtime.site import eventually

pytestmark = pytest.mark.kafka


async def _send(client: AIOKafkaProducer, topic: str, *names: str) -> None:
    for name in names:
        await client.send_and_wait(topic, name.encode(), key=name.encode(), partition=0)


async def _interleave(broker: Broker, topic: str) -> None:
    """o1 a1 o2 a2 ABORT c1 o3 c2 COMMIT o4 a3 ABORT, which are the offsets 0 to 11."""
    async with producer(broker) as outside:
        async with transaction(broker, f"{topic}-1") as inside:
            await _send(outside, topic, "o1")
            await _send(inside, topic, "a1")
            await _send(outside, topic, "o2")
            await _send(inside, topic, "a2")
            await inside.abort_transaction()
        async with transaction(broker, f"{topic}-2") as inside:
            await _send(inside, topic, "c1")
            await _send(outside, topic, "o3")
            await _send(inside, topic, "c2")
            await inside.commit_transaction()
            await _send(outside, topic, "o4")
            await inside.begin_transaction()
            await _send(inside, topic, "a3")
            await inside.abort_transaction()


COUNTED = ["o1", "o2", "c1", "o3", "c2", "o4"]


@pytest.fixture
async def topic(apache_kafka: Broker, topic_prefix: str) -> str:
    name = await make_topic(apache_kafka.bootstrap, f"{topic_prefix}rows", 1, COMPACT)
    await _interleave(apache_kafka, name)
    return name


async def test_a_partition_has_two_ends_while_a_transaction_is_open(
    apache_kafka: Broker, topic: str
) -> None:
    tp = TopicPartition(topic, 0)
    async with consumer(apache_kafka) as reader, producer(apache_kafka) as outside:
        before = (await ends(reader, [tp]))[tp]
        assert before.stable == before.high
        async with transaction(apache_kafka, f"{topic}-3") as hanging:
            await _send(hanging, topic, "h1")
            await _send(outside, topic, "o5")
            assert await ends(reader, [tp]) == {tp: End(before.high, before.high + 2)}
            assert await end_offsets(reader, [tp]) == {tp: before.high}
            await hanging.abort_transaction()
        # The marker has an offset of its own, and comes some milliseconds after the answer.
        after = {tp: End(before.high + 3, before.high + 3)}

        async def closed() -> bool:
            return await ends(reader, [tp]) == after

        await eventually(closed, "the marker in the log")


async def test_an_open_transaction_on_one_partition_holds_back_no_other(
    apache_kafka: Broker, topic_prefix: str
) -> None:
    name = await make_topic(apache_kafka.bootstrap, f"{topic_prefix}rows", 2)
    held, free = (TopicPartition(name, n) for n in range(2))
    async with (
        consumer(apache_kafka) as reader,
        producer(apache_kafka) as outside,
        transaction(apache_kafka, f"{name}-1") as hanging,
    ):
        await _send(hanging, name, "h1")
        await outside.send_and_wait(name, b"o", partition=1)
        assert await ends(reader, [held, free]) == {held: End(0, 1), free: End(1, 1)}
        await hanging.abort_transaction()


async def _read(reader: Any, tp: TopicPartition, end: int, unpacked: bool) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(DEADLINE):
        while await reader.position(tp) < end:
            if unpacked:
                leave_as_unpacked(reader)
            for records in (await reader.getmany(timeout_ms=100)).values():
                found += [record.value.decode() for record in records]
    return found


@pytest.mark.parametrize("unpacked", [False, True], ids=["copied", "as-unpacked"])
async def test_a_consumer_skips_aborted_records_and_markers_and_passes_them(
    apache_kafka: Broker, topic: str, unpacked: bool
) -> None:
    """With records left as they were unpacked too: who filters is whoever unpacks."""
    tp = TopicPartition(topic, 0)
    reader = plain_consumer(apache_kafka.client_options)
    await reader.start()
    try:
        reader.assign([tp])
        end = (await end_offsets(reader, [tp]))[tp]
        assert await _read(reader, tp, end, unpacked) == COUNTED
        # From the middle of the aborted transaction, too: the broker names it again.
        reader.seek(tp, 2)
        assert await _read(reader, tp, end, unpacked) == COUNTED[1:]
    finally:
        await reader.stop()


async def test_a_log_is_read_without_aborted_records_to_where_the_open_transaction_begins(
    apache_kafka: Broker, topic: str
) -> None:
    tp = TopicPartition(topic, 0)
    async with transaction(apache_kafka, f"{topic}-3") as hanging:
        await _send(hanging, topic, "h1")
        taken: list[bytes] = []
        reader = KafkaLog(apache_kafka.client_options)
        async with asyncio.timeout(DEADLINE):
            reached = await reader.read(
                {tp: 0}, lambda _, rows: taken.extend(value for _, value in rows), pytest.fail
            )
            assert [value.decode() for value in taken] == COUNTED
            # At the end, so that the next reading begins there, though markers are the last.
            assert await reader.read(reached, lambda *_: None, pytest.fail) == reached
        await hanging.abort_transaction()


async def test_a_view_has_what_is_committed_and_is_complete_while_a_transaction_is_open(
    apache_kafka: Broker, topic: str
) -> None:
    def decode(record: ConsumerRecord[Any, Any]) -> tuple[str, str]:
        assert record.key is not None
        assert record.value is not None
        return record.key.decode(), record.value.decode()

    async with (
        asyncio.timeout(DEADLINE),
        producer(apache_kafka) as outside,
        transaction(apache_kafka, f"{topic}-3") as late,
    ):
        await _send(late, topic, "c3")
        view = CompactedView(apache_kafka.client_options, [topic], decode)
        await view.start()
        try:
            assert list(view.entries) == COUNTED
            await _send(outside, topic, "o5")  # behind the open one
            await view.refresh()
            assert list(view.entries) == COUNTED
            await late.commit_transaction()
            # Kafka says that it is committed before the marker is in the log.
            await until(lambda: list(view.entries) == [*COUNTED, "c3", "o5"], "in the view")
        finally:
            await view.stop()


async def test_the_audits_own_reader_leaves_out_aborted_and_open_records(
    apache_kafka: Broker, topic: str
) -> None:
    """Even where it is told to read past the end of what is committed."""
    log = Log(apache_kafka.client_options, [topic], 1)
    (tp,) = log.partitions
    await log.start()
    try:
        async with transaction(apache_kafka, f"{topic}-3", timeout_ms=60_000) as hanging:
            await _send(hanging, topic, "h1")
            end = (await log.ends())[tp]
            found = [r.value.decode() async for records in log.read({tp: end}) for r in records]
            assert found == COUNTED
            assert await log.holes({tp: end - 1}, {tp: end}) == {tp}  # a marker
            beyond = asyncio.create_task(log.holes({tp: end}, {tp: end + 2}))
            await hanging.abort_transaction()
            async with asyncio.timeout(DEADLINE):
                assert await beyond == {tp}
    finally:
        await log.stop()


async def test_kafka_ends_a_transaction_that_its_producer_left_open(
    apache_kafka: Broker, topic: str
) -> None:
    tp = TopicPartition(topic, 0)
    async with consumer(apache_kafka) as reader:
        async with transaction(apache_kafka, f"{topic}-3", timeout_ms=1000) as hanging:
            await _send(hanging, topic, "h1")
            end = (await ends(reader, [tp]))[tp]
            assert end.stable < end.high
        async with asyncio.timeout(DEADLINE):
            while end.stable < end.high:
                end = (await ends(reader, [tp]))[tp]
