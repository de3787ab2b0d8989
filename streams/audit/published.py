"""What `agency-months` says: rows decoded, checked and summed without the register's own reader.

The format is public (docs/adr/0003): ``columns`` holds one number per day of the month; flows are
summed from a period's first day, stocks from the beginning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import date
from typing import Any, NamedTuple

import orjson
import polars as pl

from streams.audit.calendar import KINDS, end_of, number_of, start_of, to_day
from streams.audit.recount import CHANNELS, DEFINITIONS, Counts, count_flow

_MONTH = re.compile(r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])")
_STOCKS = ("eligible", "eligible_level4", *(f"listed_level{level}" for level in (1, 2, 3, 4)))
_USED = {f"used_{name}_{kind}": (name, kind) for name in DEFINITIONS for kind in KINDS}
_FLOWS = (
    *(f"{what}_{by}" for what in ("submitted", "received", "resolved") for by in CHANNELS),
    *("resolved_online_level4", "due", "on_time"),
)
COLUMNS = frozenset({*_FLOWS, *_STOCKS, *_USED})
"""The columns that are audited; others belong to newer versions."""


class Fault(NamedTuple):
    """A row that nobody should have written."""

    key: str
    fault: str


class Published:
    """The newest row of every key."""

    def __init__(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        self.faults: list[Fault] = []
        cells: list[tuple[str, str, int, int]] = []
        for key, value in rows:
            try:
                cells += self._cells(key, value)
            except (ValueError, TypeError, KeyError) as error:
                self.faults.append(Fault(key.decode("utf-8", "backslashreplace"), str(error)))
        schema = {"agency": pl.String, "column": pl.String, "day": pl.Int64, "n": pl.Int64}
        self._all = pl.DataFrame(cells, schema=schema, orient="row").sort("day")

    def _cells(self, key: bytes, value: bytes) -> list[tuple[str, str, int, int]]:
        row: dict[str, Any] = orjson.loads(value)
        agency, month = row["agency"], row["month"]
        if not isinstance(month, str) or _MONTH.fullmatch(month) is None:
            raise ValueError(f"month {month!r} is not YYYY-MM")
        if key != f"{agency}/{month}".encode():
            raise ValueError(f"the row is of {agency}/{month}")
        first = date.fromisoformat(f"{month}-01")
        length = end_of("month", first).day
        start = number_of(first)
        found = []
        for column, numbers in row["columns"].items():
            if column not in COLUMNS:
                continue
            if len(numbers) > 31 or any(type(n) is not int for n in numbers):
                raise ValueError(f"{column} is not a whole number for each day")
            if any(numbers[length:]):
                raise ValueError(f"{column} has a number for a day that {month} does not have")
            found += [(agency, column, start + i, n) for i, n in enumerate(numbers) if n]
        return found

    def cells(self) -> pl.DataFrame:
        """Agency, column, day and number; zeroes left out."""
        return self._all

    def months(self) -> set[date]:
        """The first days of the months in which anything happens."""
        return {to_day(day).replace(day=1) for day in self._all["day"].unique()}

    def figures(self, as_of: date) -> Counts:
        """Every count of every agency on a day, summed from the cells."""
        counts: Counts = Counter()
        until = number_of(as_of)
        for agency, column, n in self._sums(None, until):
            if column in _STOCKS:
                counts[agency, "", "", column] += n
            if column.startswith("listed_level"):
                for name, definition in DEFINITIONS.items():
                    if int(column[-1]) in definition.levels:
                        counts[agency, "", name, "services_listed"] += n
        for kind in KINDS:
            for agency, column, n in self._sums(number_of(start_of(kind, as_of)), until):
                if column in _USED:
                    name, of_kind = _USED[column]
                    if of_kind == kind:
                        counts[agency, kind, name, "services_with_dossiers"] += n
                elif column not in _STOCKS:
                    count_flow(counts, agency, kind, column, n)
        return counts

    def _sums(self, start: int | None, until: int) -> Iterable[tuple[str, str, int]]:
        days = self._all["day"]
        low = 0 if start is None else days.search_sorted(start, side="left")
        window = self._all.slice(low, days.search_sorted(until, side="right") - low)
        return window.group_by("agency", "column").agg(pl.sum("n")).iter_rows()
