"""Figures: sums of ledger cells for a scope, period and definition, exact to the last dossier.

Pure. Counts are integers and ratios are fractions; a float appears only where a figure is printed.
Groups pool numerators and denominators (contract, section 4). Rows of a report stand in the order
national, ministries, provinces, then agencies by code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from operator import add
from typing import Literal, NamedTuple

from streams.domain import targets
from streams.domain.calendar import (
    MONTHS_IN,
    PERIOD_KINDS,
    Period,
    PeriodKind,
    month_and_day,
    period_of,
    previous_period,
    previous_year,
)
from streams.domain.catalogue import LEVELS
from streams.domain.definitions import COLUMN, COLUMNS, STOCK_COLUMNS, Definition, used_column
from streams.domain.dossier import CHANNELS
from streams.domain.ledger import Months
from streams.domain.targets import GROUP_OF, INDICATORS, Gap, Indicator, Targets

Kind = Literal["ministry", "province"]
NATIONAL = "national"
GROUPS: tuple[str, ...] = (NATIONAL, *GROUP_OF.values())


class Agency(NamedTuple):
    """A registered agency."""

    code: str
    name: str
    kind: Kind


def ratio(numerator: int, denominator: int) -> Fraction | None:
    """The exact share, or None where there is nothing to divide by (never 0)."""
    return Fraction(numerator, denominator) if denominator else None


class Counts(NamedTuple):
    """The whole numbers behind every figure of a scope."""

    services_listed: int
    """At the definition's levels on the as-of day: the denominator of services_with_dossiers."""
    services_with_dossiers: int
    dossiers_processed: int
    dossiers_processed_online: int
    processed: tuple[int, int, int]
    """dossiers_processed by channel (online, in_person, postal), whatever the level."""
    submitted: tuple[int, int, int]
    due: int
    on_time: int
    level: tuple[int, int, int, int]
    """Services listed at levels 1, 2, 3, 4 on the as-of day."""
    eligible: int
    eligible_level4: int

    @property
    def listed(self) -> int:
        return sum(self.level)

    @property
    def level34(self) -> int:
        return self.level[2] + self.level[3]

    @property
    def level4(self) -> int:
        return self.level[3]

    def ratio(self, indicator: Indicator) -> Fraction | None:
        """One of the two indicators."""
        return ratio(*self.fraction(indicator))

    def fraction(self, indicator: Indicator) -> tuple[int, int]:
        """Numerator and denominator of an indicator, not reduced."""
        if indicator == "services_with_dossiers":
            return self.services_with_dossiers, self.services_listed
        return self.dossiers_processed_online, self.dossiers_processed


class Sums(NamedTuple):
    """A scope's ledger added up, per column."""

    flow: list[int]
    """From the period's first day to its as-of day."""
    stock: list[int]
    """From the beginning to the as-of day; the stock columns only, the others are 0."""


def sums(months: Months, period: Period) -> Sums:
    """The sums of one agency's cells for ``period``."""
    return Sums(months.total(period.start, period.end), months.total(1, period.end, STOCK_COLUMNS))


def sums_by_kind(months: Months, as_of: int) -> dict[PeriodKind, Sums]:
    """The sums of one agency's cells for the periods of every kind up to ``as_of``.

    The same as :func:`sums` of each, but the periods share what they have in common: a longer one
    is the whole months before the shorter one's start, and the shorter one.
    """
    number, day = month_and_day(as_of)
    before = [month.totals for at, month in months.items() if at < number]
    begun = _zeroes()
    month = months.get(number)
    if month is not None:
        for column, cells in month.cells.items():
            begun[column] = sum(cells[: day + 1])
    low, high = STOCK_COLUMNS.start, STOCK_COLUMNS.stop
    stock = _zeroes()
    stock[low:high] = map(sum, zip(begun[low:high], *[t[low:high] for t in before], strict=True))
    flow, first = begun, number
    found: dict[PeriodKind, Sums] = {}
    for kind in PERIOD_KINDS:
        start = number - number % MONTHS_IN[kind]
        whole = [months[at].totals for at in range(start, first) if at in months]
        if whole:
            flow = list(map(sum, zip(flow, *whole, strict=True)))
        first = start
        found[kind] = Sums(flow, stock)
    return found


def pool(parts: Iterable[Sums]) -> Sums:
    """A group's sums: cells are additive, so numerators and denominators are pooled."""
    flow, stock = _zeroes(), _zeroes()
    for part in parts:
        flow = list(map(add, flow, part.flow))
        stock = list(map(add, stock, part.stock))
    return Sums(flow, stock)


def counts(of: Sums, definition: Definition, kind: PeriodKind) -> Counts:
    """The counts that ``definition`` reads from sums over a period of ``kind``."""
    flow, stock = of

    def by_channel(prefix: str) -> tuple[int, int, int]:
        at = COLUMN[f"{prefix}_{CHANNELS[0]}"]
        return flow[at], flow[at + 1], flow[at + 2]

    level1 = STOCK_COLUMNS.start
    level = stock[level1], stock[level1 + 1], stock[level1 + 2], stock[level1 + 3]
    processed = by_channel(definition.processed)
    return Counts(
        services_listed=sum(level[at - 1] for at in LEVELS if at in definition.levels),
        services_with_dossiers=flow[COLUMN[used_column(definition.name, kind)]],
        dossiers_processed=sum(processed),
        dossiers_processed_online=flow[COLUMN[definition.online]],
        processed=processed,
        submitted=by_channel("submitted"),
        due=flow[COLUMN["due"]],
        on_time=flow[COLUMN["on_time"]],
        level=level,
        eligible=stock[COLUMN["eligible"]],
        eligible_level4=stock[COLUMN["eligible_level4"]],
    )


def _zeroes() -> list[int]:
    return [0] * len(COLUMNS)


class Figures(NamedTuple):
    """Everything the register says of one scope, period and definition."""

    scope: str
    name: str
    kind: Kind | None
    counts: Counts
    previous_year: Counts | None
    previous_period: Counts | None
    gaps: dict[Indicator, Gap]
    ranks: dict[Indicator, int | None]


def ranks(shares: Mapping[str, Fraction | None]) -> dict[str, int | None]:
    """Rank by share, highest first; ties share a rank (1, 1, 3); no share, no rank."""
    ordered = sorted((share for share in shares.values() if share is not None), reverse=True)
    first_place: dict[Fraction, int] = {}
    for place, share in enumerate(ordered, start=1):
        first_place.setdefault(share, place)
    return {scope: None if share is None else first_place[share] for scope, share in shares.items()}


GROUP_NAMES = {
    NATIONAL: "Cả nước",
    "ministries": "Các bộ, ngành",
    "provinces": "Các tỉnh, thành phố",
}


def counts_on(
    day: int,
    agencies: Iterable[Agency],
    ledgers: Mapping[str, Months],
    definition: Definition,
    kind: PeriodKind,
) -> dict[str, Counts]:
    """The counts of every agency by code, and of every group by its :func:`group_key`."""
    period, listed = period_of(kind, day), list(agencies)
    own = {a.code: sums(ledgers.get(a.code, _NO_MONTHS), period) for a in listed}
    for group in GROUPS:
        own[group_key(group)] = pool(
            own[a.code] for a in listed if group in (NATIONAL, GROUP_OF[a.kind])
        )
    return {key: counts(of, definition, kind) for key, of in own.items()}


def report(
    agencies: Iterable[Agency],
    ledgers: Mapping[str, Months],
    assigned: Targets,
    definition: Definition,
    kind: PeriodKind,
    as_of: int,
) -> list[Figures]:
    """The figures of every group and agency; an agency without a ledger counts nothing."""
    listed = sorted(agencies, key=lambda agency: agency.code)
    period = period_of(kind, as_of)

    def at(day: int) -> dict[str, Counts]:
        return counts_on(day, listed, ledgers, definition, kind)

    now = at(as_of)
    day_before = previous_year(as_of), previous_period(kind, as_of)
    year_before, period_before = (None if day is None else at(day) for day in day_before)
    places: dict[Indicator, dict[str, int | None]] = {
        indicator: {
            code: rank
            for group in GROUP_OF
            for code, rank in ranks(
                {a.code: now[a.code].ratio(indicator) for a in listed if a.kind == group}
            ).items()
        }
        for indicator in INDICATORS
    }

    def row(key: str, scope: str, name: str, agency_kind: Kind | None) -> Figures:
        return Figures(
            scope,
            name,
            agency_kind,
            now[key],
            year_before[key] if year_before is not None else None,
            period_before[key] if period_before is not None else None,
            {
                indicator: targets.gap(
                    indicator,
                    assigned.of(scope, agency_kind, indicator, period),
                    now[key].fraction(indicator),
                    period,
                )
                for indicator in INDICATORS
            },
            {indicator: places[indicator].get(key) for indicator in INDICATORS},
        )

    return [row(group_key(group), group, GROUP_NAMES[group], None) for group in GROUPS] + [
        row(agency.code, agency.code, agency.name, agency.kind) for agency in listed
    ]


def group_key(group: str) -> str:
    """The key of a group: a space cannot stand in a code, so no agency is mistaken for one."""
    return f" {group}"


_NO_MONTHS = Months()
