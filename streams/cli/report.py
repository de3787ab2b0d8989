"""``hoso report``: the figures, from the public topic, with or without a worker."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, NamedTuple, get_args

import click
from rich import box
from rich.table import Table

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
from streams.cli.running import load_settings, run
from streams.cli.terminal import (
    NOTHING,
    percent,
    print_first_that_fits,
    say_csv,
    say_json,
    target,
)
from streams.domain.calendar import PeriodKind
from streams.domain.indicators import Figures
from streams.domain.names import in_order
from streams.domain.targets import INDICATORS, Indicator
from streams.settings import AsOf, Settings
from streams.views.report import flat_rows, report_json

Sort = Literal[
    "code",
    "name",
    "services_with_dossiers",
    "services_missing",
    "online_processed",
    "online_missing",
]
"""The names are those of the pages (``streams/api/pages/questions.py``)."""


class Selection(NamedTuple):
    """Which rows are printed, and in which order."""

    scope: str | None
    sort: Sort
    order: str | None
    limit: int | None

    def of(self, figures: list[Figures]) -> list[Figures]:
        """The rows. Raises ``Failure`` where there is no such scope."""
        missing = self.sort.endswith("_missing")
        return chosen(
            figures,
            self.scope,
            self._key,
            descending=self.order == "desc" or (self.order is None and missing),
            limit=self.limit,
        )

    def _key(self, row: Figures) -> Any:
        if self.sort == "code":
            return row.scope
        if self.sort == "name":
            return in_order(row.name)
        assert self.indicator is not None
        if self.sort.endswith("_missing"):
            return row.gaps[self.indicator].missing
        return row.counts.ratio(self.indicator)

    @property
    def indicator(self) -> Indicator | None:
        """The one that is sorted by."""
        if self.sort in ("code", "name"):
            return None
        return "services_with_dossiers" if self.sort.startswith("services") else "online_processed"


@click.command()
@period_and_definition
@click.option(
    "--as-of",
    type=DayType("today", "latest"),
    metavar="YYYY-MM-DD|today|latest",
    help="Last day that counts; latest: the latest day of any event.  [default: HOSO_AS_OF]",
)
@scope_and_limit
@click.option(
    "--sort",
    type=click.Choice(get_args(Sort)),
    default="code",
    show_default=True,
    help="Order of the agencies: a share from the lowest on, what is missing to a target from the "
    "most on. Those without the figure stand last.",
)
@click.option("--order", type=click.Choice(["asc", "desc"]), help="Another order than that.")
@format_of(
    "json is what the API answers; csv has every figure of it, ratios unrounded, and an apostrophe "
    "before text that a spreadsheet would run as a formula."
)
def report(
    period: PeriodKind,
    definition: str | None,
    as_of: AsOf | None,
    form: str,
    **selected: Any,
) -> None:
    """Print the figures of every group and agency, or of some.

    Such as the five provinces that process the least online, with what each lacks to its target:

      hoso report --scope provinces --sort online_processed --limit 5

    Read from the topics agency-months, agencies and targets alone: no worker needs to run, but
    what a worker has not processed yet does not count. How many records that is stands beside the
    figures (behind).
    """
    settings = load_settings()
    about = period, as_of or settings.as_of, definition or settings.definition
    run(_report(settings, *about, Selection(**selected), form), settings)


async def _report(
    settings: Settings,
    period: PeriodKind,
    as_of: AsOf,
    definition: str,
    selection: Selection,
    form: str,
) -> None:
    async with open_register(settings) as (register, reference):
        day = day_of_setting(as_of, register)
        ends = await register.behind.ends(ASK_SECONDS)
        figures = selection.of(register.figures(reference, definition, period, day))
        if form == "table":
            behind = register.lacking(ends)
            _print_table(figures, period, day, definition, behind, selection.indicator)
            return
        answer = report_json(register, reference, definition, period, day, ends)
    by_scope = {row["scope"]: row for row in answer["rows"]}
    answer["rows"] = [by_scope[row.scope] for row in figures]
    if form == "json":
        say_json(answer)
    else:
        say_csv(flat_rows(answer))


# What a narrower terminal goes without, in this order, and how long names may be. Sorted by one
# indicator it goes without the other before it goes without what is missing.
_FIRST: tuple[tuple[frozenset[str], int], ...] = (
    (frozenset(), 60),
    (frozenset(), 30),
    (frozenset(), 16),
    (frozenset({"short"}), 16),
    (frozenset({"short", "rank"}), 16),
)
_THEN: tuple[tuple[frozenset[str], int], ...] = (
    (frozenset({"short", "rank", "target"}), 16),
    (frozenset({"short", "rank", "target", "missing"}), 16),
    (frozenset({"short", "rank", "target", "missing"}), 12),
    (frozenset({"short", "rank", "target", "missing", "name"}), 0),
    (frozenset({"short", "rank", "target", "missing", "name", "counted"}), 0),
)
_INSTEAD: tuple[tuple[frozenset[str], int], ...] = (
    (frozenset({"other"}), 30),
    (frozenset({"other"}), 16),
    (frozenset({"other", "short"}), 16),
    (frozenset({"other", "short", "rank"}), 16),
    (frozenset({"other", "short", "rank", "target"}), 16),
    (frozenset({"other", "short", "rank", "target", "counted"}), 16),
    (frozenset({"other", "short", "rank", "target", "counted", "name"}), 0),
)


def _print_table(
    figures: list[Figures],
    period: PeriodKind,
    as_of: int,
    definition: str,
    behind: int | None,
    sorted_by: Indicator | None,
) -> None:
    title = f"{period} to {date.fromordinal(as_of).isoformat()}, {definition}{lacks(behind)}"
    other = next((one for one in INDICATORS if sorted_by not in (None, one)), None)
    print_first_that_fits(
        _table(figures, title, without, longest, other if "other" in without else None)
        for without, longest in _FIRST + (_THEN if other is None else _INSTEAD)
    )


def lacks(behind: int | None) -> str:
    """How many records figures lack, for the end of a title; empty where none."""
    if behind is None:
        return "; how many records these figures lack can't be told"
    return f"; {behind:,} {'record' if behind == 1 else 'records'} behind" if behind else ""


def _table(
    figures: list[Figures],
    title: str,
    without: frozenset[str],
    longest: int,
    left_out: Indicator | None,
) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption="Shares, targets and shortfalls (short) in percent; missing: how many more "
        "services or dossiers would meet the target; rank within the kind.",
        caption_justify="left",
    )
    for position, row in enumerate(figures):
        cells = [("scope", "scope", row.scope), ("name", "name", cut(row.name, longest))]
        for indicator in INDICATORS:
            if indicator != left_out:
                cells += _cells(row, indicator, alone="counted" in without)
        shown = [cell for cell in cells if cell[0] not in without]
        if not position:
            for _, head, _ in shown:
                left = head in ("scope", "name")
                table.add_column(head, no_wrap=True, justify="left" if left else "right")
        below = figures[position + 1 : position + 2]
        table.add_row(
            *(text for _, _, text in shown),
            style="bold" if row.kind is None else None,
            end_section=row.kind is None and any(next_.kind is not None for next_ in below),
        )
    return table


_COUNTED: dict[Indicator, tuple[str, str]] = {
    "services_with_dossiers": ("used", "listed"),
    "online_processed": ("online", "processed"),
}


def _cells(row: Figures, indicator: Indicator, *, alone: bool) -> list[tuple[str, str, str]]:
    """What a column is left out by, its heading and its text; ``alone``: shares without counts."""
    counted, of = _COUNTED[indicator]
    gap, rank = row.gaps[indicator], row.ranks[indicator]
    numerator, denominator = row.counts.fraction(indicator)
    return [
        ("counted", f"{counted} / {of}", f"{numerator:,} / {denominator:,}"),
        ("%", f"{counted} %" if alone else "%", percent(row.counts.ratio(indicator))),
        ("target", "target", target(gap.target)),
        ("short", "short", percent(gap.shortfall)),
        ("missing", "missing", NOTHING if gap.missing is None else f"{gap.missing:,}"),
        ("rank", "rank", NOTHING if rank is None else str(rank)),
    ]


def cut(name: str, longest: int) -> str:
    """``name``, of at most so many characters."""
    return name if len(name) <= longest else f"{name[: max(0, longest - 1)]}…"
