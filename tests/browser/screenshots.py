"""``make screenshots``: every page at both widths, light and dark, in both languages.

The register is that of the scenario ``published``, whole, as of 25 August 2022. With ``--readme``
the two pictures in the README are made of them.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from datetime import datetime
from itertools import product
from pathlib import Path

from aiohttp.test_utils import TestServer
from PIL import Image
from playwright.async_api import async_playwright

from schemas.topics import Topic
from streams.domain.calendar import ZONE
from streams.simulator.published import Published
from tests.api.world import Record, World

PAGES = {
    "scoreboard": "/",
    "lowest-provinces": "/?scope=provinces&sort=online_processed&order=asc&limit=5",
    "agency": "/agencies/H56?with_dossiers=false",
    "why": "/why",
    "why-agency": "/why?scope=H56",
    "wrong": "/?as_of=2022-13-01",
}
README = {
    "scoreboard-1280-light-vi": ("scoreboard", 1180),
    "agency-1280-light-en": ("agency", 1200),
}
"""Picture → its name in docs, and how much of its height."""
_DOCS = Path(__file__).parents[2] / "docs"
_AS_OF = "as_of=2022-08-25"
_TALLEST = 3200
_CHUNK = 4000


def world() -> World:
    """The published register, its last event an hour ago."""
    found = World()
    found.broker_ms = int(datetime(2022, 8, 31, 12, tzinfo=ZONE).timestamp() * 1000)
    waiting: dict[tuple[str, int], list[Record]] = {}
    for sent in Published().records():
        record = found.record(Topic(sent.topic), sent.key, sent.value)
        at = record.topic, record.partition
        waiting.setdefault(at, []).append(record)
        if len(waiting[at]) == _CHUNK or sent.topic in ("agencies", "targets"):
            found.feed(waiting.pop(at))
    for records in waiting.values():
        found.feed(records)
    found.clock = lambda: datetime.fromtimestamp(found.broker_ms / 1000 + 3600, ZONE)
    return found


async def _shoot(directory: Path, chromium: str) -> None:
    server = TestServer(world().application())
    await server.start_server()
    base = str(server.make_url("")).rstrip("/")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for (name, path), width, theme, language in product(
            PAGES.items(), (1280, 390), ("light", "dark"), ("vi", "en")
        ):
            page = await browser.new_page(
                viewport={"width": width, "height": 900},
                color_scheme="dark" if theme == "dark" else "light",
                locale="vi-VN" if language == "vi" else "en-GB",
            )
            more = f"lang={language}" if "as_of" in path else f"{_AS_OF}&lang={language}"
            await page.goto(f"{base}{path}{'&' if '?' in path else '?'}{more}")
            height = await page.evaluate("document.documentElement.scrollHeight")
            await page.screenshot(
                path=directory / f"{name}-{width}-{theme}-{language}.png",
                clip={"x": 0, "y": 0, "width": width, "height": min(height, _TALLEST)},
                full_page=True,
            )
            await page.close()
        await browser.close()
    await server.close()


def _write_readme(directory: Path) -> None:
    for name, (short, height) in README.items():
        with Image.open(directory / f"{name}.png") as picture:
            top = picture.convert("RGB").crop((0, 0, picture.width, height))
            top.quantize(96, dither=Image.Dither.NONE).save(_DOCS / f"{short}.png", optimize=True)


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("missing: chromium (Debian's package chromium)")
    arguments = [argument for argument in sys.argv[1:] if argument != "--readme"]
    directory = Path(arguments[0] if arguments else "build/screenshots")
    directory.mkdir(parents=True, exist_ok=True)
    asyncio.run(_shoot(directory, chromium))
    if "--readme" in sys.argv:
        _write_readme(directory)
    sys.stdout.write(f"{len(list(directory.glob('*.png')))} pictures in {directory}\n")


if __name__ == "__main__":
    main()
