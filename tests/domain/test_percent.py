"""Shares as people read them: rounded half up, never to all or to nothing."""

from __future__ import annotations

import random
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import pytest

from streams.domain.percent import decimal, percent


@pytest.mark.parametrize(
    ("numerator", "denominator", "decimals", "shown"),
    [
        (29_999, 30_000, 2, "99.99"),
        (1, 30_000, 2, "0.01"),
        (30_000, 30_000, 2, "100.00"),
        (0, 30_000, 2, "0.00"),
        (2, 3, 2, "66.67"),
        (1, 800, 2, "0.13"),  # 0.125: half up, where a float and half to even give 0.12
        (19_999, 20_000, 2, "99.99"),  # 99.995
        (10**30 - 1, 10**30, 2, "99.99"),  # a float would be 1.0
        (1, 10**30, 4, "0.0001"),
        (999, 1000, 0, "99"),
        (1, 1000, 0, "1"),
        (-1, 30_000, 2, "-0.01"),
        (-2, 3, 1, "-66.7"),
        (25, 2, 2, "1,250.00"),
    ],
)
def test_a_share_is_rounded_half_up_but_never_to_all_or_to_nothing(
    numerator: int, denominator: int, decimals: int, shown: str
) -> None:
    assert percent(numerator, denominator, decimals) == shown


@pytest.mark.parametrize("seed", range(20))
def test_only_all_reads_as_all_and_only_nothing_as_nothing(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        denominator = rng.choice((rng.randint(1, 99), rng.randint(1, 10**9), 30_000))
        numerator = rng.choice((rng.randint(0, denominator), denominator - 1, denominator, 0, 1))
        decimals = rng.randint(0, 4)
        shown = percent(numerator, denominator, decimals).replace(",", "")
        assert (Decimal(shown) == 100) == (numerator == denominator), (numerator, denominator)
        assert (Decimal(shown) == 0) == (numerator == 0), (numerator, denominator)
        with localcontext(prec=60):
            exact = Decimal(100 * numerator) / denominator
            rounded = exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
        if rounded not in (0, 100):
            assert Decimal(shown) == rounded, (numerator, denominator)


def test_there_is_no_share_of_nothing() -> None:
    with pytest.raises(ZeroDivisionError):
        percent(0, 0)


def test_a_number_that_is_no_share_is_rounded_half_up() -> None:
    assert decimal(Fraction(1, 8), 2) == "0.13"
    assert decimal(Fraction(-1, 800), 2) == "0.00"
    assert decimal(Fraction(2469, 2), 0) == "1,235"
