"""Measuring and comparing: rounding as printed, ranges, and nothing where there is nothing."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from streams.simulator import Check, agrees, measure, rounded


def check(indicator: str, published: str, decimals: int = 2, **more: Any) -> Check:
    values: dict[str, Any] = {
        "as_of": date(2022, 8, 25),
        "scope": "national",
        "period": "year",
        "definition": "mic-2022",
    }
    return Check(
        indicator=indicator, published=Decimal(published), decimals=decimals, **(values | more)
    )


def row(scope: str, kind: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"scope": scope, "kind": kind, **fields}


ONLINE = "online_processed_ratio"


@pytest.mark.parametrize(
    ("value", "decimals", "printed"),
    [
        (Fraction(15165, 1000), 2, "15.17"),
        (Fraction(151649, 10000), 2, "15.16"),
        (Fraction(295, 10), 0, "30"),
        (Fraction(99985, 1000), 2, "99.99"),
        (Fraction(0), 2, "0.00"),
        (Decimal("0.125"), 2, "0.13"),
    ],
)
def test_halves_are_rounded_up(value: Fraction | Decimal, decimals: int, printed: str) -> None:
    """As the publications do, and never by way of a float."""
    assert rounded(value, decimals) == Decimal(printed)


def test_a_figure_agrees_only_at_its_printed_precision() -> None:
    """30 holds for 29.5 to 30.49…; 29.80 for a hundredth of that."""
    assert agrees(check(ONLINE, "30", 0), Fraction(2950, 100))
    assert not agrees(check(ONLINE, "30", 0), Fraction(3050, 100))
    assert agrees(check(ONLINE, "29.80"), Fraction(298049, 10000))
    assert not agrees(check(ONLINE, "29.80"), Fraction(298050, 10000))


def test_all_and_none_agree_only_when_exact() -> None:
    """99.6 is not "100 %", though it rounds to it; 99.6 agencies are 100."""
    assert agrees(check(ONLINE, "100", 0), Fraction(100))
    assert not agrees(check(ONLINE, "100", 0), Fraction(996, 10))
    assert not agrees(check(ONLINE, "0.00"), Fraction(1, 300))
    assert agrees(check("services_listed", "100", 0), Fraction(996, 10))


def test_a_range_is_open_below_and_closed_above() -> None:
    """'Over 90 % to 96.47 %'."""
    published = check("services_with_dossiers_ratio", "96.47", above=Decimal(90))
    assert agrees(published, Fraction(9001, 100))
    assert agrees(published, Fraction(964705, 10000))
    assert not agrees(published, Fraction(90))
    assert not agrees(published, Fraction(96475, 1000))


def test_no_figure_agrees_with_nothing() -> None:
    """An absent row or an empty denominator is not zero."""
    rows = [row("national", dossiers_processed=0, dossiers_processed_online=0)]
    assert measure(check(ONLINE, "0.00"), rows) is None
    assert measure(check(ONLINE, "0.00", scope="H56"), rows) is None
    assert not agrees(check(ONLINE, "0.00"), None)


def test_ratios_are_exact_percent_and_counts_are_counts() -> None:
    """Integers of the row are used, whatever its floats say."""
    rows = [
        row("national", dossiers_processed=3, dossiers_processed_online=1, services_listed=81446)
        | {ONLINE: 0.9}
    ]
    assert measure(check(ONLINE, "33.33"), rows) == Fraction(100, 3)
    count = check("services_listed", "81446", 0)
    assert count.is_count
    assert measure(count, rows) == 81446


def test_agencies_at_full_level4_leaves_out_groups_and_agencies_with_nothing_eligible() -> None:
    """Only agencies that have something eligible, all of it at level 4."""
    rows = [
        row("national", eligible=5, eligible_level4=5),
        row("G01", "ministry", eligible=3, eligible_level4=3),
        row("G02", "ministry", eligible=2, eligible_level4=1),
        row("G03", "ministry", eligible=0, eligible_level4=0),
    ]
    assert measure(check("agencies_at_full_level4", "1", 0), rows) == 1


def test_the_highest_of_a_group_is_one_of_its_agencies() -> None:
    """Not the group's own row, not the other kind."""
    rows = [
        row("provinces", None, services_with_dossiers=9, services_listed=9),
        row("H01", "province", services_with_dossiers=1, services_listed=2),
        row("H02", "province", services_with_dossiers=0, services_listed=0),
        row("G01", "ministry", services_with_dossiers=1, services_listed=1),
    ]
    highest = check("highest_services_with_dossiers_ratio", "50.00", scope="provinces")
    assert measure(highest, rows) == 50


def test_a_target_is_read_from_the_row_without_float_noise() -> None:
    """0.3 is 30 %, not 29.999…"""
    rows = [row("national", targets={"online_processed": {"ratio": 0.3}})]
    assert measure(check("target_online_processed", "30", 0), rows) == 30


def test_an_unknown_indicator_is_an_error() -> None:
    """A misspelt check must not pass for an absent figure."""
    with pytest.raises(ValueError, match="unknown indicator"):
        measure(check("services", "1"), [])
