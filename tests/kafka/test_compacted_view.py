"""A view holds the newest value of every key, as of at least the last refresh."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

import streams.kafka.compacted_view
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.compacted_view import CompactedView, ViewFailedError
from streams.kafka.offsets import end_offsets
from streams.kafka.topic_ends import MissingTopicError
from tests.conftest import Broker
from tests.kafka.apache import ApacheKafka
from tests.kafka.clients import COMPACT, make_topic, producer, send_batch

View = CompactedView[str, bytes]


def decode(record: ConsumerRecord) -> tuple[str, bytes | None] | None:
    return None if record.key == b"not ours" else (record.key.decode(), record.value)


@asynccontextmanager
async def view(broker: Broker, *topics: str, **options: Any) -> AsyncIterator[View]:
    options.setdefault("decode", decode)
    found: View = CompactedView(broker.client_options, topics, **options)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


async def test_start_returns_when_everything_sent_before_is_there(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}months", 3, COMPACT)
    async with producer(broker, max_batch_size=1 << 20) as sender:
        for partition in range(3):
            for value in (b"old", b"new"):
                rows = [(b"%d/%d" % (partition, n), value) for n in range(2000)]
                await send_batch(sender, topic, partition, rows)
        async with view(broker, topic) as months:
            assert months.entries == {f"{p}/{n}": b"new" for p in range(3) for n in range(2000)}
            assert months.failed is None


async def test_a_view_of_empty_topics_starts_empty(broker: Broker, topic_prefix: str) -> None:
    topics = [
        await make_topic(broker.bootstrap, f"{topic_prefix}{name}", 2, COMPACT)
        for name in ("agencies", "targets")
    ]
    async with view(broker, *topics) as empty:
        assert empty.entries == {}


async def test_refresh_brings_in_all_that_was_acknowledged_before_it(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}agencies", 3, COMPACT)
    async with producer(broker) as sender, view(broker, topic) as agencies:
        for n in range(10):
            await sender.send_and_wait(topic, b"%d" % n, key=b"H56")
            await agencies.refresh()
            assert agencies.entries == {"H56": b"%d" % n}


async def test_writers_who_refresh_at_the_same_time_each_see_their_own_write(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}agencies", 3, COMPACT)
    async with producer(broker) as sender, view(broker, topic) as agencies:

        async def write_and_look(writer: int) -> None:
            for n in range(5):
                await sender.send_and_wait(topic, b"%d" % n, key=b"%d" % writer)
                await agencies.refresh()
                assert agencies.entries[str(writer)] == b"%d" % n

        await asyncio.gather(*(write_and_look(writer) for writer in range(20)))


async def test_refreshes_at_the_same_time_share_one_question(
    broker: Broker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}agencies", 3, COMPACT)
    questions = 0

    async def counted(*arguments: Any) -> Any:
        nonlocal questions
        questions += 1
        return await end_offsets(*arguments)

    async with view(broker, topic) as agencies:
        monkeypatch.setattr(streams.kafka.compacted_view, "end_offsets", counted)
        await asyncio.gather(*(agencies.refresh() for _ in range(100)))
        assert questions == 1


async def test_a_refresh_does_not_trust_a_question_asked_before_it(
    broker: Broker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}agencies", 1, COMPACT)
    asked, release = asyncio.Event(), asyncio.Event()
    answers: list[int] = []

    async def held_back(*arguments: Any) -> Any:
        ends = await end_offsets(*arguments)
        answers.append(sum(ends.values()))
        asked.set()
        await release.wait()
        return ends

    async with producer(broker) as sender, view(broker, topic) as agencies:
        monkeypatch.setattr(streams.kafka.compacted_view, "end_offsets", held_back)
        early = asyncio.create_task(agencies.refresh())
        await asked.wait()
        await sender.send_and_wait(topic, b"1", key=b"H56")
        late = asyncio.create_task(agencies.refresh())
        await asyncio.sleep(0)  # lets it join whatever it joins
        release.set()
        await asyncio.gather(early, late)
        assert answers == [0, 1]
        assert agencies.entries == {"H56": b"1"}


async def test_a_null_value_removes_the_entry(broker: Broker, topic_prefix: str) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}targets", 1, COMPACT)
    async with producer(broker) as sender:
        for key in (b"a", b"b", b"c"):
            await sender.send_and_wait(topic, b"1", key=key)
        await sender.send_and_wait(topic, None, key=b"a")
        async with view(broker, topic) as targets:
            assert targets.entries.keys() == {"b", "c"}
            await sender.send_and_wait(topic, None, key=b"b")
            await sender.send_and_wait(topic, None, key=b"never there")
            await targets.refresh()
            assert targets.entries.keys() == {"c"}


async def test_changes_are_announced_with_old_and_new(broker: Broker, topic_prefix: str) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}targets", 1, COMPACT)
    seen: list[tuple[str, bytes | None, bytes | None]] = []
    async with producer(broker) as sender:
        for value in (b"1", b"2"):
            await sender.send_and_wait(topic, value, key=b"k")
        async with view(broker, topic, on_change=lambda *change: seen.append(change)) as targets:
            assert seen == [("k", None, b"2")]
            for again in (b"2", b"3", None):
                await sender.send_and_wait(topic, again, key=b"k")
            await targets.refresh()
            assert seen[1:] == [("k", b"2", b"3"), ("k", b"3", None)]


async def test_records_that_are_not_decoded_are_ignored(broker: Broker, topic_prefix: str) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}agencies", 3, COMPACT)
    async with producer(broker) as sender:
        await sender.send_and_wait(topic, b"right", key=b"H56")
        await sender.send_and_wait(topic, b"not decoded", key=b"not ours")
        async with view(broker, topic) as agencies:
            assert agencies.entries == {"H56": b"right"}


async def test_a_view_whose_decoder_raises_fails_and_says_so(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}agencies", 1, COMPACT)

    def strict(record: ConsumerRecord) -> tuple[str, bytes | None]:
        if record.value == b"bad":
            raise ValueError("not an agency")
        return record.key.decode(), record.value

    async with producer(broker) as sender, view(broker, topic, decode=strict) as agencies:
        await sender.send_and_wait(topic, b"bad", key=b"H56")
        with pytest.raises(ViewFailedError, match="not an agency"):
            await agencies.refresh()
        assert isinstance(agencies.failed, ValueError)
        with pytest.raises(ViewFailedError, match="not an agency"):
            await CompactedView(broker.client_options, [topic], strict).start()


async def test_a_missing_topic_is_named_and_not_created(broker: Broker, topic_prefix: str) -> None:
    topic = f"{topic_prefix}agencies"
    for _ in range(2):
        with pytest.raises(MissingTopicError, match=topic):
            await CompactedView(broker.client_options, [topic], decode).start()


async def test_a_stopped_view_keeps_its_entries_and_refuses_to_refresh(
    broker: Broker, topic_prefix: str
) -> None:
    topic = await make_topic(broker.bootstrap, f"{topic_prefix}agencies", 1, COMPACT)
    async with producer(broker) as sender, view(broker, topic) as agencies:
        await sender.send_and_wait(topic, b"1", key=b"H56")
        await agencies.refresh()
        await agencies.stop()
        await agencies.stop()
        assert agencies.entries == {"H56": b"1"}
        with pytest.raises(RuntimeError, match="not started"):
            await agencies.refresh()


@pytest.mark.kafka
@pytest.mark.slow
async def test_a_view_survives_the_loss_of_its_broker(kafka_node: ApacheKafka) -> None:
    broker = Broker("kafka", kafka_node.bootstrap)
    topic = await make_topic(kafka_node.bootstrap, "agencies", 3, COMPACT)
    async with producer(broker) as sender, view(broker, topic) as agencies:
        await sender.send_and_wait(topic, b"before", key=b"H56")
        await agencies.refresh()
        kafka_node.kill_node(0)
        with pytest.raises(TimeoutError):
            await agencies.refresh(timeout=1.5)
        assert agencies.entries == {"H56": b"before"}
        await asyncio.to_thread(kafka_node.start_node, 0)
        await sender.send_and_wait(topic, b"after", key=b"H56")
        await agencies.refresh()
        assert agencies.entries == {"H56": b"after"}
        assert agencies.failed is None


@pytest.mark.broker
async def test_a_broker_that_lost_its_memory_is_read_anew() -> None:
    embedded = EmbeddedBroker(free_port())
    with embedded:
        broker = Broker("embedded", embedded.bootstrap)
        changes: list[tuple[str, bytes | None, bytes | None]] = []
        topic = await make_topic(broker.bootstrap, "agencies", 1, COMPACT)
        async with view(broker, topic, on_change=lambda *c: changes.append(c)) as agencies:
            await _send(broker, topic, [(b"gone", b"1"), (b"kept", b"1"), (b"changed", b"1")])
            await agencies.refresh()
            changes.clear()
            embedded.stop()
            embedded.start()
            await make_topic(broker.bootstrap, "agencies", 1, COMPACT)
            await _send(broker, topic, [(b"kept", b"1"), (b"changed", b"2")])
            await agencies.refresh()
            assert agencies.entries == {"kept": b"1", "changed": b"2"}
            assert changes == [("gone", b"1", None), ("changed", b"1", b"2")]


@pytest.mark.kafka
@pytest.mark.slow
async def test_a_view_follows_its_partitions_to_other_leaders(kafka_cluster: ApacheKafka) -> None:
    broker = Broker("kafka", kafka_cluster.bootstrap)
    topic = await make_topic(kafka_cluster.bootstrap, "agencies", 6, COMPACT)
    async with producer(broker) as sender, view(broker, topic) as agencies:
        await _send_all(sender, topic, b"before")
        await agencies.refresh()
        kafka_cluster.kill_node(1)
        await _send_all(sender, topic, b"after")
        await agencies.refresh(timeout=60)
        assert agencies.entries == {str(n): b"after" for n in range(50)}
        assert agencies.failed is None


async def _send(broker: Broker, topic: str, rows: list[tuple[bytes, bytes]]) -> None:
    async with producer(broker) as sender:
        for key, value in rows:
            await sender.send_and_wait(topic, value, key=key)


async def _send_all(sender: AIOKafkaProducer, topic: str, value: bytes) -> None:
    for sent in [await sender.send(topic, value, key=b"%d" % n) for n in range(50)]:
        await sent
