"""How a share came to where it is: each point is the figure of its day."""

from __future__ import annotations

import random
from datetime import date

import pytest

from streams.domain.calendar import PERIOD_KINDS, period_of
from streams.domain.course import course
from streams.domain.definitions import COLUMNS, DEFINITIONS
from streams.domain.indicators import counts, sums
from streams.domain.ledger import Month, Months


@pytest.mark.parametrize("seed", range(6))
def test_every_point_is_the_figure_as_of_its_day(seed: int) -> None:
    rng = random.Random(seed)
    months = Months()
    for number in range(2020 * 12, 2022 * 12):
        if rng.random() < 0.8:
            months[number] = Month.from_rows(
                {
                    column: [rng.randrange(4) for _ in range(28)]
                    for column in COLUMNS
                    if rng.random() < 0.7
                }
            )
    for kind in PERIOD_KINDS:
        definition = rng.choice(list(DEFINITIONS.values()))
        as_of = date(2021, rng.randint(1, 12), rng.randint(1, 28)).toordinal()
        points = list(course(months, definition, period_of(kind, as_of)))
        assert points[-1].day == as_of
        for point in points:
            then = counts(sums(months, period_of(kind, point.day)), definition, kind)
            assert point.services_with_dossiers == then.fraction("services_with_dossiers"), seed
            assert point.online_processed == then.fraction("online_processed"), seed


def test_before_everything_there_is_nothing_to_divide_by() -> None:
    first = period_of("year", date.min.toordinal())
    assert [
        point.services_with_dossiers for point in course(Months(), DEFINITIONS["qd766"], first)
    ] == [(0, 0)]
