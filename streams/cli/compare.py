"""``hoso compare``: what changed between two days, from the public topic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from typing import Any, Literal, NamedTuple, get_args

import click
from rich import box
from rich.table import Table

from streams.cli.errors import Failure
from streams.cli.questions import (
    ASK_SECONDS,
    DayType,
    chosen,
    day_of_setting,
    format_of,
    open_register,
    period_and_definition,
    scope_and_limit,
)
from streams.cli.report import cut, lacks
from streams.cli.running import load_settings, run
from streams.cli.terminal import NOTHING, percent, print_first_that_fits, say_csv, say_json
from streams.domain.calendar import Period, PeriodKind, period_of
from streams.domain.indicators import Figures, Kind
from streams.domain.names import in_order
from streams.domain.targets import INDICATORS, Indicator
from streams.settings import AsOf, Settings
from streams.views.report import flat

Sort = Literal["code", "name", "services_change", "online_change"]

_COUNTED: dict[Indicator, tuple[str, str]] = {
    "services_with_dossiers": ("services_with_dossiers", "services_listed"),
    "online_processed": ("dossiers_processed_online", "dossiers_processed"),
}
"""Numerator and denominator, as the API calls them."""


class Change(NamedTuple):
    """A scope's figures on two days."""

    scope: str
    name: str
    kind: Kind | None
    before: Figures
    after: Figures

    def points(self, indicator: Indicator) -> Fraction | None:
        """The difference of the shares; None where one of the days has none."""
        first, second = (row.counts.ratio(indicator) for row in (self.before, self.after))
        return None if first is None or second is None else second - first

    def counts(self, indicator: Indicator) -> tuple[int, int]:
        """The differences of numerator and denominator."""
        (used, of), (used_then, of_then) = (
            row.counts.fraction(indicator) for row in (self.after, self.before)
        )
        return used - used_then, of - of_then


@click.command()
@click.option(
    "--from",
    "first",
    type=DayType("today", "latest"),
    metavar="YYYY-MM-DD|today|latest",
    required=True,
    help="The one day.",
)
@click.option(
    "--to",
    "last",
    type=DayType("today", "latest"),
    metavar="YYYY-MM-DD|today|latest",
    help="The other, later one.  [default: HOSO_AS_OF]",
)
@period_and_definition
@scope_and_limit
@click.option(
    "--sort",
    type=click.Choice(get_args(Sort)),
    default="code",
    show_default=True,
    help="Order of the agencies: a change in points from the most negative on. Those without one "
    "stand last.",
)
@click.option("--order", type=click.Choice(["asc", "desc"]), help="Another order than that.")
@format_of("csv and json have both shares unrounded.")
def compare(
    first: AsOf,
    last: AsOf | None,
    period: PeriodKind,
    definition: str | None,
    form: str,
    **selected: Any,
) -> None:
    """Print what changed between two days: both shares, in points and in counts.

    Each day's figures are those of its own period up to it, as they are known now. Such as a
    province beside itself a year ago:

      hoso compare --from 2021-08-25 --to 2022-08-25 --scope "thanh hoa"

    Read from the topics agency-months, agencies and targets alone: no worker needs to run.
    """
    settings = load_settings()
    days = first, last or settings.as_of
    about = definition or settings.definition, period, Selection(**selected)
    run(_compare(settings, days, *about, form), settings)


class Selection(NamedTuple):
    """Which rows are printed, and in which order."""

    scope: str | None
    sort: Sort
    order: str | None
    limit: int | None

    def of(self, changes: list[Change]) -> list[Change]:
        """The rows. Raises ``Failure`` where there is no such scope."""
        down = self.order == "desc"
        return chosen(changes, self.scope, self._key, descending=down, limit=self.limit)

    def _key(self, change: Change) -> Any:
        if self.sort == "code":
            return change.scope
        if self.sort == "name":
            return in_order(change.name)
        services = self.sort == "services_change"
        return change.points("services_with_dossiers" if services else "online_processed")


async def _compare(
    settings: Settings,
    days: tuple[AsOf, AsOf],
    definition: str,
    kind: PeriodKind,
    selection: Selection,
    form: str,
) -> None:
    async with open_register(settings) as (register, reference):
        first, last = (period_of(kind, day_of_setting(day, register)) for day in days)
        if first.end > last.end:
            raise Failure(f"--from {_day(first.end)} is after --to {_day(last.end)}")
        ends = await register.behind.ends(ASK_SECONDS)
        before, after = (
            register.figures(reference, definition, kind, period.end) for period in (first, last)
        )
        behind = register.lacking(ends)
    changes = selection.of(
        [
            Change(now.scope, now.name, now.kind, then, now)
            for then, now in zip(before, after, strict=True)
        ]
    )
    about: dict[str, Any] = {"definition": definition, "period": kind, "behind": behind}
    if form == "table":
        title = f"{kind} to {_day(first.end)}, then {_day(last.end)}, {definition}{lacks(behind)}"
        print_first_that_fits(_table(changes, title, *narrower) for narrower in _NARROWER)
    elif form == "json":
        dated = about | {"from": _period(first), "to": _period(last)}
        say_json(dated | {"rows": [_row(change) for change in changes]})
    else:
        dated = about | {"from": _day(first.end), "to": _day(last.end)}
        say_csv(dated | flat(_row(change)) for change in changes)


def _row(change: Change) -> dict[str, Any]:
    return {
        "scope": change.scope,
        "name": change.name,
        "kind": change.kind,
        **{indicator: _indicator(change, indicator) for indicator in INDICATORS},
    }


def _indicator(change: Change, indicator: Indicator) -> dict[str, Any]:
    names, points = _COUNTED[indicator], change.points(indicator)

    def figures(row: Figures) -> dict[str, Any]:
        share = row.counts.ratio(indicator)
        counts = dict(zip(names, row.counts.fraction(indicator), strict=True))
        return counts | {"ratio": None if share is None else float(share)}

    return {
        "from": figures(change.before),
        "to": figures(change.after),
        "change": {
            **dict(zip(names, change.counts(indicator), strict=True)),
            "points": None if points is None else float(100 * points),
        },
    }


def _period(period: Period) -> dict[str, str]:
    return {"start": _day(period.start), "end": _day(period.end)}


# What a narrower terminal goes without, in this order, and how long names may be.
_NARROWER: tuple[tuple[frozenset[str], int], ...] = (
    (frozenset(), 60),
    (frozenset(), 30),
    (frozenset(), 16),
    (frozenset({"of"}), 16),
    (frozenset({"of", "count"}), 16),
    (frozenset({"of", "count"}), 10),
    (frozenset({"of", "count", "name"}), 0),
    (frozenset({"of", "count", "name", "from"}), 0),
    (frozenset({"of", "count", "name", "from", "to"}), 0),
)


def _table(changes: list[Change], title: str, without: frozenset[str], longest: int) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption="Shares on both days in percent, their difference in percentage points, and by "
        "how many there are more or fewer.",
        caption_justify="left",
    )
    columns = (
        ("", "scope", lambda change: change.scope),
        ("name", "name", lambda change: cut(change.name, longest)),
        *_columns("services_with_dossiers", ("used", "listed")),
        *_columns("online_processed", ("online", "processed")),
    )
    shown = [column for column in columns if column[0] not in without]
    for _, head, _ in shown:
        left = head in ("scope", "name")
        table.add_column(head, no_wrap=True, justify="left" if left else "right")
    for position, change in enumerate(changes):
        below = changes[position + 1 : position + 2]
        table.add_row(
            *(text(change) for _, _, text in shown),
            style="bold" if change.kind is None else None,
            end_section=change.kind is None and any(row.kind is not None for row in below),
        )
    return table


def _columns(indicator: Indicator, counted: tuple[str, str]) -> Iterator[tuple[str, str, Any]]:
    """What a column is left out by, its heading, and its text of a change."""
    yield "from", f"{counted[0]} %", lambda change: percent(change.before.counts.ratio(indicator))
    yield "to", "then %", lambda change: percent(change.after.counts.ratio(indicator))
    yield "points", "points", lambda change: _signed_points(change.points(indicator))
    yield "count", counted[0], lambda change: _signed(change.counts(indicator)[0])
    yield "of", counted[1], lambda change: _signed(change.counts(indicator)[1])


def _signed_points(points: Fraction | None) -> str:
    if points is None:
        return NOTHING
    return percent(points) if points <= 0 else f"+{percent(points)}"


def _signed(count: int) -> str:
    return f"{count:+,}" if count else "0"


def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()
