"""What prometheus/rules/figures.yml records of a day, worked out for days that no rule has seen.

Panels draw what the rules record: reading every worker's scrapes of 90 days takes Prometheus
minutes. So the exported past has the same series under the same names; a test compares the two.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import ceil

from streams.domain.calendar import period_of
from streams.domain.indicators import NATIONAL
from streams.domain.targets import GROUP_OF, INDICATORS
from streams.metrics.catalogue import Metric
from streams.metrics.collector import AgencyFigures, AgencyTargets, Part, Sample

SHARE = Metric(
    "scope:hoso_share:ratio",
    "A share of an agency, a group or the nation.",
    ("scope", "kind", "indicator", "period"),
)
TARGET = Metric(
    "scope:hoso_target:ratio", "The year's target of it.", ("scope", "kind", "indicator")
)
PACE = Metric(
    "scope:hoso_pace:ratio",
    "Where the year's share should stand on the day.",
    ("scope", "kind", "indicator"),
)
MET_AT = Metric(
    "scope:hoso_met:timestamp",
    "When the year's share was at its target or above, only while it is.",
    ("scope", "kind", "indicator"),
)
SPREAD = Metric(
    "kind:hoso_share:quantile",
    "Lowest (0), middle (0.5) and highest (1) share of a kind of agencies.",
    ("kind", "quantile", "indicator", "period"),
)
RECORDED: tuple[Metric, ...] = (SHARE, TARGET, PACE, MET_AT, SPREAD)

_GROUPS = {NATIONAL: "nation", **dict.fromkeys(GROUP_OF.values(), "group")}
_ROUNDING = 1e-12


class RecordedPast:
    """Takes every agency's parts of every day; gives an agency's series at once, and at the end
    those of groups, for which it keeps sums and shares of the days."""

    def __init__(self, days: range) -> None:
        self._days = days
        self._counts: dict[tuple[str, str, str], tuple[array[int], array[int]]] = {}
        """(scope, indicator, period) of groups → numerators and denominators by day."""
        self._shares: dict[tuple[str, str, str], list[array[float]]] = defaultdict(
            lambda: [array("d") for _ in days]
        )
        """(kind, indicator, period) → the shares of its agencies by day."""
        self._targets: dict[tuple[str, str], list[list[tuple[float, int]]]] = defaultdict(
            lambda: [[] for _ in days]
        )
        """(scope, indicator) of groups → targets of its agencies by day, each with its weight."""
        self._size: dict[str, list[int]] = defaultdict(lambda: [0] * len(days))
        """Group → its agencies by day: it has a target only while each of them has one."""

    def agency(self, day: int, ended: int, parts: Iterable[Part]) -> Iterator[Sample]:
        """The samples of one agency, of whom these are the parts as of ``day``."""
        own = dict.fromkeys(INDICATORS, (0, 0))
        code = kind = ""
        targets: dict[str, float] = {}
        for part in parts:
            if isinstance(part, AgencyFigures):
                code, kind = part.agency, part.kind
                for indicator in INDICATORS:
                    numerator, denominator = part.counted.fraction(indicator)
                    self._add(day, kind, indicator, part.period, numerator, denominator)
                    if part.period == "year":
                        own[indicator] = numerator, denominator
                    if denominator:
                        labels = code, kind, indicator, part.period
                        yield SHARE, labels, numerator / denominator
            elif isinstance(part, AgencyTargets):
                targets = dict(part.targets)
        for group in (NATIONAL, GROUP_OF[kind]):
            self._size[group][day - self._days.start] += 1
        for indicator in INDICATORS:
            if indicator in targets:
                aim = targets[indicator]
                for group in (NATIONAL, GROUP_OF[kind]):
                    known = self._targets[group, indicator][day - self._days.start]
                    known.append((aim, own[indicator][1]))
                yield from _against((code, kind, indicator), aim, own[indicator], day, ended)

    def _add(
        self, day: int, kind: str, indicator: str, period: str, numerator: int, denominator: int
    ) -> None:
        at = day - self._days.start
        for group in (NATIONAL, GROUP_OF[kind]):
            key = group, indicator, period
            if key not in self._counts:
                zeroes = bytes(8 * len(self._days))
                self._counts[key] = array("q", zeroes), array("q", zeroes)
            numerators, denominators = self._counts[key]
            numerators[at] += numerator
            denominators[at] += denominator
        if denominator:
            self._shares[kind, indicator, period][at].append(numerator / denominator)

    def groups(self, ended: Iterable[int]) -> Iterator[tuple[int, Sample]]:
        """The samples of groups, of every day, each with when its day ended."""
        for at, (day, end) in enumerate(zip(self._days, ended, strict=True)):
            for sample in self._groups(at, day, end):
                yield end, sample

    def _groups(self, at: int, day: int, ended: int) -> Iterator[Sample]:
        for (group, indicator, period), (numerators, denominators) in self._counts.items():
            kind = _GROUPS[group]
            own = numerators[at], denominators[at]
            if own[1]:
                yield SHARE, (group, kind, indicator, period), own[0] / own[1]
            if period == "year":
                aims = self._targets[group, indicator][at]
                aim = _pooled(aims) if len(aims) == self._size[group][at] else None
                if aim is not None:
                    yield from _against((group, kind, indicator), aim, own, day, ended)
        for (agency_kind, indicator, period), by_day in self._shares.items():
            shares = sorted(by_day[at])
            if shares:
                for name, value in _quantiles(shares):
                    yield SPREAD, (agency_kind, name, indicator, period), value


def _against(
    labels: tuple[str, str, str], aim: float, own: tuple[int, int], day: int, ended: int
) -> Iterator[Sample]:
    """A target, its pace, and whether the share is there."""
    year = period_of("year", day)
    yield TARGET, labels, aim
    grows = labels[2] == "services_with_dossiers"
    gone = (day - year.start) / (year.last - year.start) if grows else 1.0
    yield PACE, labels, aim * gone
    numerator, denominator = own
    if denominator and numerator / denominator >= aim - _ROUNDING:
        yield MET_AT, labels, float(ended)


def _pooled(aims: list[tuple[float, int]]) -> float | None:
    """A group's target: that which all have, else where it stands if each just meets its own."""
    if len({aim for aim, _ in aims}) == 1:
        return aims[0][0]
    weight = sum(weight for _, weight in aims)
    return sum(aim * weight for aim, weight in aims) / weight if weight else None


def _quantiles(shares: list[float]) -> Iterator[tuple[str, float]]:
    """As PromQL has them: between two values in proportion."""
    middle = (len(shares) - 1) / 2
    low, high = shares[int(middle)], shares[ceil(middle)]
    yield "0", shares[0]
    yield "0.5", low + (high - low) * (middle % 1)
    yield "1", shares[-1]
