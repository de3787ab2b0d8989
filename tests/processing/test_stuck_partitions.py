"""A backlog that does not move is looked into: nothing there, or a consumer that is stuck."""

from __future__ import annotations

import asyncio

from streams.processing.stuck_partitions import LOOKS, At, Standstill
from tests.api.world import World

AT = ("hoso.processing", 11)


class Log:
    """A log that has a record at some offsets, and remembers what it was asked."""

    def __init__(self, *offsets: int) -> None:
        self.offsets = offsets
        self.asked: list[tuple[At, int, int]] = []
        self.sent_back: list[tuple[At, int]] = []

    async def record_at(self, at: At, start: int, end: int) -> bool:
        self.asked.append((at, start, end))
        return any(start <= offset < end for offset in self.offsets)

    async def seek(self, at: At, offset: int) -> None:
        self.sent_back.append((at, offset))


def standing(world: World, log: Log) -> Standstill:
    world.tables_.owned[11].next["hoso.processing"] = 100
    world.lags = {AT: 16}
    return Standstill({}, world.tables_, world.lag, log.seek, world.fatal.append, log.record_at)


async def look(standstill: Standstill, times: int) -> None:
    for _ in range(times):
        await standstill.look()


async def test_a_consumer_that_began_after_a_record_is_sent_back_to_it() -> None:
    world, log = World(), Log(107)
    standstill = standing(world, log)
    await look(standstill, LOOKS)
    assert log.sent_back == [(AT, 100)]
    world.tables_.owned[11].next["hoso.processing"] = 110
    await look(standstill, LOOKS - 1)
    assert log.sent_back == [(AT, 100)]
    assert world.fatal == []


async def test_a_record_that_is_never_handed_over_ends_the_process() -> None:
    world, log = World(), Log(107)
    standstill = standing(world, log)
    await look(standstill, 2 * LOOKS - 1)
    assert world.fatal == []
    await look(standstill, 1)
    assert log.sent_back == [(AT, 100)]
    (why,) = world.fatal
    assert why == (
        "hoso.processing[11] stands still at offset 100, where there is a record: "
        "the consumer is stuck"
    )


async def test_transaction_markers_at_the_end_of_a_log_are_no_backlog() -> None:
    world, log = World(), Log(99, 116)
    await look(standing(world, log), LOOKS)
    assert log.asked == [(AT, 100, 116)]
    assert world.tables_.owned[11].next["hoso.processing"] == 116
    assert world.fatal == []


async def test_nobody_asks_before_it_has_stood_for_some_looks() -> None:
    world, log = World(), Log(107)
    await look(standing(world, log), LOOKS - 1)
    assert log.asked == []


async def test_whatever_moves_does_not_stand_still() -> None:
    world, log = World(), Log(107)
    standstill = standing(world, log)
    for _ in range(LOOKS):
        world.tables_.owned[11].next["hoso.processing"] += 1
        await standstill.look()
    await look(standstill, LOOKS - 2)
    assert log.asked == []


async def test_a_partition_that_is_not_ready_or_has_a_chunk_under_way_waits_for_that() -> None:
    world, log = World(), Log(107)
    standstill = standing(world, log)
    owned = world.tables_.owned[11]
    await look(standstill, LOOKS - 1)
    owned.ready = False
    await look(standstill, LOOKS)
    owned.ready = True
    chunk = asyncio.create_task(asyncio.sleep(3600, True))
    owned.in_flight.add(chunk)
    await look(standstill, LOOKS)
    assert log.asked == []
    chunk.cancel()
    owned.in_flight.clear()
    await look(standstill, LOOKS)
    assert len(log.asked) == 1


async def test_a_chunk_that_arrives_while_the_log_is_asked_settles_it() -> None:
    world = World()

    class Late(Log):
        async def record_at(self, at: At, start: int, end: int) -> bool:
            world.tables_.owned[11].next["hoso.processing"] = end
            return await super().record_at(at, start, end)

    await look(standing(world, Late(107)), LOOKS)
    assert world.fatal == []


async def test_a_partition_that_was_lost_meanwhile_is_left_alone() -> None:
    world = World()

    class Gone(Log):
        async def record_at(self, at: At, start: int, end: int) -> bool:
            del world.tables_.owned[11]
            return await super().record_at(at, start, end)

    await look(standing(world, Gone(107)), LOOKS)
    assert world.fatal == []
