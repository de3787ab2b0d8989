"""A gap in what Faust hands over is passed only where the log itself has none of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from prometheus_client import CollectorRegistry

from streams.kafka.offsets import end_offsets
from streams.kafka.partitioner import partition_for
from streams.metrics.catalogue import Instruments
from streams.processing.intake import Intake
from streams.processing.stuck_partitions import Standstill
from streams.processing.task import Owned
from streams.processing.tasks import Tables
from streams.settings import load
from streams.state.partition import Partition
from streams.state.stores import MemoryStore
from tests.api.world import World
from tests.domain.events import listed, registered, submitted
from tests.domain.register import Register
from tests.runtime.site import PARTITIONS, Site


class Log(Intake):
    """Intake whose log holds the offsets it is told."""

    offsets: list[int]
    asked = 0

    async def _first_from(self, topic: str, partition: int, offset: int) -> int:
        self.asked += 1
        return min(o for o in self.offsets if o >= offset)


@pytest.fixture
def intake() -> Log:
    settings = load(partitions=1)
    nothing: Any = None
    tables = Tables(settings, lambda: nothing, pytest.fail)
    reference: Any = SimpleNamespace(sources={})
    instruments = Instruments(CollectorRegistry(), [])
    return Log(settings, tables, reference, instruments, lambda: 0.0, pytest.fail)


def owned(next_offset: int) -> Owned:
    return Owned(0, Partition(0, MemoryStore()), next={"t": next_offset})


def records(*offsets: int) -> Any:
    return [SimpleNamespace(offset=offset) for offset in offsets]


@pytest.mark.parametrize(
    ("known", "fetched", "log", "lost"),
    [
        (0, [0, 1, 2], [0, 1, 2], None),
        (3, [3, 4], [3, 4], None),
        (3, [1, 2, 3, 4], [1, 2, 3, 4], None),  # a replay
        (3, [4, 5], [3, 4, 5], 3),
        (0, [1], [0, 1], 0),
        (0, [0, 2], [0, 1, 2], 1),  # within a chunk
        (3, [5, 6], [5, 6], None),  # a transaction marker, or expired records
        (3, [9], [5, 9], 5),  # a hole, and behind it a record that was skipped
        (0, [1, 2, 4], [1, 2, 3, 4], 3),
    ],
)
async def test_a_gap_is_lost_records_or_a_hole(
    intake: Log, known: int, fetched: list[int], log: list[int], lost: int | None
) -> None:
    intake.offsets = log
    first_lost, absent = await intake._gap(owned(known), "t", records(*fetched))
    assert first_lost == lost
    if lost is None:
        present = {offset for offset in fetched if offset >= known}
        assert absent == max((known - 1, *fetched)) + 1 - known - len(present)


async def test_a_known_hole_is_not_asked_for_again_but_hides_nothing_behind_it(intake: Log) -> None:
    intake.offsets = [0, 1, 2, 5, 6, 7]
    assert (await intake._gap(owned(3), "t", records(5, 6, 7)))[0] is None
    assert (await intake._gap(owned(3), "t", records(5, 6, 7)))[0] is None
    assert intake.asked == 1
    assert (await intake._gap(owned(3), "t", records(7)))[0] == 5


@pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_markers_of_transactions_are_passed(site: Site) -> None:
    """A portal that sends in transactions leaves offsets in the log that no record has.

    The embedded broker has no transactions.
    """
    events = [listed(), *(submitted(f"D{n}") for n in range(30))]
    await site.send([registered()])
    worker = site.worker()
    await worker.ready()
    portal = AIOKafkaProducer(**site.broker.client_options, transactional_id=site.app_id)
    await portal.start()
    try:
        for event in events:
            async with portal.transaction():
                await portal.send(
                    site.topic(event["topic"]),
                    key=event["key"].encode(),
                    value=json.dumps(event["value"]).encode(),
                    partition=partition_for(event["key"].encode(), PARTITIONS),
                )
    finally:
        await portal.stop()
    await _has_records_but_for_the_last_offset(site, events[-1])
    await site.send(events[:2])
    register = Register([registered(), *events])
    for worker_ in (worker, None):
        if worker_ is None:
            worker.kill()
            worker_ = site.worker()
            await worker_.ready()
        await site.settled_on(register)
    assert "the log has no records from" in worker.log
    assert "were skipped, seeking back" not in worker.log
    lost = [
        v for (name, _), v in (await worker_.metrics()).items() if name.startswith("hoso_recor")
    ]
    assert lost == [0.0] * (3 * PARTITIONS), "a marker is no loss"


async def _has_records_but_for_the_last_offset(site: Site, event: dict[str, Any]) -> None:
    """As whoever finds a backlog standing still sees it: at the end is a marker, and no record."""
    topic, options = site.topic(event["topic"]), site.broker.client_options
    number = partition_for(event["key"].encode(), PARTITIONS)
    consumer = AIOKafkaConsumer(**options)
    await consumer.start()
    try:
        (end,) = (await end_offsets(consumer, [TopicPartition(topic, number)])).values()
    finally:
        await consumer.stop()
    worker = World()

    async def seek(at: tuple[str, int], offset: int) -> None:
        raise AssertionError(f"sent back to {offset} of {at}, where nothing was left out")

    look = Standstill(options, worker.tables_, worker.lag, seek, worker.fatal.append)
    assert not await look._ask((topic, number), end - 1, end)
    assert await look._ask((topic, number), end - 2, end)
