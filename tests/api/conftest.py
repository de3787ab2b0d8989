"""Worlds, clients and golden files. ``HOSO_UPDATE_GOLDEN=1 pytest tests/api`` rewrites the files;
look at the difference before committing it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.api.world import World

GOLDEN = Path(__file__).parent / "golden"

Connect = Callable[[World], Awaitable[TestClient]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Start a world's web server and give a client of it."""
    clients: list[TestClient] = []

    async def start(world: World) -> TestClient:
        client = TestClient(TestServer(world.application()))
        clients.append(client)
        await client.start_server()
        return client

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
def example() -> World:
    """The worked example, as of 2022-08-25."""
    return World().feed_examples()


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a text with a golden file, or rewrite the file when asked to."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("HOSO_UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, (
            f"{name} differs; if that is meant, run HOSO_UPDATE_GOLDEN=1 pytest tests/api"
        )

    return compare
