"""A site per test: its own topics, group and workers on the broker in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.conftest import Broker
from tests.runtime.site import Site


@pytest_asyncio.fixture
async def site(broker: Broker, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Everything a test needs, ended with it; workers' logs are shown when it fails."""
    async with Site(broker, topic_prefix, tmp_path) as found:
        yield found
        for worker in found.workers + found.readers:
            print(f"---- {worker.name}\n{worker.log[-8000:]}")  # noqa: T201
