"""A real browser, Debian's Chromium, and a register for it to look at.

Skipped where there is no Chromium; in CI (CI=true) that fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, async_playwright

from tests.api.world import World

Serve = Callable[[World], Awaitable[TestServer]]
Open = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser of this test's own."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI") == "true":
            pytest.fail("missing: chromium (Debian's package chromium)")
        pytest.skip("missing: chromium (Debian's package chromium)")
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        found = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield found
        await found.close()


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a world's web server."""
    servers: list[TestServer] = []

    async def start(world: World) -> TestServer:
        server = TestServer(world.application())
        servers.append(server)
        await server.start_server()
        return server

    yield start
    for server in servers:
        await server.close()


@pytest_asyncio.fixture
async def visit(browser: Browser) -> AsyncIterator[Open]:
    """Open an address; whatever a page's console complains about fails the test."""
    complaints: list[str] = []

    async def go(address: str, **options: Any) -> Page:
        context = await browser.new_context(**({"locale": "vi-VN"} | options))
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text)
                if said.type in ("error", "warning") and "ERR_CONNECTION_REFUSED" not in said.text
                else None
            ),
        )
        await page.goto(address)
        return page

    yield go
    assert not complaints
