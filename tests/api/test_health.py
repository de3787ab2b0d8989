"""``/healthz``, ``/readyz`` and the lag they go by."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.api import server
from streams.api.server import STALE_SECONDS
from streams.processing.task import Phase
from streams.runtime.app import Worker
from streams.state.codecs import Checkpoint
from tests.api.conftest import Connect
from tests.api.world import World

BEHIND = {("hoso.submissions", 3): 7, ("hoso.processing", 3): 1}


class Clock:
    """The server's monotonic clock, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.monotonic()
        monkeypatch.setattr(server, "time", SimpleNamespace(monotonic=lambda: self.now))

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def healthz(client: Any) -> tuple[int, dict[str, Any]]:
    response = await client.get("/healthz")
    return response.status, await response.json()


async def test_an_idle_worker_is_healthy_however_long_it_has_been_idle(
    connect: Connect, clock: Clock
) -> None:
    client = await connect(World())
    clock.advance(10 * STALE_SECONDS)
    status, answer = await healthz(client)
    assert status == 200
    assert answer == {
        "healthy": True,
        "lag": 0,
        "processed": 0,
        "seconds_since_progress": 0.0,
        "failed": [],
    }


async def test_a_worker_that_stands_still_behind_its_records_is_not_healthy(
    connect: Connect, clock: Clock
) -> None:
    world = World()
    client = await connect(world)
    world.lags = BEHIND
    clock.advance(STALE_SECONDS - 1)
    assert (await healthz(client))[0] == 200
    clock.advance(2)
    status, answer = await healthz(client)
    assert status == 503
    assert (answer["healthy"], answer["lag"]) == (False, 8)
    assert answer["seconds_since_progress"] > STALE_SECONDS


async def test_a_record_after_a_quiet_night_does_not_make_a_worker_unhealthy(
    connect: Connect, clock: Clock
) -> None:
    """It was last seen without lag at the probe before; the time before that does not count."""
    world = World()
    client = await connect(world)
    clock.advance(10 * STALE_SECONDS)
    await healthz(client)
    world.lags = BEHIND
    clock.advance(10)
    assert (await healthz(client))[0] == 200


@pytest.mark.parametrize("part", ["intake", "restore"])
async def test_chunks_taken_in_and_rows_recovered_are_progress(
    connect: Connect, clock: Clock, part: str
) -> None:
    """A recovery may take longer than the deadline, and a restart would begin it anew."""
    world = World()
    client = await connect(world)
    world.lags = BEHIND
    clock.advance(STALE_SECONDS + 1)
    assert (await healthz(client))[0] == 503
    parts: dict[str, Any] = {"intake": world.intake, "restore": world.tasks.restore}
    parts[part].last_progress = clock.now
    assert (await healthz(client))[0] == 200


@pytest.mark.parametrize("name", ["reference", "register"])
async def test_a_view_that_failed_makes_a_worker_unhealthy(connect: Connect, name: str) -> None:
    world = World()
    client = await connect(world)
    assert (await healthz(client))[0] == 200
    getattr(world, name).view._failed = ValueError("row of a newer version")
    status, answer = await healthz(client)
    assert status == 503
    assert answer["failed"] == ["row of a newer version"]


async def test_ready_means_every_owned_partition_is_recovered(connect: Connect) -> None:
    world = World(owns=frozenset({1, 4}))
    client = await connect(world)

    async def readyz() -> tuple[int, Any]:
        response = await client.get("/readyz")
        return response.status, await response.json()

    recovery = {"rows": 0, "repaired": 0, "seconds": 0.0}
    nothing = {"problems": [], "unaccounted": {}, "recovery": recovery}
    answer = {"ready": True, "partitions": [1, 4], "recovering": [], **nothing}
    assert await readyz() == (200, answer)
    world.tasks.tasks[2] = world.task(2, Phase.RESTORING)
    answer = {"ready": False, "partitions": [1, 2, 4], "recovering": [2], **nothing}
    assert await readyz() == (503, answer)
    world.tasks.suspend()
    assert (await readyz())[1]["recovering"] == [1, 2, 4]


async def test_a_worker_that_cannot_account_for_a_record_is_not_ready_and_says_where(
    connect: Connect,
) -> None:
    world = World(owns=frozenset({3}))
    client = await connect(world)
    world.tasks.tasks[3].cursors["hoso.submissions"].unaccounted = 1
    response = await client.get("/readyz")
    assert response.status == 503
    assert (await response.json())["unaccounted"] == {"hoso.submissions[3]": 1}
    scraped = await (await client.get("/metrics")).text()
    assert 'hoso_conservation_difference{partition="3",topic="hoso.submissions"} 1.0' in scraped


async def test_a_worker_is_ready_with_nothing_to_own_once_it_has_been_told_so(
    connect: Connect,
) -> None:
    world = World(owns=frozenset())
    client = await connect(world)
    world.tasks.suspend()
    assert (await client.get("/readyz")).status == 503
    world.tasks.assign(set())
    assert (await client.get("/readyz")).status == 200


class Consumer:
    """As much of Faust's consumer as lag is read from."""

    def __init__(self, highwaters: dict[TP, int | None]) -> None:
        self._highwaters = highwaters

    def assignment(self) -> set[TP]:
        return set(self._highwaters)

    def highwater(self, tp: TP) -> int | None:
        return self._highwaters[tp]


def lag(world: World, highwaters: dict[TP, int | None]) -> dict[tuple[str, int], int]:
    faust = SimpleNamespace(consumer=Consumer(highwaters))
    worker: Any = SimpleNamespace(faust=faust, tasks=world.tasks)
    return Worker.lag(worker)


def test_lag_is_what_the_broker_has_beyond_what_was_taken_in() -> None:
    world = World(owns=frozenset({0, 1}))
    world.tasks.tasks[0].cursors["hoso.submissions"].processed = Checkpoint(40)
    world.tasks.tasks[1].cursors["hoso.submissions"].processed = Checkpoint(0)
    assert lag(
        world,
        {
            TP("hoso.submissions", 0): 42,
            TP("hoso.submissions", 1): 5,
            TP("hoso.processing", 0): None,  # not fetched yet
            TP("hoso.processing", 7): 9,  # not owned yet
        },
    ) == {("hoso.submissions", 0): 2, ("hoso.submissions", 1): 5}


def test_what_a_restart_has_not_restored_yet_is_no_lag() -> None:
    """Counted from 0 it would be one, and a worker that restores would not be healthy."""
    world = World(owns=frozenset({0}))
    highwaters: dict[TP, int | None] = {TP("hoso.agencies", 0): 9, TP("hoso.targets", 1): 4}
    world.tasks.tasks[1] = world.task(1, Phase.RESTORING)
    world.tasks.tasks[0].cursors["hoso.agencies"].resume(Checkpoint(8))
    assert lag(world, highwaters) == {("hoso.agencies", 0): 1}


@pytest.mark.parametrize("name", ["reference", "register"])
@pytest.mark.parametrize("path", ["indicators", "agencies/H56/services"])
async def test_figures_of_a_view_that_failed_are_refused_with_the_reason(
    connect: Connect, example: World, name: str, path: str
) -> None:
    """It follows its topic no more: what it last knew would be shown as the present for good."""
    client = await connect(example)
    assert (await client.get(f"/api/v1/{path}")).status == 200
    getattr(example, name).view._failed = ValueError("row of a newer version")
    response = await client.get(f"/api/v1/{path}")
    assert response.status == 503
    assert (await response.json())["error"] == "row of a newer version; try again soon"


async def test_what_nobody_expected_is_500_and_keeps_its_cause_in_the_log(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    client = await connect(world)
    del world.register._agencies  # any fault of ours
    response = await client.get("/api/v1/indicators")
    assert response.status == 500
    assert await response.json() == {"error": "internal error; the worker's log says more"}
    assert "AttributeError" in caplog.text
