"""Whoever reads logs to their ends gets every record once, in order, and shares one consumer."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from aiokafka import TopicPartition

from streams.kafka import unpacking
from streams.kafka.consumers import plain_consumer
from streams.kafka.log import KafkaLog
from streams.kafka.unpacking import Unreadable
from tests.conftest import Broker
from tests.kafka.clients import COMPACT, make_topic, producer, send_batch


class Taken:
    """What was taken, by partition."""

    def __init__(self) -> None:
        self.rows: defaultdict[TopicPartition, list[tuple[bytes, bytes]]] = defaultdict(list)

    def __call__(self, tp: TopicPartition, rows: list[tuple[bytes, bytes]]) -> None:
        self.rows[tp] += rows


def _rows(partition: int, count: int) -> list[tuple[bytes, bytes]]:
    return [(b"%d/%d" % (partition, n), b"row") for n in range(count)]


async def _filled(broker: Broker, name: str, counts: list[int]) -> str:
    topic = await make_topic(broker.bootstrap, name, len(counts), COMPACT)
    async with producer(broker, max_batch_size=1 << 20) as sender:
        for partition, count in enumerate(counts):
            for n in range(0, count, 1000):
                rows = _rows(partition, count)[n : n + 1000]
                await send_batch(sender, topic, partition, rows)
    return topic


async def test_all_who_ask_together_get_their_own_rows_from_one_consumer(
    broker: Broker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = [12_000, 0, 1, 300]
    topic = await _filled(broker, f"{topic_prefix}rows", counts)
    started = 0

    def counting(*options: Any, **more: Any) -> Any:
        nonlocal started
        started += 1
        return plain_consumer(*options, **more)

    monkeypatch.setattr("streams.kafka.log.plain_consumer", counting)
    reader = KafkaLog(broker.client_options)
    tps = [TopicPartition(topic, n) for n in range(4)]
    takes = [Taken() for _ in tps]
    async with asyncio.timeout(60):
        ends = await asyncio.gather(
            *(reader.read({tp: 0}, take, pytest.fail) for tp, take in zip(tps, takes, strict=True))
        )
    assert started == 1
    for number, (tp, take, end) in enumerate(zip(tps, takes, ends, strict=True)):
        assert end == {tp: counts[number]}
        assert take.rows[tp] == _rows(number, counts[number])
        assert take.rows.keys() == {tp}


async def test_reading_goes_on_from_the_position_and_stops_where_the_log_is_shorter(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await _filled(broker, f"{topic_prefix}rows", [1500, 10])
    reader = KafkaLog(broker.client_options)
    tail, beyond = TopicPartition(topic, 0), TopicPartition(topic, 1)
    first, second = Taken(), Taken()
    async with asyncio.timeout(60):
        ends, shorter = await asyncio.gather(
            reader.read({tail: 1400}, first, pytest.fail),
            reader.read({beyond: 11}, second, pytest.fail),
        )
    assert first.rows[tail] == _rows(0, 1500)[1400:]
    assert (ends, shorter) == ({tail: 1500}, {beyond: 10})
    assert not second.rows


async def test_a_new_reading_of_a_partition_does_not_disturb_the_old_one(
    broker: Broker, topic_prefix: str
) -> None:
    """As when a recovery is overtaken by the next before the first has begun."""
    topic = await _filled(broker, f"{topic_prefix}rows", [2500])
    reader = KafkaLog(broker.client_options)
    tp = TopicPartition(topic, 0)
    old, cancelled, new = Taken(), Taken(), Taken()
    async with asyncio.timeout(60):
        one = asyncio.create_task(reader.read({tp: 0}, old, pytest.fail))
        two = asyncio.create_task(reader.read({tp: 0}, cancelled, pytest.fail))
        three = asyncio.create_task(reader.read({tp: 2000}, new, pytest.fail))
        await asyncio.sleep(0)
        two.cancel()
        assert await one == await three == {tp: 2500}
    assert old.rows[tp] == _rows(0, 2500)
    assert new.rows[tp] == _rows(0, 2500)[2000:]
    assert two.cancelled()
    assert not cancelled.rows


async def test_rows_that_cannot_be_taken_in_fail_their_reader_and_no_other(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await _filled(broker, f"{topic_prefix}rows", [10, 10])
    reader = KafkaLog(broker.client_options)
    bad, good = TopicPartition(topic, 0), TopicPartition(topic, 1)
    take = Taken()

    def refuse(*_: Any) -> None:
        raise ValueError("unreadable")

    async with asyncio.timeout(60):
        found: list[Any] = await asyncio.gather(
            reader.read({bad: 0}, refuse, pytest.fail),
            reader.read({good: 0}, take, pytest.fail),
            return_exceptions=True,
        )
    assert isinstance(found[0], ValueError)
    assert found[1] == {good: 10}
    assert take.rows[good] == _rows(1, 10)


async def test_what_is_damaged_is_passed_and_its_reader_is_told(
    embedded_broker: Broker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changelog with a hole would give wrong figures.

    That a damaged batch is passed and noted is tests/kafka/test_unpacking.py's matter.
    """
    topic = await _filled(embedded_broker, f"{topic_prefix}rows", [10, 10])
    bad, good = TopicPartition(topic, 0), TopicPartition(topic, 1)
    monkeypatch.setitem(unpacking.unreadable, bad, {4: Unreadable(4, 6, "its checksum is wrong")})
    told: list[str] = []
    async with asyncio.timeout(60):
        reader = KafkaLog(embedded_broker.client_options)
        found = await asyncio.gather(
            reader.read({bad: 0}, Taken(), told.append),
            reader.read({good: 0}, Taken(), pytest.fail),
        )
        assert found == [{bad: 10}, {good: 10}]
        assert set(told) == {f"{topic}[0]: records can't be read: 4 to 5 (its checksum is wrong)"}
        assert await reader.read({bad: 6}, Taken(), pytest.fail) == {bad: 10}


async def test_closing_cancels_whoever_waits(broker: Broker, topic_prefix: str) -> None:
    topic = await _filled(broker, f"{topic_prefix}rows", [10])
    reader = KafkaLog(broker.client_options)
    reading = asyncio.create_task(reader.read({TopicPartition(topic, 0): 0}, Taken(), pytest.fail))
    await asyncio.sleep(0)
    reader.close()
    async with asyncio.timeout(60):
        await asyncio.wait([reading])
    assert reading.cancelled()
