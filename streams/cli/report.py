"""``hoso report``: the figures, from the public topic, with or without a worker."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

import click
import orjson
from rich.table import Table

from schemas.topics import Topic
from streams.cli.running import load_settings, require_topics, run
from streams.cli.terminal import NOTHING, out, percent
from streams.domain.calendar import PERIOD_KINDS, ZONE, PeriodKind
from streams.domain.definitions import DEFINITIONS
from streams.domain.indicators import GROUPS, Figures
from streams.domain.targets import Indicator
from streams.reference import Reference
from streams.register import Register
from streams.report import report_json
from streams.settings import AsOf, Settings


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
    help="json is what the API answers; csv has every figure of it, ratios unrounded.",
)
def report(period: PeriodKind, as_of: AsOf | None, definition: str | None, form: str) -> None:
    """Print the figures of every group and agency.

    Read from the topics agency-months, agencies and targets alone: no worker needs to run, but
    what a worker has not taken in yet does not count.
    """
    settings = load_settings()
    run(_report(settings, period, as_of or settings.as_of, definition or settings.definition, form))


@asynccontextmanager
async def open_register(settings: Settings) -> AsyncIterator[tuple[Register, Reference]]:
    """Everything published so far; raises ``Failure`` where the topics are not as they should."""
    names = (Topic.agency_months, Topic.agencies, Topic.targets)
    await require_topics(settings, *(settings.topic(name) for name in names))
    register, reference = Register(settings), Reference(settings)
    try:
        await register.start()
        await reference.start()
        yield register, reference
    finally:
        await reference.stop()
        await register.stop()


def day_of_setting(as_of: AsOf, register: Register) -> int:
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
        if form == "table":
            figures = register.figures(reference, definition, period, day)
            _print_table(figures, period, day, definition)
            return
        answer = report_json(register, reference, definition, period, day)
    if form == "json":
        click.echo(orjson.dumps(answer).decode())
    else:
        _print_csv(answer)


def _print_table(figures: list[Figures], period: PeriodKind, as_of: int, definition: str) -> None:
    table = Table(
        title=f"{period} to {date.fromordinal(as_of).isoformat()}, {definition}",
        title_justify="left",
        header_style="bold",
        caption="shares, targets and shortfalls (short) in %; rank within the kind",
        caption_justify="left",
    )
    table.add_column("scope", no_wrap=True)
    table.add_column("name", overflow="ellipsis", no_wrap=True, min_width=12)
    for title in (
        "services used / listed", "%", "target", "short", "rank",
        "online / processed", "%", "target", "short", "rank",
    ):  # fmt: skip
        table.add_column(title, justify="right", no_wrap=True)
    for row in figures:
        counts = row.counts
        last_group = row.scope == GROUPS[-1] and row.kind is None
        table.add_row(
            row.scope,
            row.name,
            f"{counts.services_with_dossiers:,} / {counts.services_listed:,}",
            *_shares(row, "services_with_dossiers"),
            f"{counts.dossiers_processed_online:,} / {counts.dossiers_processed:,}",
            *_shares(row, "online_processed"),
            style="bold" if row.kind is None else None,
            end_section=last_group,
        )
    out().print(table)


def _shares(row: Figures, indicator: Indicator) -> tuple[str, str, str, str]:
    gap, rank = row.gaps[indicator], row.ranks[indicator]
    return (
        percent(row.counts.ratio(indicator)),
        percent(gap.target, 0 if gap.target is None or (gap.target * 100).denominator == 1 else 2),
        percent(gap.shortfall),
        NOTHING if rank is None else str(rank),
    )


def _print_csv(answer: Mapping[str, Any]) -> None:
    period = answer["period"]
    about = {
        "as_of": answer["as_of"],
        "period": period["kind"],
        "period_start": period["start"],
        "definition": answer["definition"],
    }
    writer: csv.DictWriter[str] | None = None
    for row in answer["rows"]:
        flat = about | _flat(row)
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(flat), lineterminator="\n")
            writer.writeheader()
        writer.writerow(flat)


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}_")
        else:
            flat[prefix + name] = value
    return flat
