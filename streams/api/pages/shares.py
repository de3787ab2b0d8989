"""The rows of the pages: what is known of a scope, ready to be written, sorted and filtered.

Pure. Figures stay exact fractions; :mod:`streams.api.pages.written` makes text of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from streams.api.pages.charts import Bar, bar
from streams.api.pages.questions import PageQuery
from streams.api.pages.state import State
from streams.domain.calendar import Period
from streams.domain.indicators import Counts, Figures, group_key
from streams.domain.names import in_order, matches
from streams.domain.targets import INDICATORS, Gap, Indicator, pace


class Share(NamedTuple):
    """One of the two indicators of a scope."""

    indicator: Indicator
    numerator: int
    denominator: int
    gap: Gap
    pace: Fraction | None
    """Where it should stand on the as-of day."""
    year_before: Fraction | None
    period_before: Fraction | None
    since: Fraction | None
    """What it was on the day that changes are counted from, in the same period."""
    rank: int | None
    bar: Bar

    @property
    def ratio(self) -> Fraction | None:
        return Fraction(self.numerator, self.denominator) if self.denominator else None

    @property
    def pace_mark(self) -> str | None:
        """Where the pace stands on a bar; None where it is the target."""
        if self.pace is None or self.pace == self.gap.target:
            return None
        return f"{float(self.pace) * 100:.4g}"

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where that cannot be said."""
        return None if self.gap.shortfall is None else not self.gap.missing

    def change(self, before: Fraction | None) -> Fraction | None:
        """What was won since it stood at ``before``."""
        return None if before is None or self.ratio is None else self.ratio - before


class Row(NamedTuple):
    """A scope: a group or an agency."""

    figures: Figures
    services: Share
    online: Share
    state: str | None
    """What is the matter with its figures: the key of a text."""
    seen_at: int | None

    @property
    def scope(self) -> str:
        return self.figures.scope

    @property
    def is_group(self) -> bool:
        return self.figures.kind is None

    @property
    def nothing(self) -> bool:
        """Whether nothing is known at all, so that not even counts may be shown."""
        return self.state == "unheard"


def rows_of(
    figures: Iterable[Figures], state: State, since: Mapping[str, Counts] | None = None
) -> list[Row]:
    """The rows in the order of the figures. ``since``: the counts on the day to compare with."""
    return [_row(row, state, since or {}) for row in figures]


def _row(figures: Figures, state: State, since: Mapping[str, Counts]) -> Row:
    group = figures.kind is None
    before = since.get(group_key(figures.scope) if group else figures.scope)
    services, online = (_share(figures, i, state.period, before) for i in INDICATORS)
    scope = figures.scope
    return Row(figures, services, online, state.of(scope), state.seen_at(scope))


def _share(figures: Figures, indicator: Indicator, period: Period, before: Counts | None) -> Share:
    def then(counts: Counts | None) -> Fraction | None:
        return None if counts is None else counts.ratio(indicator)

    gap = figures.gaps[indicator]
    ratio = figures.counts.ratio(indicator)
    aim = None if gap.target is None else pace(indicator, gap.target, period)
    return Share(
        indicator,
        *figures.counts.fraction(indicator),
        gap,
        aim,
        then(figures.previous_year),
        then(figures.previous_period),
        then(before),
        figures.ranks[indicator],
        bar(ratio, gap.target),
    )


_KEYS: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: in_order(row.figures.name),
    "code": lambda row: row.scope,
    "services_with_dossiers": lambda row: row.services.ratio,
    "services_missing": lambda row: row.services.gap.missing,
    "services_change": lambda row: row.services.change(row.services.since),
    "services_listed": lambda row: row.services.denominator,
    "online_processed": lambda row: row.online.ratio,
    "online_missing": lambda row: row.online.gap.missing,
    "online_change": lambda row: row.online.change(row.online.since),
    "dossiers_processed": lambda row: row.online.denominator,
    "last_event": lambda row: row.seen_at,
}


def arranged(rows: Iterable[Row], query: PageQuery, sort: str) -> list[Row]:
    """Agencies that the question is for, in the order it asks for.

    Who has no such figure stands last either way; those that are equal stand by name.
    """
    key = _KEYS[sort]
    named = sorted(
        (row for row in rows if asked_for(row, query)),
        key=lambda row: in_order(row.figures.name),
    )
    known = [row for row in named if key(row) is not None]
    known.sort(key=key, reverse=query.descending(sort))
    return known + [row for row in named if key(row) is None]


def asked_for(row: Row, query: PageQuery) -> bool:
    """Whether the filter lets a row through; groups go by their names, too."""
    return matches(row.scope, row.figures.name, query.q)


def by_kind(rows: Iterable[Row]) -> tuple[list[Row], dict[str, list[Row]]]:
    """The groups, and the agencies of ``ministries`` and ``provinces``."""
    groups: list[Row] = []
    agencies: dict[str, list[Row]] = {"ministries": [], "provinces": []}
    for row in rows:
        if row.is_group:
            groups.append(row)
        else:
            agencies["ministries" if row.figures.kind == "ministry" else "provinces"].append(row)
    return groups, agencies
