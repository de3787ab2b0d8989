"""The published timeline, played and folded once for all tests of this folder."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from streams.simulator import Check, Published, Record
from tests.simulator.fold import Fold, fold


class Played(NamedTuple):
    """The scenario, all its records and their fold."""

    scenario: Published
    records: list[Record]
    fold: Fold
    known: dict[tuple[str, str], list[dict[str, Any]]]

    def rows_for(self, check: Check) -> list[dict[str, Any]]:
        """The rows of the check's day and period."""
        asked = check.as_of.isoformat(), check.period
        if asked not in self.known:
            self.known[asked] = self.fold.rows(*asked)
        return self.known[asked]


@pytest.fixture(scope="session")
def played() -> Played:
    scenario = Published()
    records = list(scenario.records())
    return Played(scenario, records, fold(record.value for record in records), {})
