"""What a scenario is: a deterministic timeline of records and the figures it must come out at.

Nothing of the counting rules lives here or anywhere in `streams.simulator`, so that the figures a
scenario is checked against owe nothing to the code that is checked. Nothing is kept on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

GROUPS = ("national", "ministries", "provinces")

# What each percentage divides, by the integer fields of an API row.
_RATIOS = {
    "services_with_dossiers_ratio": ("services_with_dossiers", "services_listed"),
    "online_processed_ratio": ("dossiers_processed_online", "dossiers_processed"),
    "level4_of_listed": ("level4", "listed"),
    "level34_of_listed": ("level34", "listed"),
    "level4_of_level34": ("level4", "level34"),
    "level4_of_eligible": ("eligible_level4", "eligible"),
}
_COUNTS = ("services_with_dossiers", "services_listed", "agencies_at_full_level4")
_TARGETS = {
    "target_services_with_dossiers": "services_with_dossiers",
    "target_online_processed": "online_processed",
}
_HIGHEST = "highest_services_with_dossiers_ratio"

INDICATORS = (*_RATIOS, *_COUNTS, *_TARGETS, _HIGHEST)


class Record(NamedTuple):
    """One record as a portal sends it.

    `topic` is the short name (`submissions`, `processing`, `catalogue`, `agencies`, `targets`),
    `key` the record key, `value` CloudEvents structured JSON in UTF-8.
    """

    topic: str
    key: str
    value: bytes


class Check(NamedTuple):
    """One published figure and where to look for it.

    `published` is in percent, or a count (see `is_count`), printed with `decimals` decimals.
    With `above` set, only a range was published: more than `above`, at most `published`.
    `rows` are the line numbers of the figure in reference/published_figures.csv (the header is
    line 1); empty for a figure that is only implied by published ones.
    """

    as_of: date
    scope: str
    period: str
    indicator: str
    definition: str
    published: Decimal
    decimals: int
    note: str = ""
    above: Decimal | None = None
    rows: tuple[int, ...] = ()

    @property
    def is_count(self) -> bool:
        """Whether `published` is a number of things, not percent."""
        return self.indicator in _COUNTS


class Scenario(Protocol):
    """A timeline that can be played any number of times, with the same bytes each time."""

    @property
    def name(self) -> str:
        """The name it is asked for by."""

    @property
    def description(self) -> str:
        """One line for people."""

    @property
    def total(self) -> int | None:
        """How many records there are; None if there is no end."""

    @property
    def checks(self) -> tuple[Check, ...]:
        """The published figures that hold once every record has been counted."""

    def records(self) -> Iterator[Record]:
        """The records in the order sent."""


def _ratio(row: Mapping[str, Any], indicator: str) -> Fraction | None:
    numerator, denominator = (row[field] for field in _RATIOS[indicator])
    return Fraction(100 * numerator, denominator) if denominator else None


def measure(check: Check, rows: Sequence[Mapping[str, Any]]) -> Fraction | None:
    """The exact figure `check` speaks of, in percent or as a count; None if there is none.

    `rows` are the rows of `GET /api/v1/indicators` for the check's day, period and definition,
    each with the integers `level4`, `level34`, `listed`, `eligible`, `eligible_level4` added.
    Ratios come from integers, never from the row's floats.

    Raises KeyError when a row lacks a field, ValueError when the indicator is unknown.
    """
    if check.indicator not in INDICATORS:
        raise ValueError(f"unknown indicator {check.indicator!r}")
    if check.indicator == "agencies_at_full_level4":
        agencies = [row for row in rows if row["scope"] not in GROUPS]
        return Fraction(sum(0 < row["eligible"] == row["eligible_level4"] for row in agencies))
    if check.indicator == _HIGHEST:
        kind = {"ministries": "ministry", "provinces": "province"}[check.scope]
        ratios = [
            _ratio(row, "services_with_dossiers_ratio") for row in rows if row["kind"] == kind
        ]
        return max((ratio for ratio in ratios if ratio is not None), default=None)
    row = next((row for row in rows if row["scope"] == check.scope), None)
    if row is None:
        return None
    if check.indicator in _COUNTS:
        return Fraction(row[check.indicator])
    if check.indicator in _TARGETS:
        ratio = row["targets"][_TARGETS[check.indicator]]["ratio"]
        # A target is printed decimal data, so its shortest decimal form is its exact value.
        return None if ratio is None else 100 * Fraction(str(ratio))
    return _ratio(row, check.indicator)


def rounded(value: Fraction | Decimal, decimals: int) -> Decimal:
    """`value` (not negative) rounded half up, as the publications print it."""
    scaled = Fraction(value) * 10**decimals
    return Decimal((2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)).scaleb(
        -decimals
    )


def agrees(check: Check, measured: Fraction | Decimal | None) -> bool:
    """Whether the exact `measured` figure, printed like the published one, is the published one.

    For a published range: whether it is above the lower bound and prints at most as the upper one.
    """
    if measured is None:
        return False
    printed = rounded(measured, check.decimals)
    if not check.is_count and printed in (0, 100) and measured != printed:
        return False  # "all" and "none" are statements of their own
    if check.above is None:
        return printed == check.published
    return measured > Fraction(check.above) and printed <= check.published
