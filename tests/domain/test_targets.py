"""Targets, shortfall, missing and pace: exact where floats are not."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Any

import pytest

from streams.domain.calendar import PeriodKind, period_of
from streams.domain.targets import Indicator, Targets, gap, pace
from tests.domain.events import Event, assigned, listed, processed, registered, removed, submitted
from tests.domain.register import agreed

_YEAR = period_of("year", date(2022, 12, 31).toordinal())


def _period(kind: PeriodKind, as_of: str) -> Any:
    return period_of(kind, date.fromisoformat(as_of).toordinal())


def _services(used: int, of: int) -> list[Event]:
    events = [registered()]
    for n in range(of):
        events.append(listed(f"S{n}"))
        if n < used:
            events.append(submitted(f"D{n}", service=f"S{n}"))
    return events


def _gap(events: list[Event], as_of: str = "2022-12-31", **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = agreed(events, as_of, **asked)["targets"]["services_with_dossiers"]
    return found


# -- whose target ----------------------------------------------------------------------------------

_OWN, _GROUP, _NATIONAL = (
    assigned("H56", 0.9),
    assigned("provinces", 0.8),
    assigned("national", 0.7),
)


@pytest.mark.parametrize(
    ("assigned_", "target"),
    [
        ([_NATIONAL, _GROUP, _OWN], Fraction(9, 10)),
        ([_OWN, _GROUP, _NATIONAL], Fraction(9, 10)),
        ([_NATIONAL, _GROUP], Fraction(8, 10)),
        ([_NATIONAL], Fraction(7, 10)),
        ([_NATIONAL, assigned("ministries", 0.1)], Fraction(7, 10)),
        ([_NATIONAL, assigned("H26", 0.1)], Fraction(7, 10)),
        ([assigned("ministries", 0.1)], None),
        ([assigned("H56", 0.9, year=2021), _NATIONAL], Fraction(7, 10)),
        ([assigned("H56", 0.9, indicator="online_processed"), _NATIONAL], Fraction(7, 10)),
        ([assigned("H56", 0.0), _NATIONAL], Fraction(0)),
        ([_OWN, removed(_OWN), _NATIONAL], Fraction(7, 10)),
        ([_OWN, assigned("H56", 0.6)], Fraction(6, 10)),
        ([], None),
    ],
)
def test_a_target_is_the_agencys_own_else_its_groups_else_the_national_one(
    assigned_: list[Event], target: Fraction | None
) -> None:
    assert _gap([registered(), *assigned_])["ratio"] == target


def test_a_group_has_its_own_target_else_the_national_one() -> None:
    events = [registered(), _OWN, _GROUP, _NATIONAL]
    for scope, target in (("provinces", 8), ("ministries", 7), ("national", 7)):
        assert _gap(events, scope=scope)["ratio"] == Fraction(target, 10)


def test_the_target_is_that_of_the_as_of_days_year() -> None:
    events = [registered(), assigned("national", 0.5, year=2021), assigned("national", 0.8)]
    assert _gap(events, "2021-12-31")["ratio"] == Fraction(1, 2)
    assert _gap(events, "2022-01-01")["ratio"] == Fraction(4, 5)
    assert _gap(events, "2023-01-01")["ratio"] is None


# -- how far from it -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "used", "of", "missing"),
    [
        (0.8, 4, 5, 0),
        (0.8, 3, 5, 1),
        (0.8, 5, 5, 0),
        (0.8, 0, 6, 5),
        (0.5, 2, 5, 1),
        (1.0, 0, 3, 3),
        (0.0, 0, 3, 0),
    ],
)
def test_missing_is_how_many_more_would_have_met_the_target(
    ratio: float, used: int, of: int, missing: int
) -> None:
    found = _gap([*_services(used, of), assigned("national", ratio)])
    assert found["missing"] == missing
    assert found["shortfall"] == max(0, Fraction(str(ratio)) - Fraction(used, of))


@pytest.mark.parametrize(
    ("ratio", "of", "needed"),
    [("0.07", 100, 7), ("0.14", 100, 14), ("0.28", 100, 28), ("0.55", 100, 55), ("0.56", 100, 56)],
)
def test_missing_is_exact_where_floats_are_one_too_many(ratio: str, of: int, needed: int) -> None:
    assert float(ratio) * of > needed, "a case that floats get wrong"
    met = gap("services_with_dossiers", Fraction(ratio), (needed, of), _YEAR)
    assert (met.missing, met.shortfall) == (0, Fraction(0))
    short = gap("services_with_dossiers", Fraction(ratio), (needed - 1, of), _YEAR)
    assert (short.missing, short.shortfall) == (1, Fraction(1, of))


def test_beyond_the_target_nothing_is_missing_and_nothing_negative() -> None:
    found = gap("services_with_dossiers", Fraction(1, 2), (9, 10), _YEAR)
    assert found[1:] == (Fraction(0), 0, Fraction(0))


def test_over_nothing_the_distance_cannot_be_said() -> None:
    found = gap("services_with_dossiers", Fraction(4, 5), (0, 0), _YEAR)
    assert found == (Fraction(4, 5), None, None, None)


def test_without_a_target_there_is_no_distance() -> None:
    assert gap("online_processed", None, (1, 2), _YEAR) == (None, None, None, None)


# -- pace ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "as_of", "expected"),
    [
        ("year", "2022-01-01", Fraction(0)),
        ("year", "2022-12-31", Fraction(4, 5)),
        ("year", "2022-01-02", Fraction(4, 5) * Fraction(1, 364)),
        ("year", "2022-07-02", Fraction(4, 5) * Fraction(1, 2)),
        ("year", "2020-12-31", Fraction(4, 5)),
        ("year", "2020-12-30", Fraction(4, 5) * Fraction(364, 365)),
        ("quarter", "2022-04-01", Fraction(0)),
        ("quarter", "2022-06-30", Fraction(4, 5)),
        ("quarter", "2022-05-16", Fraction(4, 5) * Fraction(45, 90)),
        ("half", "2022-06-30", Fraction(4, 5)),
        ("month", "2020-02-15", Fraction(4, 5) * Fraction(14, 28)),
        ("month", "2020-02-29", Fraction(4, 5)),
    ],
)
def test_pace_is_a_straight_line_from_nothing_on_the_first_day_to_the_target_on_the_last(
    kind: PeriodKind, as_of: str, expected: Fraction
) -> None:
    assert pace("services_with_dossiers", Fraction(4, 5), _period(kind, as_of)) == expected


@pytest.mark.parametrize("as_of", ["2022-01-01", "2022-05-16", "2022-12-31"])
def test_the_pace_of_online_processed_is_the_target_itself(as_of: str) -> None:
    assert pace("online_processed", Fraction(1, 2), _period("year", as_of)) == Fraction(1, 2)


def test_behind_pace_is_how_far_the_ratio_lies_under_the_line() -> None:
    events = [*_services(1, 5), assigned("national", 0.8)]
    assert _gap(events, "2022-01-01")["behind_pace"] == 0
    assert _gap(events, "2022-07-02")["behind_pace"] == Fraction(2, 5) - Fraction(1, 5)
    assert _gap(events, "2022-12-31")["behind_pace"] == Fraction(4, 5) - Fraction(1, 5)


def test_online_processed_is_behind_from_the_first_day() -> None:
    events = [
        *(registered(), assigned("national", 0.5, "online_processed")),
        *(submitted("A", "2022-01-01"), processed(9, "2022-01-01", dossier="A")),
        *(submitted("B", "2022-01-01", channel="postal"), processed(9, "2022-01-01", dossier="B")),
        *(submitted("C", "2022-01-01", channel=None), processed(9, "2022-01-01", dossier="C")),
    ]
    found = agreed(events, "2022-01-01")["targets"]["online_processed"]
    assert found == {
        "ratio": Fraction(1, 2),
        "shortfall": Fraction(1, 6),
        "missing": 1,
        "behind_pace": Fraction(1, 6),
    }


def test_targets_are_asked_for_by_scope_indicator_and_year() -> None:
    key: tuple[str, Indicator, int] = ("H56", "online_processed", 2022)
    targets = Targets({key: Fraction(1, 3)})
    assert targets.of("H56", "province", "online_processed", _YEAR) == Fraction(1, 3)
    assert targets.of("H56", "province", "services_with_dossiers", _YEAR) is None
    assert targets.of("H26", "province", "online_processed", _YEAR) is None
