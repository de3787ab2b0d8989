"""Days since 1970-01-01, months and the four kinds of periods, as the audit counts them."""

from __future__ import annotations

from datetime import date, timedelta

KINDS = {"month": 1, "quarter": 3, "half": 6, "year": 12}
"""Kind of period → its length in months."""

_EPOCH = date(1970, 1, 1)


def to_day(number: int) -> date:
    """The date of a day counted from 1970-01-01. Raises OverflowError outside years 1 to 9999."""
    return _EPOCH + timedelta(days=number)


def number_of(day: date) -> int:
    """The inverse of :func:`to_day`."""
    return (day - _EPOCH).days


def start_of(kind: str, day: date) -> date:
    """The first day of the period of ``kind`` that holds ``day``."""
    length = KINDS[kind]
    return date(day.year, (day.month - 1) // length * length + 1, 1)


def end_of(kind: str, day: date) -> date:
    """The last day of the period of ``kind`` that holds ``day``."""
    start = start_of(kind, day)
    month = start.month + KINDS[kind]
    if month <= 12:
        return date(start.year, month, 1) - timedelta(days=1)
    return date(start.year, 12, 31)


def year_before(day: date) -> date | None:
    """The same day of the year before, 28 February for 29; None before year 1."""
    if day.year == 1:
        return None
    if day.month == 2 and day.day == 29:
        return date(day.year - 1, 2, 28)
    return day.replace(year=day.year - 1)


def period_before(kind: str, day: date) -> date | None:
    """The last day of the period before; None before year 1."""
    start = start_of(kind, day)
    return None if start == date.min else start - timedelta(days=1)
