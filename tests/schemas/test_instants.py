"""Instants are exact integers, for every datetime and every offset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from schemas.instants import Timestamp, epoch_us

PARSE = TypeAdapter[datetime](Timestamp).validate_json
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

offsets = st.integers(-(24 * 60 - 1), 24 * 60 - 1)


def by_subtraction(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1)


@given(st.datetimes(), offsets)
def test_the_epoch_number_of_a_parsed_timestamp_is_its_distance_from_1970(
    local: datetime, minutes: int
) -> None:
    aware = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    parsed = PARSE(f'"{aware.isoformat()}"')
    assert epoch_us(parsed) == epoch_us(aware) == by_subtraction(aware)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T07:00:00+07:00", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2022-01-05T08:59:58+07:00", 1_641_347_998_000_000),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000_000),
        ("9999-12-31T23:59:59.999999-23:59", 253_402_387_139_999_999),
        ("2022-01-05T01:59:58.0000019Z", 1_641_347_998_000_001),
    ],
)
def test_the_ends_of_the_calendar_do_not_overflow(text: str, expected: int) -> None:
    assert epoch_us(PARSE(f'"{text}"')) == expected


def test_a_zone_whose_offset_changes_is_not_remembered() -> None:
    zone = ZoneInfo("Europe/Paris")
    for month in (1, 7, 1):
        instant = datetime(2022, month, 1, tzinfo=zone)
        assert epoch_us(instant) == by_subtraction(instant)


def test_a_datetime_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="no offset"):
        epoch_us(datetime(2022, 1, 5))  # noqa: DTZ001
