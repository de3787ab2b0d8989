"""Workers that stop, die, come back, join and leave while events pour in: the same figures."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from itertools import islice
from random import Random, SystemRandom

import pytest

from tests.domain.register import Register
from tests.runtime.load import AGENCIES, facts, reference
from tests.runtime.site import PARTITIONS, Site, WorkerProcess, eventually

SEED = int(os.environ.get("HOSO_TEST_SEED") or SystemRandom().randrange(10**9))
EVENTS = 20_000


@pytest.fixture(scope="module")
def load() -> tuple[list[dict[str, object]], Register]:
    """Twenty thousand events and their plain fold."""
    print(f"HOSO_TEST_SEED={SEED}")  # noqa: T201
    events = facts(SEED, EVENTS)
    return events, Register([*reference(), *events])


async def pour(site: Site, events: list[dict[str, object]], stop_at: float = 1.0) -> None:
    """Send events in many small parts, so that workers are always in the middle of some."""
    for start in range(0, int(len(events) * stop_at), 250):
        await site.send(events[start : start + 250])
        await asyncio.sleep(0.05)


async def part_of(site: Site, worker: WorkerProcess, share: float) -> None:
    """Wait until a worker has taken in about that share of what it may get."""

    async def enough() -> bool:
        series = await worker.metrics()
        taken = sum(v for (name, _), v in series.items() if name == "hoso_events_total")
        return taken >= share * EVENTS

    await eventually(enough, f"{share:.0%} taken in by {worker.name}")


async def one_owner_each(site: Site) -> None:
    """Wait until every agency's series come from exactly one live worker."""

    async def settled() -> bool:
        owners: list[str] = []
        for worker in site.alive:
            for (name, labels), _ in (await worker.metrics()).items():
                if name == "hoso_services_with_dossiers" and ("period", "year") in labels:
                    owners.append(dict(labels)["agency"])
        return sorted(owners) == sorted(AGENCIES)

    await eventually(settled, "one owner for every agency")


async def test_a_planned_restart_in_mid_stream_changes_no_figure(
    site: Site, load: tuple[list[dict[str, object]], Register]
) -> None:
    events, register = load
    await site.send(reference())
    first = site.worker()
    await first.ready()
    sending = asyncio.create_task(pour(site, events))
    await part_of(site, first, 0.2)
    assert await first.stop() == 0
    assert not sending.done(), "the stop was to be in mid-stream"
    second = site.worker()
    await second.ready()
    await sending
    # Nor is anything left to do that was done before: a worker with lag and no progress for a
    # minute counts as sick.
    await site.settled_on(register)
    assert (await second.json("/healthz"))["lag"] == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_five_kills_in_mid_stream_change_no_figure(
    site: Site, load: tuple[list[dict[str, object]], Register]
) -> None:
    events, register = load
    random = Random(SEED)
    await site.send(reference())
    sending = asyncio.create_task(pour(site, events, 0.5))
    for _ in range(5):
        worker = site.worker()
        await worker.ready()
        # New events of its own to be in the middle of, whatever the last one left.
        again = asyncio.create_task(pour(site, random.sample(events, 2000)))
        await asyncio.sleep(random.uniform(0.0, 0.6))
        worker.kill()
        await again
    await sending
    last = site.worker()
    await last.ready()
    await site.send(events[EVENTS // 2 :])
    await site.settled_on(register)
    # And what was published is what a worker that begins with nothing makes of the changelogs.
    assert await last.stop() == 0
    await site.worker().ready()
    await site.settled_on(register)


@pytest.mark.slow
async def test_two_workers_share_and_take_over_from_each_other(
    site: Site, load: tuple[list[dict[str, object]], Register]
) -> None:
    events, register = load
    half = len(events) // 2
    await site.send(reference())
    one, other = site.worker(), site.worker()
    await one.ready()
    await other.ready()
    await pour(site, events[:half])
    await site.caught_up()
    await one_owner_each(site)
    assert await one.owned()
    assert await other.owned()
    await services_from_either(site, register)

    sending = asyncio.create_task(pour(site, events[half:]))
    assert await one.stop() == 0
    await eventually(lambda: owns_all(other), "the other took all over")
    third = site.worker()
    await third.ready()
    other.kill()
    await eventually(lambda: owns_all(third), "the third took all over")
    await sending
    await one_owner_each(site)
    await site.settled_on(register)


async def owns_all(worker: WorkerProcess) -> bool:
    return await worker.owned() == list(range(PARTITIONS))


async def services_from_either(site: Site, register: Register) -> None:
    """The services behind a ratio, also of agencies that another worker owns."""
    for agency in AGENCIES:
        path = f"/api/v1/agencies/{agency}/services"
        answers = [
            await worker.json(path, period="year", as_of="2022-08-25") for worker in site.alive
        ]
        assert answers[0] == answers[1]
        assert answers[0]["agency"] == agency
        assert answers[0]["services"]


@pytest.mark.slow
async def test_joining_and_leaving_again_and_again_changes_no_figure(
    site: Site, load: tuple[list[dict[str, object]], Register]
) -> None:
    events, register = load
    await site.send(reference())
    steady = site.worker()
    await steady.ready()
    sending = asyncio.create_task(pour(site, events))
    for leave in ("stop", "kill"):
        visitor = site.worker()
        await visitor.ready()
        if leave == "stop":
            assert await visitor.stop() == 0
        else:
            visitor.kill()
    await sending
    await eventually(lambda: owns_all(steady), "the steady worker owns all")
    await site.settled_on(register)
    await one_owner_each(site)


@pytest.mark.slow
@pytest.mark.parametrize(
    "broker", [pytest.param("embedded", marks=pytest.mark.broker)], indirect=True
)
async def test_local_rows_are_a_cache_and_no_more(
    site: Site, load: tuple[list[dict[str, object]], Register]
) -> None:
    """With HOSO_STORE=rocksdb, whatever becomes of the local files between two runs."""
    pytest.importorskip("rocksdict")
    events = iter(load[0])
    data, backup = site.directory / "rows", site.directory / "backup"
    sent = reference()
    await site.send(sent)

    async def run() -> WorkerProcess:
        some = list(islice(events, 1500))
        sent.extend(some)
        await site.send(some)
        worker = site.worker(store="rocksdb", data_dir=str(data))
        await worker.ready()
        await site.settled_on(Register(sent))
        assert await worker.stop() == 0
        assert "seeking back" not in worker.log
        return worker

    first = await run()
    shutil.copytree(data, backup)
    kept = await run()
    assert rows_read(first) == 0
    whole = rows_read(kept)
    shutil.rmtree(data)
    deleted = await run()
    assert rows_read(deleted) > whole
    shutil.rmtree(data)
    backup.rename(data)
    await run()
    for path in data.rglob("CURRENT"):
        path.write_bytes(b"rubbish\n")
    await run()
    assert list(data.rglob("*.damaged"))


def rows_read(worker: WorkerProcess) -> int:
    """The changelog rows its recoveries read."""
    return sum(int(n) for n in re.findall(r"is ready: (\d+) changelog rows", worker.log))
