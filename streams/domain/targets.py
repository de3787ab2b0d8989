"""Targets, and how far a share is from one.

Pure, in exact arithmetic: a target is the decimal that was assigned (0.8 is 4/5, not the nearest
float), so ``missing`` never is one too many. Rules: contract, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Literal, NamedTuple

from streams.domain.calendar import Period, month_and_day

Indicator = Literal["services_with_dossiers", "online_processed"]
INDICATORS: tuple[Indicator, ...] = ("services_with_dossiers", "online_processed")

GROUP_OF: dict[str, str] = {"ministry": "ministries", "province": "provinces"}


class Gap(NamedTuple):
    """A scope's target for the year and its distance from it; None where it cannot be said."""

    target: Fraction | None
    shortfall: Fraction | None
    """max(0, target − ratio)."""
    missing: int | None
    """How many more services or dossiers would have met the target: in counts, never negative."""
    behind_pace: Fraction | None
    """max(0, pace on the as-of day − ratio)."""


class Targets:
    """The assigned targets: (scope, indicator, year) → ratio."""

    def __init__(self, assigned: Mapping[tuple[str, str, int], Fraction]) -> None:
        self._assigned = assigned

    def of(
        self, scope: str, kind: str | None, indicator: Indicator, period: Period
    ) -> Fraction | None:
        """The scope's own target for the year, else its group's, else the national one.

        ``kind`` is the agency's kind, None for a group. The year is that of the as-of day.
        """
        year = month_and_day(period.end)[0] // 12
        for candidate in (scope, GROUP_OF.get(kind or ""), "national"):
            if candidate is not None:
                target = self._assigned.get((candidate, indicator, year))
                if target is not None:
                    return target
        return None


def pace(indicator: Indicator, target: Fraction, period: Period) -> Fraction:
    """Where the share should stand on the as-of day.

    For services_with_dossiers the straight line from 0 on the period's first day to the target on
    its last; a share of processed dossiers does not grow with the year, so there it is the target.
    """
    if indicator == "online_processed":
        return target
    return target * Fraction(period.end - period.start, period.last - period.start)


def gap(
    indicator: Indicator, target: Fraction | None, share: tuple[int, int], period: Period
) -> Gap:
    """The distance of ``share`` (numerator, denominator) from ``target``."""
    numerator, denominator = share
    if target is None or denominator == 0:
        return Gap(target, None, None, None)
    ratio = Fraction(numerator, denominator)
    return Gap(
        target,
        max(Fraction(0), target - ratio),
        max(0, ceil(target * denominator) - numerator),
        max(Fraction(0), pace(indicator, target, period) - ratio),
    )
