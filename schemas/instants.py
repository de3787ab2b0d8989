"""Timestamps and dates as the wire has them, and instants as exact integers.

The checks are pydantic-core schemas, so they run in Rust and cost no Python call per event.
Imports nothing of this project.

A timestamp is an RFC 3339 `date-time` (section 5.6) with `T`, and with an offset, as CloudEvents
1.0 section 3.1 (type system, Timestamp) and JSON Schema's `date-time` have it. `t` and `z` are
allowed by RFC 3339; a space for the `T` is allowed only where an application agrees to it, and
this one does not. `-00:00` (section 4.3) is an instant in UTC and passes. Leap seconds
(`23:59:60`) are refused: no instant of the calendar used here stands for them. Digits beyond the
microsecond are cut off, not rounded.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Annotated, Any, Final

from pydantic import GetPydanticSchema, WithJsonSchema
from pydantic_core import CoreSchema, TzInfo, core_schema

RFC3339_PATTERN: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
DATE_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

VIETNAM: Final = timezone(timedelta(hours=7))
"""Asia/Ho_Chi_Minh, as a fixed offset: only used here for the two ends of the calendar."""

FIRST_INSTANT: Final = datetime(1, 1, 1, tzinfo=VIETNAM)
LAST_INSTANT: Final = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=VIETNAM)

LAST_RECORD_TIME: Final = 253_402_275_599_999
"""`LAST_INSTANT` in milliseconds since the epoch."""


def record_time(timestamp: int | None) -> int | None:
    """A record's timestamp in ms since the epoch; None if it has none, or one that is no time.

    Only a topic with LogAppendTime has the broker's time. Elsewhere it is whatever the producer
    wrote: Kafka's -1 for none, nothing at all in the oldest message format, or microseconds where
    milliseconds belong (year 58873). What lies outside 1970 to 9999 is no time of a record.
    """
    return timestamp if timestamp is not None and 0 <= timestamp <= LAST_RECORD_TIME else None


def _timestamp_schema(**bounds: Any) -> CoreSchema:
    """An RFC 3339 string in JSON; from Python also an aware datetime.

    The pattern goes first because pydantic's own parser also takes unix numbers in strings, plain
    dates, times without seconds and a space for the `T`.
    """
    parsed = core_schema.datetime_schema(strict=False, tz_constraint="aware", **bounds)
    given = core_schema.datetime_schema(strict=True, tz_constraint="aware", **bounds)
    wire = core_schema.chain_schema(
        [core_schema.str_schema(strict=True, pattern=RFC3339_PATTERN), parsed]
    )
    return core_schema.json_or_python_schema(
        json_schema=wire, python_schema=core_schema.union_schema([given, wire])
    )


def _date_schema() -> CoreSchema:
    wire = core_schema.chain_schema(
        [
            core_schema.str_schema(strict=True, pattern=DATE_PATTERN),
            core_schema.date_schema(strict=False),
        ]
    )
    given = core_schema.date_schema(strict=True)
    return core_schema.json_or_python_schema(
        json_schema=wire, python_schema=core_schema.union_schema([given, wire])
    )


_DATE_TIME: Final = WithJsonSchema({"type": "string", "format": "date-time"})

Timestamp = Annotated[
    datetime, GetPydanticSchema(lambda _source, _handler: _timestamp_schema()), _DATE_TIME
]
"""Any RFC 3339 instant of the years 0001 to 9999, by its own offset."""

DatedInstant = Annotated[
    datetime,
    GetPydanticSchema(
        lambda _source, _handler: _timestamp_schema(ge=FIRST_INSTANT, le=LAST_INSTANT)
    ),
    _DATE_TIME,
]
"""A `Timestamp` that has a calendar day in Viet Nam, as every instant that is counted must.

Without this, `0001-01-01T00:00:00+08:00` would pass here and fail where its day is taken.
"""

CalendarDay = Annotated[
    date,
    GetPydanticSchema(lambda _source, _handler: _date_schema()),
    WithJsonSchema({"type": "string", "format": "date"}),
]
"""A day written strictly `YYYY-MM-DD` (RFC 3339 `full-date`)."""

_DAY_US: Final = 86_400_000_000
_EPOCH_DAY_US: Final = datetime(1970, 1, 1, tzinfo=UTC).toordinal() * _DAY_US
_FIXED_OFFSETS_US: Final[dict[tzinfo, int]] = {}


def epoch_us(instant: datetime) -> int:
    """Microseconds from 1970-01-01T00:00:00Z to `instant`; negative before.

    Exact integer arithmetic: no float, and no overflow for any aware datetime, whatever its
    offset. Raises ValueError for a datetime without an offset.

    Faster than subtracting datetimes, which asks the offset object twice for a timedelta. Fixed
    offsets are remembered (there are at most 2,879 that the wire can express).
    """
    zone = instant.tzinfo
    offset_us = _FIXED_OFFSETS_US.get(zone) if zone is not None else None
    if offset_us is None:
        offset = instant.utcoffset()
        if offset is None:
            raise ValueError(f"{instant!r} has no offset from UTC, so it is no instant")
        offset_us = offset // timedelta(microseconds=1)
        if isinstance(zone, TzInfo):
            _FIXED_OFFSETS_US[zone] = offset_us
    return (
        instant.toordinal() * _DAY_US
        + ((instant.hour * 60 + instant.minute) * 60 + instant.second) * 1_000_000
        + instant.microsecond
        - offset_us
        - _EPOCH_DAY_US
    )
