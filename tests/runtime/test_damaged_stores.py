"""A worker whose local rows were damaged while it was stopped shows every dossier all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Broker
from tests.domain.events import Event, listed, registered, submitted
from tests.runtime.site import PARTITIONS, Site, WorkerProcess, eventually

DOSSIERS = 30_000
ASK = {"period": "year", "as_of": "2022-08-25"}


def _flip_a_bit(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


def _shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a flipped bit": ("*.sst", _flip_a_bit),
    "a table cut": ("*.sst", _shorten),
    "no manifest": ("MANIFEST-*", Path.unlink),
}


def _dossiers() -> list[Event]:
    return [submitted(f"D{n:05d}", f"2022-0{1 + n % 8}-01") for n in range(DOSSIERS)]


async def _online(worker: WorkerProcess) -> int | None:
    status, body = await worker.get("/api/v1/indicators", **ASK)
    return _of(json.loads(body)) if status == 200 else None


def _of(answer: Any) -> int:
    (row,) = (row for row in answer["rows"] if row["scope"] == "H56")
    found: int = row["dossiers_submitted"]["online"]
    return found


def _reported(site: Site) -> int:
    """From ``agency-months``, with no worker's help."""
    done = subprocess.run(
        [sys.executable, "-m", "streams", "report", "--format", "json"]
        + [part for name, value in ASK.items() for part in (f"--{name.replace('_', '-')}", value)],
        env={
            **os.environ,
            "HOSO_BROKERS": site.broker.bootstrap,
            "HOSO_TOPIC_PREFIX": site.prefix,
            "HOSO_PARTITIONS": str(PARTITIONS),
        },
        capture_output=True,
        check=True,
    )
    return _of(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.broker
async def test_of_thirty_thousand_dossiers_none_is_missing_after_damage(
    embedded_broker: Broker, topic_prefix: str, tmp_path: Path
) -> None:
    pytest.importorskip("rocksdict")
    data = tmp_path / "rows"
    async with Site(embedded_broker, topic_prefix, tmp_path) as site:
        await site.send([registered(), listed()])
        await site.send(_dossiers())
        sent = DOSSIERS
        for what, (files, damage) in DAMAGES.items():
            worker = site.worker(store="rocksdb", data_dir=str(data))
            await worker.ready()
            await site.caught_up()
            assert await _online(worker) == sent
            assert await worker.stop() == 0

            # Not what was set aside by the damage before.
            live = [file for file in data.rglob(files) if "damaged" not in file.parent.name]
            damage(max(live, key=lambda file: file.stat().st_size))
            worker = site.worker(store="rocksdb", data_dir=str(data))
            await worker.ready()

            async def rebuilt(worker: WorkerProcess = worker, expected: int = sent) -> bool:
                assert await _online(worker) in (None, expected), "a figure that is not whole"
                return "rebuilt from the changelog now" in worker.log and await worker.is_ready()

            await eventually(rebuilt, f"rebuilt after {what}")
            await site.send([submitted(f"E{sent}", "2022-03-01")])  # and it goes on
            sent += 1
            await site.caught_up()
            assert await _online(worker) == sent
            assert _reported(site) == sent
            assert worker.log.count("are damaged") == 1
            assert await worker.stop() == 0
        assert len(list(data.rglob("*.damaged"))) == 1, "the newest is kept"
