"""``hoso report``: the figures, from the public topic, with or without a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

import click
from rich import box
from rich.table import Table

from schemas.topics import EVENT_TOPICS, Topic
from streams.cli.running import load_settings, require_topics, run
from streams.cli.terminal import (
    NOTHING,
    percent,
    print_first_that_fits,
    say_csv,
    say_json,
    target,
)
from streams.domain.calendar import PERIOD_KINDS, ZONE, PeriodKind
from streams.domain.definitions import DEFINITIONS
from streams.domain.indicators import GROUPS, Figures
from streams.domain.targets import Indicator
from streams.settings import AsOf, Settings
from streams.views.published_months import PublishedMonths
from streams.views.reference_data import ReferenceData
from streams.views.report import flat_rows, report_json

_ASK_SECONDS = 5.0
"""How long the brokers may take to say how far they are."""


class AsOfType(click.ParamType):
    """``today``, ``latest`` or a date."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> AsOf:
        if value in ("today", "latest") or isinstance(value, date):
            found: AsOf = value
            return found
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
        if day is None or day.isoformat() != value:
            self.fail(f"{value!r} is not a date YYYY-MM-DD, today or latest", param, ctx)
        return day


@click.command()
@click.option(
    "--period",
    type=click.Choice(PERIOD_KINDS),
    default="year",
    show_default=True,
    help="From the first day of the period that holds the as-of day.",
)
@click.option(
    "--as-of",
    type=AsOfType(),
    metavar="YYYY-MM-DD|today|latest",
    help="Last day that counts; latest: the latest day of any event.  [default: HOSO_AS_OF]",
)
@click.option(
    "--definition",
    type=click.Choice(list(DEFINITIONS)),
    help="How the indicators are counted.  [default: HOSO_DEFINITION]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="json is what the API answers; csv has every figure of it, ratios "
    "unrounded, and an apostrophe before text that a spreadsheet would run as a formula.",
)
def report(period: PeriodKind, as_of: AsOf | None, definition: str | None, form: str) -> None:
    """Print the figures of every group and agency.

    Read from the topics agency-months, agencies and targets alone: no worker needs to run, but
    what a worker has not processed yet does not count. How many records that is stands beside the
    figures (behind).
    """
    settings = load_settings()
    run(
        _report(settings, period, as_of or settings.as_of, definition or settings.definition, form),
        settings,
    )


@asynccontextmanager
async def open_register(settings: Settings) -> AsyncIterator[tuple[PublishedMonths, ReferenceData]]:
    """Everything published so far; raises ``Failure`` where the topics are not as they should."""
    names = (Topic.agency_months, Topic.agencies, Topic.targets)
    await require_topics(
        settings, *map(settings.topic, names), behind=map(settings.topic, EVENT_TOPICS)
    )
    register, reference = PublishedMonths(settings), ReferenceData(settings)
    try:
        await register.start()
        await reference.start()
        yield register, reference
    finally:
        await reference.stop()
        await register.stop()


def day_of_setting(as_of: AsOf, register: PublishedMonths) -> int:
    """The ordinal of an as-of setting, as the worker understands it."""
    if isinstance(as_of, date):
        return as_of.toordinal()
    latest = register.latest_day() if as_of == "latest" else None
    return latest if latest is not None else datetime.now(ZONE).toordinal()


async def _report(
    settings: Settings, period: PeriodKind, as_of: AsOf, definition: str, form: str
) -> None:
    async with open_register(settings) as (register, reference):
        day = day_of_setting(as_of, register)
        ends = await register.behind.ends(_ASK_SECONDS)
        if form == "table":
            figures = register.figures(reference, definition, period, day)
            _print_table(figures, period, day, definition, register.behind.records(ends))
            return
        answer = report_json(register, reference, definition, period, day, ends)
    if form == "json":
        say_json(answer)
    else:
        say_csv(flat_rows(answer))


# What a narrower terminal goes without, in this order, and how long names may be.
_NARROWER: tuple[tuple[frozenset[str], int], ...] = (
    (frozenset(), 60),
    (frozenset(), 30),
    (frozenset(), 16),
    (frozenset({"target"}), 16),
    (frozenset({"target", "rank"}), 12),
    (frozenset({"target", "rank", "short"}), 16),
    (frozenset({"target", "rank", "short", "name"}), 0),
)


def _print_table(
    figures: list[Figures], period: PeriodKind, as_of: int, definition: str, behind: int | None
) -> None:
    title = f"{period} to {date.fromordinal(as_of).isoformat()}, {definition}"
    if behind is None:
        title += "; how many records these figures lack can't be told"
    elif behind:
        title += f"; {behind:,} {'record' if behind == 1 else 'records'} behind"
    print_first_that_fits(
        _table(figures, title, without, longest) for without, longest in _NARROWER
    )


def _table(figures: list[Figures], title: str, without: frozenset[str], longest: int) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption="Shares, targets and shortfalls (short) in percent; rank within the kind.",
        caption_justify="left",
    )
    for position, row in enumerate(figures):
        cells = {"scope": (row.scope, "scope"), "name": (_cut(row.name, longest), "name")}
        cells |= _cells(row, "services_with_dossiers", "used / listed")
        cells |= _cells(row, "online_processed", "online / processed")
        shown = [(text, head) for text, head in cells.values() if head not in without]
        if not position:
            for _, head in shown:
                left = head in ("scope", "name")
                table.add_column(head, no_wrap=True, justify="left" if left else "right")
        last_group = row.scope == GROUPS[-1] and row.kind is None
        table.add_row(
            *(text for text, _ in shown),
            style="bold" if row.kind is None else None,
            end_section=last_group,
        )
    return table


def _cells(row: Figures, indicator: Indicator, counted: str) -> dict[str, tuple[str, str]]:
    """Column → text and heading."""
    gap, rank = row.gaps[indicator], row.ranks[indicator]
    numerator, denominator = row.counts.fraction(indicator)
    cells = {
        counted: f"{numerator:,} / {denominator:,}",
        "%": percent(row.counts.ratio(indicator)),
        "target": target(gap.target),
        "short": percent(gap.shortfall),
        "rank": NOTHING if rank is None else str(rank),
    }
    return {f"{indicator} {head}": (text, head) for head, text in cells.items()}


def _cut(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: max(0, longest - 1)]}…"
