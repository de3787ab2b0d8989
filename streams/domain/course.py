"""How a share came to where it is: its numerator and denominator on every day of a period.

Pure; the sums of :mod:`streams.domain.indicators`, taken day by day in one pass over the cells, so
that the last point is the figure itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streams.domain.calendar import Period, month_and_day
from streams.domain.catalogue import LEVELS
from streams.domain.definitions import COLUMN, STOCK_COLUMNS, Definition, used_column
from streams.domain.dossier import CHANNELS
from streams.domain.ledger import Months


class Point(NamedTuple):
    """Both shares as of a day: (numerator, denominator)."""

    day: int
    services_with_dossiers: tuple[int, int]
    online_processed: tuple[int, int]


def course(months: Months, definition: Definition, period: Period) -> Iterator[Point]:
    """A point for every day from the period's first to its as-of day."""
    level1 = STOCK_COLUMNS.start
    listed_at = [level1 + level - 1 for level in LEVELS if level in definition.levels]
    used_at = COLUMN[used_column(definition.name, period.kind)]
    processed_at = [COLUMN[f"{definition.processed}_{channel}"] for channel in CHANNELS]
    online_at = COLUMN[definition.online]

    stock = months.total(1, period.start - 1, STOCK_COLUMNS)
    listed = sum(stock[column] for column in listed_at)
    used = processed = online = 0
    for day in range(period.start, period.end + 1):
        number, at = month_and_day(day)
        month = months.get(number)
        if month is not None:
            cells = month.cells

            def on_day(*columns: int, cells: dict[int, list[int]] = cells, at: int = at) -> int:
                return sum(cells[column][at] for column in columns if column in cells)

            listed += on_day(*listed_at)
            used += on_day(used_at)
            processed += on_day(*processed_at)
            online += on_day(online_at)
        yield Point(day, (used, listed), (online, processed))
