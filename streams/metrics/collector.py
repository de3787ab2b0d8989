"""The state metrics of the register: what is shown of each agency, from its months.

Pure: knows neither who owns an agency nor how a figure is written down. A scrape gives the agencies
that the worker may show (others are simply absent); the export gives any agency on any day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streams.domain.calendar import PERIOD_KINDS, period_of, previous_year, start_of_day
from streams.domain.definitions import Definition
from streams.domain.dossier import CHANNELS
from streams.domain.indicators import Agency, Counts, counts, sums_by_kind
from streams.domain.ledger import Months
from streams.domain.targets import INDICATORS, Indicator, Targets
from streams.metrics import catalogue as metrics

Sample = tuple[metrics.Metric, tuple[str, ...], float]
"""A state metric, the values of its labels, and its value."""


class AgencyState(NamedTuple):
    """A registered agency and what the register knows of it."""

    agency: Agency
    months: Months
    seen_at: int | None
    """Broker time of its last accepted event, in ms since the epoch."""


def state_parts(
    states: Iterable[AgencyState], targets: Targets, definition: Definition, day: int
) -> Iterator[Part]:
    """Every state metric of section 5 of the contract as of ``day``, in the order of showing."""
    yield AsOf(day, definition.name)
    for state in states:
        yield from agency_parts(state, targets, definition, day)


def agency_parts(
    state: AgencyState, targets: Targets, definition: Definition, day: int
) -> Iterator[Part]:
    """What is shown of one agency as of ``day``."""
    (code, _, agency_kind), months, seen_at = state
    before = previous_year(day)
    for suffix, as_of in (("", day), ("_last_year", before)):
        if as_of is None:
            continue
        by_kind = sums_by_kind(months, as_of)
        for kind in PERIOD_KINDS:
            counted = counts(by_kind[kind], definition, kind)
            yield AgencyFigures(code, agency_kind, f"{kind}{suffix}", counted)
        if not suffix:
            yield _Listed(code, agency_kind, counted.level)
    year = period_of("year", day)
    found = ((i, targets.of(code, agency_kind, i, year)) for i in INDICATORS)
    assigned = tuple((i, float(target)) for i, target in found if target is not None)
    yield AgencyTargets(code, agency_kind, assigned, seen_at)


class AsOf(NamedTuple):
    """The as-of day (an ordinal), and the definition's name."""

    day: int
    definition: str

    def samples(self) -> Iterator[Sample]:
        yield metrics.AS_OF, (), start_of_day(self.day).timestamp()
        yield metrics.DEFINITION, (self.definition,), 1.0


class AgencyFigures(NamedTuple):
    """An agency's figures of one period."""

    agency: str
    kind: str
    period: str
    counted: Counts

    def samples(self) -> Iterator[Sample]:
        code, kind, period, counted = self
        labels = code, kind, period
        yield metrics.SERVICES_WITH_DOSSIERS, labels, counted.services_with_dossiers
        for metric, (numerator, denominator) in (
            (
                metrics.SERVICES_WITH_DOSSIERS_RATIO,
                counted.fraction("services_with_dossiers"),
            ),
            (metrics.ONLINE_PROCESSED_RATIO, counted.fraction("online_processed")),
        ):
            if denominator:
                # Division of whole numbers gives the float nearest to the fraction.
                yield metric, labels, numerator / denominator
        yield metrics.SERVICES_COUNTED, labels, counted.services_listed
        for channel, submitted, processed in zip(
            CHANNELS, counted.submitted, counted.processed, strict=True
        ):
            by_channel = code, kind, channel, period
            yield metrics.DOSSIERS_SUBMITTED, by_channel, submitted
            yield metrics.DOSSIERS_PROCESSED, by_channel, processed
        yield metrics.DOSSIERS_ON_TIME, labels, counted.on_time
        yield metrics.DOSSIERS_DUE, labels, counted.due


class _Listed(NamedTuple):
    """How many services an agency has listed at levels 1, 2, 3, 4."""

    agency: str
    kind: str
    level: tuple[int, int, int, int]

    def samples(self) -> Iterator[Sample]:
        for level, listed in enumerate(self.level, start=1):
            yield metrics.SERVICES_LISTED, (self.agency, self.kind, str(level)), listed


class AgencyTargets(NamedTuple):
    """An agency's targets, and when it was last heard of."""

    agency: str
    kind: str
    targets: tuple[tuple[Indicator, float], ...]
    seen_at: int | None
    """ms since the epoch."""

    def samples(self) -> Iterator[Sample]:
        for indicator, target in self.targets:
            yield metrics.TARGET_RATIO, (self.agency, self.kind, indicator), target
        if self.seen_at is not None:
            yield metrics.LAST_EVENT, (self.agency, self.kind), self.seen_at / 1000


Part = AsOf | AgencyFigures | _Listed | AgencyTargets
"""Samples that are shown, or not, together: they depend on nothing but the part's own values."""
