"""Days, months and periods, as sentences."""

from __future__ import annotations

from datetime import date

import pytest

from streams.domain.calendar import (
    PERIOD_KINDS,
    PeriodKind,
    day_of,
    first_day_of_month,
    last_day_of_month,
    month_and_day,
    month_name,
    parse_month,
    period_of,
    previous_period,
    previous_year,
    start_of_day,
)
from tests.domain.register import instant


def _ordinal(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def _text(day: int | None) -> str | None:
    return None if day is None else date.fromordinal(day).isoformat()


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("2022-01-05T00:00:00+07:00", "2022-01-05"),
        ("2022-01-05T23:59:59.999999+07:00", "2022-01-05"),
        ("2022-01-04T16:59:59.999999Z", "2022-01-04"),
        ("2022-01-04T17:00:00Z", "2022-01-05"),
        ("2021-12-31T17:00:00+00:00", "2022-01-01"),
        ("2022-01-04T06:00:00-11:00", "2022-01-05"),
        ("2022-01-05T06:59:59+14:00", "2022-01-04"),
        ("2020-02-28T17:00:00Z", "2020-02-29"),
    ],
)
def test_a_day_begins_at_midnight_in_viet_nam(said: str, day: str) -> None:
    assert _text(day_of(instant(said))) == day


@pytest.mark.parametrize(
    ("said", "day"),
    [
        # The south kept UTC+8 from 1960 until 13 June 1975.
        ("1974-12-31T15:59:59Z", "1974-12-31"),
        ("1974-12-31T16:00:00Z", "1975-01-01"),
        ("1975-06-12T15:59:59Z", "1975-06-12"),
        # Clocks went back at midnight, from 13 June 00:00 to 12 June 23:00.
        ("1975-06-12T16:00:00Z", "1975-06-12"),
        ("1975-06-12T16:59:59.999999Z", "1975-06-12"),
        ("1975-06-12T17:00:00Z", "1975-06-13"),
        # UTC+7 between 1955 and 1959, local mean time (+7:06:30) before 1911.
        ("1956-05-01T16:59:59Z", "1956-05-01"),
        ("1956-05-01T17:00:00Z", "1956-05-02"),
        ("1900-01-01T16:53:29Z", "1900-01-01"),
        ("1900-01-01T16:53:30Z", "1900-01-02"),
    ],
)
def test_before_1975_a_day_begins_when_it_did_then(said: str, day: str) -> None:
    assert _text(day_of(instant(said))) == day


def test_the_first_hours_of_year_one_fall_on_its_first_day() -> None:
    assert _text(day_of(instant("0001-01-01T00:00:00+14:00"))) == "0001-01-01"


def test_a_day_starts_at_the_instant_that_first_falls_on_it() -> None:
    for day in ("2022-01-05", "2020-02-29", "1960-01-02"):
        start = instant(start_of_day(_ordinal(day)).isoformat())
        assert _text(day_of(start)) == day
        assert day_of(start - 1) == _ordinal(day) - 1


@pytest.mark.parametrize(
    ("kind", "as_of", "start", "last"),
    [
        ("month", "2020-02-29", "2020-02-01", "2020-02-29"),
        ("month", "2021-02-28", "2021-02-01", "2021-02-28"),
        ("month", "2022-12-31", "2022-12-01", "2022-12-31"),
        ("quarter", "2022-03-31", "2022-01-01", "2022-03-31"),
        ("quarter", "2022-04-01", "2022-04-01", "2022-06-30"),
        ("quarter", "2022-08-25", "2022-07-01", "2022-09-30"),
        ("quarter", "2022-12-31", "2022-10-01", "2022-12-31"),
        ("half", "2022-06-30", "2022-01-01", "2022-06-30"),
        ("half", "2022-07-01", "2022-07-01", "2022-12-31"),
        ("year", "2022-01-01", "2022-01-01", "2022-12-31"),
        ("year", "2022-08-25", "2022-01-01", "2022-12-31"),
        ("year", "9999-12-31", "9999-01-01", "9999-12-31"),
    ],
)
def test_a_period_runs_from_its_first_day_to_the_as_of_day(
    kind: PeriodKind, as_of: str, start: str, last: str
) -> None:
    period = period_of(kind, _ordinal(as_of))
    assert (_text(period.start), _text(period.end), _text(period.last)) == (start, as_of, last)
    assert period.kind == kind


@pytest.mark.parametrize(
    ("as_of", "before"),
    [
        ("2022-08-25", "2021-08-25"),
        ("2020-02-29", "2019-02-28"),
        ("2024-02-29", "2023-02-28"),
        ("2021-02-28", "2020-02-28"),
        ("2021-03-01", "2020-03-01"),
        ("2022-01-01", "2021-01-01"),
        ("0002-01-01", "0001-01-01"),
        ("0001-12-31", None),
    ],
)
def test_the_year_before_is_counted_to_the_same_day(as_of: str, before: str | None) -> None:
    assert _text(previous_year(_ordinal(as_of))) == before


@pytest.mark.parametrize(
    ("kind", "as_of", "start", "end"),
    [
        ("month", "2022-03-31", "2022-02-01", "2022-02-28"),
        ("month", "2020-03-01", "2020-02-01", "2020-02-29"),
        ("month", "2022-01-15", "2021-12-01", "2021-12-31"),
        ("quarter", "2022-04-01", "2022-01-01", "2022-03-31"),
        ("quarter", "2022-05-10", "2022-01-01", "2022-03-31"),
        ("quarter", "2022-02-10", "2021-10-01", "2021-12-31"),
        ("half", "2022-08-25", "2022-01-01", "2022-06-30"),
        ("half", "2022-06-30", "2021-07-01", "2021-12-31"),
        ("year", "2022-08-25", "2021-01-01", "2021-12-31"),
    ],
)
def test_the_period_before_is_counted_whole(
    kind: PeriodKind, as_of: str, start: str, end: str
) -> None:
    day = previous_period(kind, _ordinal(as_of))
    assert day is not None
    before = period_of(kind, day)
    assert (_text(before.start), _text(before.end)) == (start, end)
    assert before.last == before.end


@pytest.mark.parametrize("kind", PERIOD_KINDS)
def test_there_is_no_period_before_the_first(kind: PeriodKind) -> None:
    assert previous_period(kind, _ordinal("0001-01-15")) is None


def test_a_month_knows_its_days_and_its_name() -> None:
    month, day = month_and_day(_ordinal("2020-02-29"))
    assert (month_name(month), day) == ("2020-02", 29)
    assert _text(first_day_of_month(month)) == "2020-02-01"
    assert _text(last_day_of_month(month)) == "2020-02-29"
    assert _text(last_day_of_month(month + 12)) == "2021-02-28"
    assert _text(last_day_of_month(parse_month("9999-12"))) == "9999-12-31"
    assert month_name(parse_month("0007-11")) == "0007-11"


@pytest.mark.parametrize(
    "name",
    ["", "2022", "2022-1", "2022-13", "2022-00", "0000-01", "22-01", "2022-01-01", "²022-01"],
)
def test_what_is_not_a_month_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM"):
        parse_month(name)
