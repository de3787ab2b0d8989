"""Whatever dies, whenever: the same figures.

The runs are of :mod:`tests.processing.simulation`. A failing random run prints its seed and its
steps; ``HOSO_TEST_SEED=n`` runs that one again, ``HOSO_TEST_RUNS=n`` that many.
"""

from __future__ import annotations

import asyncio
import os
from random import Random, SystemRandom
from typing import Any
from unittest.mock import patch

import pytest
from faust.types import TP

from schemas.topics import EVENT_TOPICS
from streams.kafka.partitioner import partition_for
from streams.state import ledger_store as saved_ledgers
from tests.domain.events import registered, submitted
from tests.domain.worlds import World, busy_world
from tests.processing.cluster import LOGS, SETTINGS
from tests.processing.deployment import PARTITIONS, Deployment
from tests.processing.simulation import Worker, settle

_SEED = os.environ.get("HOSO_TEST_SEED")
_RUNS = 1 if _SEED else int(os.environ.get("HOSO_TEST_RUNS", "200"))
_FIRST = int(_SEED) if _SEED else SystemRandom().randrange(10**9)


def small_world(seed: int) -> World:
    """Some 24 facts of two agencies or three."""
    random = Random(seed)
    world = busy_world(random)
    return World(world.reference, world.facts[:24], world.asked)


def test_without_faults_the_figures_are_those_of_the_facts() -> None:
    async def run() -> None:
        deployment = Deployment(busy_world(Random(7)), Random(7))
        deployment.send(deployment.world.facts)
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        await deployment.run_until_idle()
        deployment.check()
        for tp, offset in deployment.cluster.committed.items():
            assert offset == deployment.cluster.ends[tp]
        await worker.kill()

    asyncio.run(run())


async def _begin(seed: int, *, disk: bool = False) -> Deployment:
    deployment = Deployment(small_world(seed), Random(seed), disk=disk)
    facts = deployment.world.facts
    deployment.send(facts[:12])
    deployment.send_rubbish("processing", "H56", b"{")
    for event in facts[12:16]:
        deployment.send_astray(event)
    deployment.send(facts[16:])
    deployment.send_rubbish("submissions", "G12", b"\xff")
    deployment.send(facts[:6])
    await deployment.give(dict.fromkeys(PARTITIONS, deployment.start()))
    return deployment


async def _advance(deployment: Deployment, steps: int, *, commit: bool) -> bool:
    """So many steps, in a fixed order; whether there were that many."""
    (worker,) = deployment.workers
    turn = 0
    while turn < steps:
        choices = worker.steps()
        if not choices:
            return False
        await deployment.step(worker, choices[turn % len(choices)], most=5)
        if commit:
            worker.commit()
        turn += 1
    return True


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "never committed"])
@pytest.mark.parametrize("stray", [False, True], ids=["lost", "landing late"])
def test_a_crash_after_any_step_changes_no_figure(stray: bool, commit: bool) -> None:
    async def run(steps: int) -> bool:
        deployment = await _begin(3)
        more = await _advance(deployment, steps, commit=commit)
        await deployment.kill(deployment.workers[0], stray=stray)
        successor = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, successor))
        await deployment.run_until_idle()
        while deployment.stray:
            deployment.land_stray()
        await deployment.restart_everything()
        deployment.check()
        for worker in deployment.workers:
            await worker.kill()
        return more

    steps = 0
    while asyncio.run(run(steps)):
        steps += 1
    assert steps > 50


@pytest.mark.parametrize("disk", [False, True], ids=["in memory", "on disk"])
def test_a_crash_after_any_step_of_a_recovery_changes_no_figure(disk: bool) -> None:
    async def run(steps: int) -> bool:
        deployment = await _begin(5, disk=disk)
        await _advance(deployment, 45, commit=True)
        await deployment.kill(deployment.workers[0], stray=True)
        while deployment.stray:
            deployment.land_stray()
        await deployment.give(dict.fromkeys(PARTITIONS, deployment.start()))
        more = await _advance(deployment, steps, commit=True)
        await deployment.kill(deployment.workers[0], stray=False)
        await deployment.restart_everything()
        deployment.check()
        for worker in deployment.workers:
            await worker.kill()
        return more

    steps = 0
    while asyncio.run(run(steps)) and steps < 50:
        steps += 1
    assert steps > 30  # else it ended before it had begun to take anything in again


def test_a_month_emptied_by_a_dead_workers_late_row_is_published_empty() -> None:
    """A dossier moves from one month to another, and its new owner hears of it from the changelog.

    The worker that took in the correction dies. Its successor recovers without it; then the dead
    worker's row lands. The successor notices and reads on, so the correction itself, when its
    turn comes, is a duplicate that changes no month. The old month's public row is older than
    what was read on, and its ledger has no cells any more: still it must be written.
    """

    async def run() -> None:
        first, corrected = submitted(on="2021-06-10"), submitted(on="2022-05-10", revision=1)
        deployment = Deployment(World([registered()], [first, corrected], []), Random(1))
        dying = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, dying))
        deployment.send([first])
        await deployment.run_until_idle()
        assert set(deployment.published_cells()["H56"]) == {"2021-06"}
        deployment.send([corrected])
        home = partition_for(b"H56", SETTINGS.partitions)
        await deployment.step(dying, ("fetch", TP("submissions", home)))
        underway = [batch for batch in await dying.kill() if batch.topic == LOGS[0]]
        deployment.workers.remove(dying)
        successor = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, successor))
        await _all_but_fetch(deployment, successor)
        deployment.stray.extend(underway)
        while deployment.stray:
            deployment.land_stray()
        successor.poll()
        await settle()
        await _all_but_fetch(deployment, successor)
        assert set(deployment.owned_cells()["H56"]) == {"2022-05"}
        assert set(deployment.published_cells()["H56"]) == {"2022-05"}
        await deployment.run_until_idle()
        deployment.check()
        await successor.kill()

    asyncio.run(run())


def test_nothing_is_committed_that_was_skipped_and_is_yet_to_be_read_again() -> None:
    """Records are lost on their way, and noticed at the next chunk: the consumer is sent back.

    Only a part of what was lost is processed again when the worker dies, and nothing new ever comes
    to the partition that would show its successor a gap.
    """

    async def run() -> None:
        events = [submitted(dossier=f"D{number}") for number in range(22)]
        deployment = Deployment(World([registered()], events, []), Random(1))
        deployment.send(events)
        tp = TP("submissions", partition_for(b"H56", SETTINGS.partitions))
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        await _all_but_fetch(deployment, worker)
        await deployment.step(worker, ("fetch", tp), 10)
        await _all_but_fetch(deployment, worker)
        worker.skip(tp, 11)
        await deployment.step(worker, ("fetch", tp), 1)
        await _all_but_fetch(deployment, worker)
        assert worker.fetched[tp] == 10
        await deployment.step(worker, ("fetch", tp), 6)
        await _all_but_fetch(deployment, worker)
        for _ in range(3):
            worker.commit()
        assert deployment.cluster.committed[tp] == 16
        await deployment.kill(worker, stray=False)
        await deployment.give(dict.fromkeys(PARTITIONS, deployment.start()))
        await deployment.run_until_idle()
        deployment.check()
        for last in deployment.workers:
            await last.kill()

    asyncio.run(run())


def test_rows_that_only_the_disk_has_are_written_again_when_their_records_are_read_again() -> None:
    """A worker dies before its rows are on their way, with the state on disk ahead of the logs. Its
    successor finds the facts known. When the disk is lost as well, the logs must have them."""

    async def run() -> None:
        events = [submitted(dossier=f"D{number}") for number in range(4)]
        deployment = Deployment(World([registered()], events, []), Random(1), disk=True)
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        await _all_but_fetch(deployment, worker)
        deployment.send(events)
        tp = TP("submissions", partition_for(b"H56", SETTINGS.partitions))
        await deployment.step(worker, ("fetch", tp))
        assert isinstance(deployment.disk, dict)
        disk = {number: list(journal) for number, journal in deployment.disk.items()}
        await deployment.kill(worker, stray=False)
        for number, journal in deployment.disk.items():
            journal[:] = disk[number]  # a kill loses the end of it, but here nothing
        successor = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, successor))
        await _all_but_fetch(deployment, successor)
        assert len(successor.tasks.tasks[tp.partition].partition.dossiers) == len(events)
        await deployment.run_until_idle()
        deployment.check()
        last = await deployment.restart_everything(from_logs_alone=True)
        deployment.check()
        await last.kill()

    asyncio.run(run())


async def _all_but_fetch(deployment: Deployment, worker: Worker) -> None:
    while choices := [choice for choice in worker.steps() if choice[0] != "fetch"]:
        await deployment.step(worker, choices[0])


@pytest.mark.parametrize("nth", range(_RUNS))
def test_any_schedule_of_faults_gives_the_same_figures(nth: int) -> None:
    seed = _FIRST + nth
    print(f"HOSO_TEST_SEED={seed}")  # noqa: T201
    asyncio.run(_random_run(seed))


async def _random_run(seed: int) -> None:
    random = Random(seed)
    deployment = Deployment(busy_world(random), random, disk=random.random() < 0.4)
    with (
        # Small, so that everything that is done now and then is done in so small a world.
        patch.object(saved_ledgers, "LEAST_CHANGES", random.choice((1, 5, 40))),
        patch.object(saved_ledgers, "CHANGES_PER_BYTE", 0),
        patch.object(saved_ledgers, "SLICE_BYTES", random.choice((0, 500, 10**6))),
    ):
        await _under_random_faults(deployment, random)


async def _under_random_faults(deployment: Deployment, random: Random) -> None:
    try:
        await _with_faults(deployment, random)
        deployment.check()
        await deployment.restart_everything()
        deployment.check()
        await deployment.restart_everything(from_logs_alone=True)
        deployment.check()
    except BaseException:
        print("\n".join(deployment.log))  # noqa: T201
        raise
    finally:
        for worker in deployment.workers:
            await worker.kill()


class Moods:
    """How likely each step and each fault is in a run: every run stresses something else."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._weights: dict[tuple[str, str], float] = {}
        self.fault = random.choice((0.03, 0.1, 0.25))
        self.rubbish = random.choice((0.1, 0.7))
        self.astray = random.choice((0.1, 0.7))
        self.commit = random.choice((0.05, 0.5))
        self._faults = {fault: random.choice((0, 1, 4)) for fault in FAULTS} | {"kill": 2}

    def step(self, choices: list[tuple[str, Any]]) -> tuple[str, Any]:
        weights = [
            self._weights.setdefault(
                (what, tp.topic if tp else ""), self._random.choice((0.05, 1, 5))
            )
            for what, tp in choices
        ]
        return self._random.choices(choices, weights)[0]

    def next_fault(self) -> str:
        return self._random.choices(list(self._faults), list(self._faults.values()))[0]


async def _with_faults(deployment: Deployment, random: Random) -> None:
    unsent = [*deployment.world.facts, *random.choices(deployment.world.facts, k=20)]
    moods = Moods(random)
    await deployment.give(dict.fromkeys(PARTITIONS, deployment.start()))
    for _ in range(random.randint(60, 200)):
        if unsent and random.random() < 0.3:
            some = [unsent.pop() for _ in range(min(len(unsent), random.randint(1, 25)))]
            if random.random() < moods.astray:
                deployment.send_astray(some.pop())
            deployment.send(some)
            if random.random() < moods.rubbish:
                raw = f"rubbish {random.random()}".encode()
                deployment.send_rubbish(random.choice(("submissions", "catalogue")), "H26", raw)
        if random.random() < moods.fault:
            await _fault(deployment, random, moods.next_fault())
        for worker in deployment.workers:
            if random.random() < 0.01:
                worker.poll()
            if choices := worker.steps():
                await deployment.step(worker, moods.step(choices), random.randint(1, 15))
            if random.random() < moods.commit:
                worker.commit()
    deployment.send(unsent)
    await deployment.run_until_idle()
    while deployment.stray:
        deployment.land_stray()
    # What landed late is noticed at a partition's next write, or a little later without one.
    if random.random() < 0.5:
        deployment.send(deployment.world.facts)
        await deployment.run_until_idle()
    await deployment.poll()


FAULTS = ("kill", "join", "share", "stray", "compact", "skip", "truncate", "damage", "wipe")


async def _fault(deployment: Deployment, random: Random, what: str) -> None:
    deployment.log.append(what)
    if what == "kill" or (what in ("damage", "wipe") and deployment.disk is not None):
        await deployment.kill(random.choice(deployment.workers), stray=random.random() < 0.5)
        if what == "wipe":
            deployment.lose_disk()
        elif what == "damage":
            uses = random.choice((1, 30, 300))
            deployment.cluster.damage[random.choice(PARTITIONS)] = random.randrange(uses)
        if not deployment.workers:
            deployment.start()
        await deployment.share()
    elif what == "join" and deployment.disk is None and len(deployment.workers) < 3:
        deployment.start()
        await deployment.share()
    elif what == "share":
        await deployment.share()
    elif what == "stray" and deployment.stray:
        deployment.land_stray()
    elif what == "compact":
        deployment.compact()
    elif what == "skip":
        worker = random.choice(deployment.workers)
        behind = [tp for what, tp in worker.steps() if what == "fetch" and tp.topic != "agencies"]
        if behind:
            tp = random.choice(behind)
            worker.skip(tp, random.randint(1, 5))
            # Were these the last, the loss would show only when the next record comes.
            last = deployment.cluster.logs[tp][-1]
            deployment.cluster.append(tp.topic, tp.partition, [(last.key, last.value, ())])
    elif what == "truncate":
        deployment.truncate(
            TP(random.choice(sorted(EVENT_TOPICS)), random.choice(PARTITIONS)), random.randint(1, 5)
        )
