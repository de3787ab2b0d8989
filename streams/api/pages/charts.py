"""Where things stand in the pictures that the server draws: bars, and the course of a share.

Pure. Only places are reckoned here, with two decimals: a picture, never a figure. The templates
make SVG of them, and every picture has its numbers beside it as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from streams.domain.calendar import Period, month_and_day
from streams.domain.course import Point
from streams.domain.targets import Indicator, pace


class Bar(NamedTuple):
    """A bar of 100 by 10."""

    value: str | None
    mark: str | None
    """Where the target stands."""
    met: bool


def bar(ratio: Fraction | None, target: Fraction | None) -> Bar:
    """The bar of a share; a share that is not nothing can be seen."""
    value = None if ratio is None else f"{max(float(ratio) * 100, 0.6 if ratio else 0):.4g}"
    mark = None if target is None else f"{min(max(float(target) * 100, 0.5), 99.5):.4g}"
    return Bar(value, mark, ratio is not None and target is not None and ratio >= target)


WIDTH, HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 26


class Label(NamedTuple):
    """A text on an axis."""

    at: str
    text: str


class Chart(NamedTuple):
    """A share over a period."""

    now: list[str]
    """Paths: a line is interrupted where there is no share."""
    before: list[str]
    """The year before, on the same days of its period."""
    target: str | None
    pace: str | None
    end: tuple[str, str] | None
    """The newest point."""
    across: list[Label]
    """Percent, upwards."""
    along: list[Label]
    """Days."""


def chart(
    indicator: Indicator,
    points: Sequence[Point],
    before: Sequence[Point],
    target: Fraction | None,
    period: Period,
    name_of_day: Callable[[int], str],
    name_of_share: Callable[[int], str],
) -> Chart:
    """The chart of one indicator; ``before``: the points of the year before, if known."""
    days = max(1, period.last - period.start)

    def x(day: int, start: int = period.start) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (day - start) / days

    def y(share: Fraction | float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - float(share))

    def paths(course: Sequence[Point]) -> list[str]:
        found: list[list[str]] = [[]]
        for point in course:
            numerator, denominator = getattr(point, indicator)
            if denominator:
                place = x(point.day, course[0].day)
                found[-1].append(f"{place:.1f} {y(numerator / denominator):.1f}")
            elif found[-1]:
                found.append([])
        return [
            f"M{' '.join(line)}" if len(line) > 1 else f"M{line[0]}h1" for line in found if line
        ]

    end = None
    if points and getattr(points[-1], indicator)[1]:
        numerator, denominator = getattr(points[-1], indicator)
        end = f"{x(points[-1].day):.1f}", f"{y(numerator / denominator):.1f}"
    line = None
    if target is not None and indicator == "services_with_dossiers":
        at_last = pace(indicator, target, period._replace(end=period.last))
        line = f"M{x(period.start):.1f} {y(0):.1f}L{x(period.last):.1f} {y(at_last):.1f}"
    return Chart(
        paths(points),
        paths(before),
        None if target is None else f"{y(target):.1f}",
        line,
        end,
        [Label(f"{y(share / 100):.1f}", name_of_share(share)) for share in (0, 25, 50, 75, 100)],
        [Label(f"{x(day):.1f}", name_of_day(day)) for day in ticks(period)],
    )


def ticks(period: Period) -> list[int]:
    """The days that an axis names: the first of each month, or of each week of a month."""
    if period.kind == "month":
        return list(range(period.start, period.last + 1, 7))
    return [day for day in range(period.start, period.last + 1) if month_and_day(day)[1] == 1]


def told(points: Iterable[Point], period: Period) -> list[Point]:
    """The points that the table of a chart tells: ends of months, of weeks in a quarter, else all;
    and the last one."""

    def is_told(day: int) -> bool:
        if period.kind == "month" or day == period.end:
            return True
        if period.kind == "quarter":
            return date.fromordinal(day).isoweekday() == 7
        return month_and_day(min(day + 1, date.max.toordinal()))[1] == 1

    return [point for point in points if is_told(point.day)]
