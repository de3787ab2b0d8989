"""The demo's scoreboard in the terminal: the scenario ``live`` and the figures it moves."""

from __future__ import annotations

import asyncio
import time
import webbrowser
from collections import deque
from datetime import date, datetime

import aiohttp
from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.cli.demo_worker import WorkerProcess, get_json
from streams.cli.playing import play
from streams.cli.sending import Outbox
from streams.cli.terminal import NOTHING, out, percent, target
from streams.domain.calendar import ZONE
from streams.domain.indicators import Figures
from streams.domain.targets import INDICATORS, Indicator
from streams.settings import Settings
from streams.simulator import Scenario
from streams.views.published_months import PublishedMonths
from streams.views.reference_data import ReferenceData

_REFRESH_SECONDS = 1.0
_OPEN_TRIES = 60
_RATE_SECONDS = 10.0  # events a second are an average over the last of these


async def watch(
    settings: Settings,
    scenario: Scenario,
    rate: float | None,
    register: PublishedMonths,
    reference: ReferenceData,
    worker: WorkerProcess,
    session: aiohttp.ClientSession,
) -> None:
    """Play ``scenario``, which has no end, and show the figures until cancelled."""
    sent = 0

    def advance(count: int) -> None:
        nonlocal sent
        sent += count

    async with Outbox(settings) as outbox:
        playing = asyncio.create_task(play(scenario, outbox, rate, advance))
        try:
            console = out()
            while not console.is_terminal and not playing.done():  # the page shows it all
                worker.check()
                await asyncio.wait({playing}, timeout=_REFRESH_SECONDS)
            with Live("…", console=console, auto_refresh=False) as live:
                marks: deque[tuple[float, int]] = deque()
                while not playing.done():
                    worker.check()
                    _, health = await get_json(session, f"{worker.url}/healthz")
                    lag = health["lag"] if isinstance(health, dict) else None
                    marks.append((time.monotonic(), sent - (lag or 0)))
                    while marks[-1][0] - marks[0][0] > _RATE_SECONDS:
                        marks.popleft()
                    await register.refresh()
                    today = datetime.now(ZONE).toordinal()
                    figures = register.figures(reference, settings.definition, "year", today)
                    live.update(_screen(figures, today, worker, sent, _speed(marks), lag))
                    live.refresh()
                    await asyncio.wait({playing}, timeout=_REFRESH_SECONDS)
                await playing
        finally:
            playing.cancel()
            await asyncio.wait({playing})


async def open_page(worker: WorkerProcess, session: aiohttp.ClientSession) -> None:
    """Open a browser on the page once it is there, if there is a browser with a window."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if type(browser) is webbrowser.GenericBrowser:  # it would take over the terminal
        return
    for _ in range(_OPEN_TRIES):
        status, _ = await get_json(session, f"{worker.url}/healthz")
        if status:
            await asyncio.to_thread(browser.open, f"{worker.url}/")
            return
        await asyncio.sleep(_REFRESH_SECONDS)


def _speed(marks: deque[tuple[float, int]]) -> float:
    seconds = marks[-1][0] - marks[0][0]
    return max(0.0, (marks[-1][1] - marks[0][1]) / seconds) if seconds else 0.0


def _screen(
    figures: list[Figures],
    as_of: int,
    worker: WorkerProcess,
    sent: int,
    speed: float,
    lag: int | None,
) -> RenderableType:
    table = Table(
        title=f"year to {date.fromordinal(as_of).isoformat()}",
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", no_wrap=True)
    for title in ("used / listed", "%", "target", "online / processed", "%", "target"):
        table.add_column(title, justify="right", no_wrap=True)
    agencies = [row for row in figures if row.kind is not None]
    for row in figures:
        if row.kind is None:
            cells = [cell for indicator in INDICATORS for cell in _cells(row, indicator)]
            table.add_row(row.name, *cells)
    met = ", ".join(
        f"{_met(agencies, indicator)} of {len(agencies)} agencies meet the target for {what}"
        for indicator, what in zip(INDICATORS, ("services", "online"), strict=True)
    )
    behind = NOTHING if lag is None else f"{lag:,}"
    return Group(
        table,
        met,
        f"{sent:,} events sent, {speed:,.0f} a second processed, {behind} waiting",
        f"page     {worker.url}/",
        f"metrics  {worker.url}/metrics",
        f"API      {worker.url}/api/v1/indicators",
        Text("Ctrl-C ends", style="dim"),
    )


def _cells(row: Figures, indicator: Indicator) -> tuple[str, str, str]:
    numerator, denominator = row.counts.fraction(indicator)
    return (
        f"{numerator:,} / {denominator:,}",
        percent(row.counts.ratio(indicator)),
        target(row.gaps[indicator].target),
    )


def _met(agencies: list[Figures], indicator: Indicator) -> int:
    return sum(row.gaps[indicator].shortfall == 0 for row in agencies)
