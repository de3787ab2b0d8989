"""Whatever a worker is doing when its store turns out to be damaged: the same figures.

The store says so at its nth use, counted over everything that is done with it.
"""

from __future__ import annotations

import asyncio
from itertools import count
from random import Random

import pytest

from streams.state.stores import DamagedStoreError, UnusableStoreError
from tests.domain.worlds import busy_world
from tests.processing.deployment import PARTITIONS, Deployment
from tests.processing.disk import USES, Use, WatchedStore
from tests.processing.simulation import SimulatedTasks
from tests.processing.test_crashes import small_world


def _watch(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    def open_store(tasks: SimulatedTasks, number: int) -> WatchedStore:
        disk = tasks._worker.disk
        assert isinstance(disk, dict)
        return WatchedStore(disk[number], use)

    monkeypatch.setattr(SimulatedTasks, "_open_store", open_store)


async def _life(seed: int) -> None:
    """Facts are taken in, the worker is killed, its successor restores, verifies and goes on."""
    deployment = Deployment(small_world(seed), Random(seed), disk=True)
    facts = deployment.world.facts
    deployment.send(facts[:14])
    await deployment.give(dict.fromkeys(PARTITIONS, deployment.start()))
    await deployment.run_until_idle()
    await deployment.kill(deployment.workers[0], stray=False)  # its disk loses the end
    await deployment.give(dict.fromkeys(PARTITIONS, deployment.start()))
    await deployment.run_until_idle()
    deployment.send(facts[14:])
    await deployment.run_until_idle()
    deployment.check()
    for worker in deployment.workers:
        await worker.kill()


def test_damage_met_at_any_use_of_a_store_changes_no_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    met: set[str] = set()
    uses = count()
    at = -1

    def use(what: str) -> None:
        if next(uses) == at:
            met.add(what)
            raise DamagedStoreError(f"{what} found a bad block")

    _watch(monkeypatch, use)
    asyncio.run(_life(5))
    total = next(uses)
    for nth in range(total):
        at, uses = nth, count()
        asyncio.run(_life(5))
    assert met == set(USES)


@pytest.mark.parametrize(
    ("failing", "error", "says"),
    [
        ("put_many", DamagedStoreError("a bad block"), "cannot be rebuilt: "),
        ("items", DamagedStoreError("a bad block"), "its new store is damaged again: a bad block"),
        (
            "put_many",
            UnusableStoreError("/rows", OSError(28, "No space left on device")),  # type: ignore[arg-type]
            r"/rows cannot be used: [Errno 28] No space left on device (HOSO_DATA_DIR)",
        ),
    ],
    ids=["nothing can be put", "nothing can be read again", "full"],
)
def test_a_disk_that_keeps_nothing_ends_the_process(
    failing: str, error: Exception, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def use(what: str) -> None:
        if what == failing:
            raise error

    _watch(monkeypatch, use)

    async def run() -> None:
        deployment = Deployment(busy_world(Random(5)), Random(5), disk=True)
        deployment.send(deployment.world.facts)
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        with pytest.raises(AssertionError):
            await deployment.run_until_idle()
        assert worker.fatal is not None
        assert says in worker.fatal
        await worker.kill()

    asyncio.run(run())
