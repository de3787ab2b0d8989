"""A gap in what Faust hands over is passed only where the log itself has none of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client import CollectorRegistry

from streams.agents import Intake
from streams.kafka.partitioner import partition_for
from streams.metrics import Instruments
from streams.partition import Partition
from streams.settings import load
from streams.stores import MemoryStore
from streams.tables import Owned, Tables
from tests.app.site import PARTITIONS, Site
from tests.domain.events import listed, registered, submitted
from tests.domain.register import Register


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
    assert await intake._first_lost(owned(known), "t", records(*fetched)) == lost


async def test_a_known_hole_is_not_asked_for_again_but_hides_nothing_behind_it(intake: Log) -> None:
    intake.offsets = [0, 1, 2, 5, 6, 7]
    assert await intake._first_lost(owned(3), "t", records(5, 6, 7)) is None
    assert await intake._first_lost(owned(3), "t", records(5, 6, 7)) is None
    assert intake.asked == 1
    assert await intake._first_lost(owned(3), "t", records(7)) == 5


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
