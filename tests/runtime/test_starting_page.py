"""What a browser is shown while a worker waits for its topics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import aiohttp
import pytest

from streams.kafka.broker import free_port
from streams.kafka.topic_metadata import TopicState
from streams.runtime.topic_gate import TopicGate
from streams.settings import load


@pytest.mark.parametrize("pages", [True, False])
async def test_a_browser_is_shown_a_page_and_a_program_the_reason(pages: bool) -> None:
    async def ask(_: Iterable[str]) -> Mapping[str, TopicState]:
        return {}

    port = free_port()
    settings = load({}).model_copy(update={"web_port": port, "web_pages": pages})
    waiting = asyncio.create_task(TopicGate(settings, ["hoso.submissions"], ask).passed())
    browser = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": "en"}
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while True:
            try:
                answer = await session.get(f"http://127.0.0.1:{port}/", headers=browser)
                break
            except aiohttp.ClientConnectionError:
                assert not waiting.done()
                await asyncio.sleep(0.05)
        said = await answer.text()
        assert answer.status == 503
        if pages:
            assert "there are no figures yet" in said
            assert "0.00" not in said
            assert answer.headers["Refresh"] == "5"
            style = await session.get(f"http://127.0.0.1:{port}/static/hoso.css")
            assert (style.status, style.content_type) == (200, "text/css")
        else:
            assert "hoso.submissions" in said
        answer = await session.get(f"http://127.0.0.1:{port}/api/v1/indicators")
        assert "hoso.submissions" in (await answer.json())["error"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
