"""Days, months and reporting periods in Asia/Ho_Chi_Minh.

Pure; may be imported by everyone. A day is an ordinal (``date.toordinal``), a month is
``year * 12 + month - 1``, so that quarters, halves and years are integer divisions of it.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")

PeriodKind = Literal["month", "quarter", "half", "year"]
PERIOD_KINDS: tuple[PeriodKind, ...] = get_args(PeriodKind)
MONTHS_IN: dict[PeriodKind, int] = {"month": 1, "quarter": 3, "half": 6, "year": 12}

_MONTH = re.compile(r"(?!0000)([0-9]{4})-(0[1-9]|1[0-2])")

DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_OFFSET_US = 7 * 3_600_000_000
# Since 1975-06-13 the country has kept UTC+7 without a break; before, the offset moved about.
_UNIFORM_SINCE_US = int(datetime(1975, 6, 13, tzinfo=ZONE).timestamp()) * 1_000_000


def day_of(instant: int) -> int:
    """The calendar day in Asia/Ho_Chi_Minh (an ordinal) of an instant in µs since the epoch."""
    if instant >= _UNIFORM_SINCE_US:
        return (instant + _OFFSET_US) // DAY_US + _EPOCH_DAY
    try:
        return (_EPOCH + timedelta(microseconds=instant)).astimezone(ZONE).toordinal()
    except OverflowError:  # the first hours of year 1 in some offsets lie in year 0
        return date.min.toordinal()


def start_of_day(day: int) -> datetime:
    """Midnight at the start of ``day`` in Asia/Ho_Chi_Minh."""
    return datetime.combine(date.fromordinal(day), datetime.min.time(), tzinfo=ZONE)


@lru_cache(maxsize=8192)
def month_and_day(day: int) -> tuple[int, int]:
    """``(month, day of the month)`` of a day; the month as ``year * 12 + month - 1``."""
    d = date.fromordinal(day)
    return d.year * 12 + d.month - 1, d.day


@lru_cache(maxsize=1024)
def first_day_of_month(month: int) -> int:
    """The ordinal of the first day of ``month`` (``year * 12 + month - 1``)."""
    return date(month // 12, month % 12 + 1, 1).toordinal()


def last_day_of_month(month: int) -> int:
    """The ordinal of the last day of ``month``."""
    if month >= 9999 * 12 + 11:
        return date.max.toordinal()
    return first_day_of_month(month + 1) - 1


def month_name(month: int) -> str:
    """``YYYY-MM``."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


def parse_month(name: str) -> int:
    """The inverse of :func:`month_name`. Raises ``ValueError`` for anything else."""
    found = _MONTH.fullmatch(name)
    if found is None:
        raise ValueError(f"month: {name!r} is not YYYY-MM")
    return int(found[1]) * 12 + int(found[2]) - 1


class Period(NamedTuple):
    """A reporting period up to an as-of day, both ends included."""

    kind: PeriodKind
    start: int
    """First day of the period."""
    end: int
    """The as-of day."""
    last: int
    """Last day of the whole period, on or after ``end``."""


def period_of(kind: PeriodKind, as_of: int) -> Period:
    """The period of ``kind`` that holds the day ``as_of``, counted up to it."""
    month, _ = month_and_day(as_of)
    span = MONTHS_IN[kind]
    first = month - month % span
    return Period(kind, first_day_of_month(first), as_of, last_day_of_month(first + span - 1))


def previous_year(as_of: int) -> int | None:
    """The same day of the year before (29 Feb → 28 Feb); None before year 1."""
    d = date.fromordinal(as_of)
    if d.year == 1:
        return None
    if (d.month, d.day) == (2, 29):
        return date(d.year - 1, 2, 28).toordinal()
    return d.replace(year=d.year - 1).toordinal()


def previous_period(kind: PeriodKind, as_of: int) -> int | None:
    """The last day of the whole period before (for a day in Q2: 31 March); None before year 1."""
    day = period_of(kind, as_of).start - 1
    return day if day >= 1 else None
