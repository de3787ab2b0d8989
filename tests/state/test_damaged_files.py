"""Whatever happens to the files of a store, the figures are those of the facts.

The worker is the real one on RocksDB; brokers and changelogs are simulated. Every file is damaged
in turn, in every way, while no worker runs; the next one must come to the right figures, from what
is left or from the changelog, and go on rightly. ``HOSO_TEST_SEED=n`` runs a failing seed again.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, NamedTuple

import pytest
import rocksdict

from streams.kafka.partitioner import partition_for
from streams.state import ledger_store, stores
from tests.domain.events import Event, listed, processed, registered, submitted
from tests.domain.register import Register
from tests.domain.worlds import World
from tests.processing.cluster import Cluster
from tests.processing.deployment import PARTITIONS, Deployment
from tests.processing.simulation import Worker

AGENCY = "H56"
NUMBER = partition_for(AGENCY.encode(), len(PARTITIONS))
SERVICES = tuple(f"1.{n:06d}" for n in range(5))
FLIPS, CUTS = 20, 4
_MET = "the rows in "

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Files and slices are small, so that there are several of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "_BUFFER_BYTES", 16 * 1024)
        patch.setattr(ledger_store, "LEAST_CHANGES", 150)
        patch.setattr(ledger_store, "CHANGES_PER_BYTE", 0)
        options = rocksdict.Options

        def quiet(**given: bool) -> Any:
            made = options(**given)
            made.set_disable_auto_compactions(True)  # or files go while they are copied
            return made

        patch.setattr(rocksdict, "Options", quiet)
        yield


@pytest.fixture(scope="module")
def seed() -> int:
    seed = int(os.environ.get("HOSO_TEST_SEED") or SystemRandom().randrange(10**9))
    print(f"HOSO_TEST_SEED={seed}")  # noqa: T201
    return seed


class Stopped(NamedTuple):
    """What a SIGKILL has left."""

    disk: Path
    cluster: Cluster
    events: list[Event]
    more: list[Event]
    """To be sent after the restart."""
    cells: Any
    cells_with_more: Any


def _facts(dossiers: range, random: Random) -> list[Event]:
    facts: list[Event] = []
    for number in dossiers:
        day = f"2022-0{random.randint(1, 8)}-{random.randint(1, 28):02d}"
        name = f"{AGENCY}-{number:05d}"
        channel = random.choice(("online", "postal"))
        service = random.choice(SERVICES)
        facts.append(submitted(name, day, service=service, channel=channel, agency=AGENCY))
        if random.random() < 0.7:
            facts.append(processed(9, "2022-09-01", dossier=name, agency=AGENCY))
    return facts


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Stopped:
    """A store with several tables and a log, whose rows are all on the changelog."""
    random = Random(seed)
    facts = [listed(service, agency=AGENCY) for service in SERVICES]
    first, second = _facts(range(400), random), _facts(range(400, 500), random)
    # Rows of the first part change in the second: an old row is as wrong as none.
    second += [processed(10, "2022-08-01", dossier=f"{AGENCY}-{n:05d}") for n in range(0, 400, 3)]
    random.shuffle(second)
    more = _facts(range(500, 520), random)
    more += [processed(9, "2022-08-02", dossier=f"{AGENCY}-{n:05d}") for n in range(0, 500, 9)]
    world = World([registered(AGENCY)], facts + first + second, [])
    disk = tmp_path_factory.mktemp("left")

    async def run() -> Cluster:
        deployment = Deployment(world, Random(seed), disk=disk / "running")
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        deployment.send(facts + first)
        await _until_idle(deployment)
        worker.tasks.close()
        await deployment.kill(worker, stray=False)
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        await _until_idle(deployment)
        deployment.send(second)
        await _until_idle(deployment)
        await asyncio.to_thread(_copy_at_rest, disk / "running", disk / "left")
        await deployment.kill(worker, stray=False)
        worker.tasks.close()
        return deployment.cluster

    cluster = asyncio.run(run())
    events = world.events
    return Stopped(
        disk / "left",
        cluster,
        events,
        more,
        Register(events).cells(),
        Register(events + more).cells(),
    )


def _copy_at_rest(running: Path, left: Path) -> None:
    """Copy a store as one moment has it: RocksDB flushes in threads of its own, and a copy with an
    old manifest and without the log that was flushed meanwhile is nothing that a SIGKILL leaves."""
    deadline = time.monotonic() + 30
    while True:
        before = _files(running)
        try:
            shutil.copytree(running, left)
        except shutil.Error:  # a file is gone
            pass
        else:
            if _files(running) == before:
                return
        assert time.monotonic() < deadline, "the store never comes to rest"
        shutil.rmtree(left)


def _files(directory: Path) -> set[tuple[str, int, int]]:
    found = set()
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            state = path.stat()
            found.add((str(path), state.st_size, state.st_mtime_ns))
    return found


async def _until_idle(deployment: Deployment) -> None:
    for _ in range(20_000):
        busy = [worker for worker in deployment.workers if worker.steps()]
        if not busy:
            break
        for worker in busy:
            for choice in worker.steps():
                if choice in worker.steps():
                    await deployment.step(worker, choice, most=200)
    for worker in deployment.workers:
        worker.commit()
        assert worker.idle


def _directory(disk: Path) -> Path:
    return disk / "sim" / "dossiers" / str(NUMBER)


async def _restart(stopped: Stopped, disk: Path, *, prepared: bool) -> tuple[Deployment, Worker]:
    world = World([registered(AGENCY)], [], [])
    deployment = Deployment(world, Random(0), disk=disk)
    deployment.cluster.logs = copy.copy(stopped.cluster.logs)
    for tp, log in stopped.cluster.logs.items():
        deployment.cluster.logs[tp] = list(log)
    deployment.cluster.ends = copy.copy(stopped.cluster.ends)
    deployment.cluster.committed = dict(stopped.cluster.committed)
    deployment.cluster.clock = stopped.cluster.clock
    worker = deployment.start()
    if prepared:
        await worker.tasks.prepare()
    await deployment.give(dict.fromkeys(PARTITIONS, worker))
    return deployment, worker


async def _goes_on_rightly(stopped: Stopped, disk: Path, *, prepared: bool) -> None:
    """A start on this disk gives the right figures, also of what is sent then, and again."""
    deployment, worker = await _restart(stopped, disk, prepared=prepared)
    try:
        await _until_idle(deployment)
        assert deployment.owned_cells() == stopped.cells
        assert deployment.published_cells() == stopped.cells
        deployment.send(stopped.more)
        await _until_idle(deployment)
        assert deployment.owned_cells() == stopped.cells_with_more
        assert deployment.published_cells() == stopped.cells_with_more
        assert len(worker.tasks.tasks[NUMBER].partition.dossiers) == 520
    finally:
        await worker.kill()
        worker.tasks.close()


def _flip(raw: bytearray, random: Random) -> bytearray:
    bit = random.randrange(len(raw) * 8)
    raw[bit // 8] ^= 1 << (bit % 8)
    return raw


def _cut(raw: bytearray, random: Random) -> bytearray:
    return raw[: random.randrange(len(raw))]


def _empty(raw: bytearray, random: Random) -> bytearray:
    return bytearray()


Damage = Callable[[bytearray, Random], bytearray | None]
DAMAGES: tuple[tuple[str, Damage, int], ...] = (
    ("flipped", _flip, FLIPS),
    ("cut", _cut, CUTS),
    ("empty", _empty, 1),
    ("missing", lambda raw, random: None, 1),
)


def _run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


@pytest.mark.parametrize("kind", ["sst", "log", "MANIFEST", "CURRENT", "OPTIONS", "others"])
def test_whatever_file_of_a_store_is_damaged_the_figures_are_right(
    kind: str, stopped: Stopped, tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "streams")
    names = sorted(path.name for path in _directory(stopped.disk).iterdir())
    known = {"sst": ".sst", "log": ".log", "MANIFEST": "MANIFEST", "CURRENT": "CURRENT"}
    known["OPTIONS"] = "OPTIONS"
    chosen = [name for name in names if known.get(kind, "\0") in name]
    if kind == "others":
        chosen = [name for name in names if not any(part in name for part in known.values())]
    assert chosen
    came_to: Counter[str] = Counter()
    for name in chosen:
        for how, damage, times in DAMAGES:
            for nth in range(times):
                case = f"{seed} {name} {how} {nth}"
                random = Random(case)
                disk = tmp_path / "disk"
                shutil.copytree(stopped.disk, disk)
                path = _directory(disk) / name
                raw = bytearray(path.read_bytes())
                damaged = damage(raw, random) if raw or how == "missing" else raw
                if damaged is None:
                    path.unlink()
                else:
                    path.write_bytes(damaged)
                caplog.clear()
                try:
                    _run(_goes_on_rightly(stopped, disk, prepared=random.random() < 0.5))
                except BaseException:
                    print(case, caplog.messages)  # noqa: T201
                    raise
                told = [message for message in caplog.messages if message.startswith(_MET)]
                assert len(told) <= 1, "once"
                assert len(list(disk.rglob("*.damaged"))) == len(told)
                came_to[how, "rebuilt" if told else "as it was"] += 1  # type: ignore[index]
                shutil.rmtree(disk)
    print(dict(came_to))  # noqa: T201
