"""A site per test on the embedded broker, and ``hoso`` as a process that works on it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.conftest import Broker
from tests.runtime.site import PARTITIONS, Site

_ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


Hoso = Callable[..., Awaitable[Ended]]


@pytest_asyncio.fixture
async def site(embedded_broker: Broker, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Everything a test needs, ended with it; workers' logs are shown when it fails."""
    async with Site(embedded_broker, topic_prefix, tmp_path) as found:
        yield found
        for worker in found.workers:
            print(f"---- {worker.name}\n{worker.log[-4000:]}")  # noqa: T201


@pytest.fixture
def hoso(site: Site) -> Hoso:
    """Run ``hoso`` on the site."""

    async def run(*arguments: object, **settings: str) -> Ended:
        given = {
            "brokers": site.broker.bootstrap,
            "topic_prefix": site.prefix,
            "app_id": site.app_id,
            "partitions": str(PARTITIONS),
            **settings,
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams", *map(str, arguments)),
            cwd=_ROOT,
            env={**os.environ, **{f"HOSO_{name.upper()}": text for name, text in given.items()}},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Ended(process.returncode or 0, out.decode(), err.decode())

    return run
