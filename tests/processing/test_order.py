"""What must come before what, one rule a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest
from faust.types import TP

from streams.kafka.partitioner import partition_for
from tests.domain.events import listed, processed, registered, submitted
from tests.domain.worlds import World
from tests.processing.cluster import LOGS, SETTINGS
from tests.processing.deployment import PARTITIONS, Deployment
from tests.processing.producer import Batch
from tests.processing.simulation import Worker, settle

HOME = partition_for(b"H56", SETTINGS.partitions)
SUBMISSIONS = TP("submissions", HOME)
DEAD_LETTERS = TP("dead-letters", HOME)


def world(*facts: dict[str, object]) -> World:
    return World([registered()], list(facts), [])


async def until(
    deployment: Deployment, worker: Worker, but: Callable[[str, TP | None], bool]
) -> None:
    """Every step but those held back, until only they are left."""
    while True:
        choices = [choice for choice in worker.steps() if not but(*choice)]
        if not choices:
            return
        await deployment.step(worker, choices[0])


def test_a_chunk_is_not_committed_past_an_earlier_one_that_is_not_written() -> None:
    """A dead letter under way must hold back the chunks after its own, or a crash loses it."""

    async def run() -> None:
        facts = [submitted(f"D{n}") for n in range(4)]
        deployment = Deployment(world(*facts), Random(1))
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        await until(deployment, worker, lambda *_: False)
        deployment.send_rubbish("submissions", "H56", b"{")
        deployment.send(facts[:2])
        await worker.step("fetch", SUBMISSIONS, 3)
        deployment.send(facts[2:])
        await until(deployment, worker, lambda what, tp: what == "land" and tp == DEAD_LETTERS)
        worker.commit()
        assert deployment.cluster.committed.get(SUBMISSIONS, 0) == 0
        await deployment.kill(worker, stray=False)
        await deployment.restart_everything()
        deployment.check()

    asyncio.run(run())


def test_no_checkpoint_is_written_before_dead_letters_and_forwards_are() -> None:
    """The checkpoint is what a restart goes on from: it must speak of everything."""

    async def run() -> None:
        fact = submitted()
        deployment = Deployment(world(fact, processed(9)), Random(1))
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        await until(deployment, worker, lambda *_: False)
        deployment.send_rubbish("submissions", "H56", b"{")
        deployment.send([fact])
        await until(
            deployment, worker, lambda what, tp: what == "acknowledge" and tp == DEAD_LETTERS
        )
        assert deployment.cluster.ends[TP("sim-dossiers-changelog", HOME)] == 0
        await until(deployment, worker, lambda *_: False)
        assert deployment.cluster.ends[TP("sim-dossiers-changelog", HOME)] == 2

    asyncio.run(run())


@pytest.mark.parametrize("noticed", ["at the next write", "by polling"])
def test_a_stale_month_written_by_another_worker_is_emptied_again(noticed: str) -> None:
    """Also where the ledger has nothing in that month any more."""

    async def run() -> None:
        moved = submitted(on="2022-03-10", revision=1)
        deployment = Deployment(world(listed(), submitted(on="2022-05-10"), moved), Random(1))
        old = deployment.start()
        old.producer.room = lambda: 1000
        await deployment.give(dict.fromkeys(PARTITIONS, old))
        deployment.send(deployment.world.facts[:2])
        # Its rows are on their way, and it has lost the partition without knowing.
        await until(deployment, old, lambda what, _: what == "land")
        underway = await old.kill()
        deployment.workers.remove(old)
        new = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, new))
        deployment.send([moved])
        await deployment.run_until_idle()
        deployment.stray.extend(underway)
        while deployment.stray:
            deployment.land_stray()
        if noticed == "by polling":
            await deployment.poll()
        else:
            deployment.send([moved])
            await deployment.run_until_idle()
        deployment.check()
        # The last row of each key holds all there is to know.
        for log in LOGS:
            deployment.cluster.compact(TP(log, HOME))
        await deployment.restart_everything()
        deployment.check()

    asyncio.run(run())


def test_a_repair_that_a_rebalance_interrupts_is_made_up_for() -> None:
    async def run() -> None:
        deployment = Deployment(world(listed(), submitted()), Random(1))
        old = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, old))
        deployment.send(deployment.world.facts)
        months = TP("agency-months", HOME)
        await until(deployment, old, lambda what, tp: what == "land" and tp == months)
        old.commit()
        await deployment.kill(old, stray=False)
        new = deployment.start()
        new.producer.underway[months].extend(_stuck(months))
        await deployment.give(dict.fromkeys(PARTITIONS, new))
        await until(deployment, new, lambda what, tp: what in ("land", "fetch"))
        # The public rows wait behind others when the next rebalance comes.
        await deployment.give(dict.fromkeys(PARTITIONS, new))
        new.producer.underway[months].clear()
        await deployment.run_until_idle()
        deployment.check()

    asyncio.run(run())


def _stuck(tp: TP) -> list[Batch]:
    loop = asyncio.get_running_loop()
    return [Batch(tp.topic, tp.partition, [], loop.create_future()) for _ in range(2)]


def test_a_chunk_acknowledged_after_its_partition_was_lost_does_no_harm() -> None:
    """Its store is closed by then."""

    async def run() -> None:
        deployment = Deployment(world(listed(), submitted()), Random(1), disk=True)
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        deployment.send(deployment.world.facts)
        await until(deployment, worker, lambda what, _: what == "land")
        await deployment.give({})
        await until(deployment, worker, lambda *_: False)
        assert worker.fatal is None
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        await deployment.run_until_idle()
        deployment.check()
        await settle()

    asyncio.run(run())
