"""What a refused record would take away from a compacted topic is written again before its ack."""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
)
from faust.types import TP

from schemas.topics import REFERENCE_TOPICS
from streams.kafka.partitioner import partition_for
from streams.processing.reference_repair import ReferenceRepair
from streams.views.reference_data import ReferenceData
from tests.processing.cluster import SETTINGS, Cluster
from tests.processing.simulation import Worker, track_tasks
from tests.views.test_reference_rule import KEY, REFUSED, record, registration

GOOD = registration("good")
HOME = partition_for(KEY, SETTINGS.partitions)
LOG = TP("agencies", HOME)


def send(cluster: Cluster, value: bytes | None, partition: int = HOME) -> None:
    cluster.append("agencies", partition, [(KEY, value, ())])


async def running(cluster: Cluster) -> Worker:
    worker = Worker(cluster, {}, Random(1))
    await worker.assign(set(range(SETTINGS.partitions)))
    return worker


async def until_idle(worker: Worker) -> None:
    for _ in range(1_000):
        steps = worker.steps()
        if not steps:
            break
        await worker.step(*steps[0], 12)
        assert worker.fatal is None, worker.fatal
    assert worker.idle
    worker.commit()


def values(cluster: Cluster, tp: TP = LOG) -> list[bytes | None]:
    return [row.value for row in cluster.logs[tp]]


def stands(cluster: Cluster) -> str | None:
    """The name that a process which begins now reads."""
    reference = ReferenceData(SETTINGS)
    for topic in REFERENCE_TOPICS:
        for number in range(SETTINGS.partitions):
            records: list[Any] = cluster.read(TP(str(topic), number), 0, 1_000)
            reference.view._apply(records)
    found = reference.agencies.get(KEY.decode())
    return found.name if found is not None else None


async def test_a_refused_record_is_not_acknowledged_before_the_good_one_stands_again() -> None:
    track_tasks()
    cluster = Cluster()
    send(cluster, GOOD)
    worker = await running(cluster)
    await until_idle(worker)
    send(cluster, REFUSED)
    await worker.step("fetch", LOG, 12)
    for _ in range(50):
        waiting = [s for s in worker.steps() if s[0] == "land" and s[1] != LOG]
        if not waiting:
            break
        await worker.step(*waiting[0], 12)
    worker.commit()
    assert values(cluster) == [GOOD, REFUSED]
    assert cluster.committed.get(LOG, 0) <= 1
    await until_idle(worker)
    assert values(cluster) == [GOOD, REFUSED, GOOD]
    assert cluster.committed[LOG] == 3
    cluster.compact(LOG)
    assert stands(cluster) == "good"


async def test_a_second_group_reads_all_of_it_again_and_writes_nothing() -> None:
    track_tasks()
    cluster = Cluster()
    for value in (REFUSED, GOOD, REFUSED):
        send(cluster, value)
    await until_idle(await running(cluster))
    assert values(cluster) == [REFUSED, GOOD, REFUSED, GOOD]
    cluster.committed.clear()
    second = await running(cluster)
    await until_idle(second)
    assert values(cluster) == [REFUSED, GOOD, REFUSED, GOOD]


async def test_a_worker_that_died_before_the_repair_leaves_it_to_the_next() -> None:
    track_tasks()
    cluster = Cluster()
    send(cluster, GOOD)
    send(cluster, REFUSED)
    first = await running(cluster)
    while ("land", LOG) not in first.steps():
        await first.step(*first.steps()[0], 1)
    await first.kill()
    assert values(cluster) == [GOOD, REFUSED]
    await until_idle(await running(cluster))
    assert values(cluster) == [GOOD, REFUSED, GOOD]


async def test_registrations_on_the_wrong_partition_count_and_are_not_forwarded() -> None:
    track_tasks()
    cluster = Cluster()
    other = 1 - HOME
    send(cluster, registration("old"), other)
    send(cluster, registration("new"))
    await until_idle(await running(cluster))
    cluster.committed.clear()
    await until_idle(await running(cluster))
    assert values(cluster, TP("agencies", other)) == [registration("old")]
    assert values(cluster) == [registration("new")]
    assert stands(cluster) == "new"


class _Broker:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def enqueue(self, *_: object) -> list[asyncio.Future[Any]]:
        raise self._error


def repair_against(error: Exception) -> ReferenceRepair:
    """One that has something to write, and a broker that answers so."""
    reference = ReferenceData(SETTINGS)
    rows: list[Any] = [
        record(0, 0, 1, GOOD)._replace(topic="agencies"),
        record(0, 1, 2, REFUSED)._replace(topic="agencies"),
    ]
    reference.view._apply(rows)
    writer: Any = _Broker(error)
    return ReferenceRepair(SETTINGS, reference, lambda: writer)


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError, MessageSizeTooLargeError])
async def test_what_the_broker_refuses_is_said_once_and_stops_no_worker(
    caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    repair = repair_against(error("agencies"))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await repair.make_good(range(SETTINGS.partitions))
    (said,) = caplog.messages
    assert error.__name__.removesuffix("Error") in said


@pytest.mark.parametrize("error", [KafkaTimeoutError, NotLeaderForPartitionError])
async def test_a_broker_that_cannot_be_reached_leaves_the_chunk_unacknowledged(
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        await repair_against(error()).make_good(range(SETTINGS.partitions))
