"""A backlog that does not move is looked into: nothing there, or a consumer that is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from streams.processing.stuck_partitions import POLLS, At, StuckPartitions
from streams.processing.task import Cause
from streams.state.codecs import Checkpoint
from tests.api.world import World

AT = ("hoso.processing", 11)


class Log:
    """A log that has a record at some offsets, and remembers what it was asked."""

    def __init__(self, *offsets: int) -> None:
        self.offsets = offsets
        self.asked: list[tuple[At, int]] = []
        self.sent_back: list[tuple[At, int]] = []

    async def first_from(self, positions: Mapping[TopicPartition, int]) -> dict[Any, Any]:
        ((tp, start),) = positions.items()
        self.asked.append(((tp.topic, tp.partition), start))
        found = [offset for offset in self.offsets if offset >= start]
        return {tp: SimpleNamespace(offset=found[0])} if found else {}

    async def seek(self, at: At, offset: int) -> None:
        self.sent_back.append((at, offset))


def stand(world: World, position: int) -> None:
    world.tasks.tasks[11].cursors["hoso.processing"].processed = Checkpoint(position)


def standing(world: World, log: Any) -> StuckPartitions:
    stand(world, 100)
    world.lags = {AT: 16}
    return StuckPartitions(world.tasks, log, lambda: world.lags, log.seek, world.fatal.append)


async def poll(stuck: StuckPartitions, times: int) -> None:
    for _ in range(times):
        await stuck.poll()


async def test_a_consumer_that_began_after_a_record_is_sent_back_to_it() -> None:
    world, log = World(), Log(107)
    stuck = standing(world, log)
    await poll(stuck, POLLS)
    assert log.sent_back == [(AT, 100)]
    stand(world, 110)
    await poll(stuck, POLLS - 1)
    assert log.sent_back == [(AT, 100)]
    assert world.fatal == []


async def test_a_record_that_is_never_handed_over_ends_the_process() -> None:
    world, log = World(), Log(107)
    stuck = standing(world, log)
    await poll(stuck, 2 * POLLS - 1)
    assert world.fatal == []
    await poll(stuck, 1)
    assert log.sent_back == [(AT, 100)]
    (why,) = world.fatal
    assert why == (
        "hoso.processing[11] is stuck at offset 100, where there is a record: the consumer is stuck"
    )


async def test_where_the_log_has_no_record_nobody_is_sent_back() -> None:
    world, log = World(), Log(99)
    await poll(standing(world, log), 3 * POLLS)
    assert (AT, 100) in log.asked
    assert (log.sent_back, world.fatal) == ([], [])


async def test_nobody_asks_before_it_has_stood_for_some_polls() -> None:
    world, log = World(), Log(107)
    await poll(standing(world, log), POLLS - 1)
    assert log.asked == []


async def test_whatever_moves_is_not_stuck() -> None:
    world, log = World(), Log(107)
    stuck = standing(world, log)
    for moved in range(POLLS):
        stand(world, 101 + moved)
        await stuck.poll()
    await poll(stuck, POLLS - 2)
    assert log.asked == []


async def test_a_task_that_does_not_run_or_has_a_chunk_in_flight_waits_for_that() -> None:
    world, log = World(), Log(107)
    stuck = standing(world, log)
    task = world.tasks.tasks[11]
    await poll(stuck, POLLS - 1)
    task.move(Cause.fenced)
    await poll(stuck, POLLS)
    task.move(Cause.restored)
    chunk = asyncio.create_task(asyncio.sleep(3600, True))
    task.in_flight.add(chunk)
    await poll(stuck, POLLS)
    assert log.asked == []
    chunk.cancel()
    task.in_flight.clear()
    await poll(stuck, POLLS)
    assert len(log.asked) == 1


async def test_a_chunk_that_arrives_while_the_log_is_asked_settles_it() -> None:
    world = World()

    class Late(Log):
        async def first_from(self, positions: Mapping[TopicPartition, int]) -> dict[Any, Any]:
            stand(world, 116)
            return await super().first_from(positions)

    log = Late(107)
    await poll(standing(world, log), POLLS)
    assert (log.sent_back, world.fatal) == ([], [])


async def test_a_task_that_was_lost_meanwhile_is_left_alone() -> None:
    world = World()

    class Gone(Log):
        async def first_from(self, positions: Mapping[TopicPartition, int]) -> dict[Any, Any]:
            del world.tasks.tasks[11]
            return await super().first_from(positions)

    log = Gone(107)
    await poll(standing(world, log), POLLS)
    assert (log.sent_back, world.fatal) == ([], [])
