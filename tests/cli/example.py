"""The worked example as a scenario, for the demo: a few hundred records with known figures.

``python -m tests.cli.example ARGUMENT…`` is ``hoso ARGUMENT…`` with the scenarios ``example`` and
``wrong`` (one figure is not what the records say) beside the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from streams.simulator import SCENARIOS, Check, Record, rounded

DATA = Path(__file__).parents[1] / "data"
EVENTS = DATA / "example_events.jsonl"
FIGURES: list[dict[str, Any]] = json.loads((DATA / "example_figures.json").read_text())


def _checks() -> Iterator[Check]:
    for answer in FIGURES:
        for row in answer["rows"]:
            if row["scope"] not in ("H26", "national", "ministries"):
                continue
            about = date.fromisoformat(answer["as_of"]), row["scope"], answer["period"]
            definition = answer["definition"]
            listed, used = row["services_listed"], row["services_with_dossiers"]
            yield Check(*about, "services_with_dossiers", definition, Decimal(used), 0)
            yield Check(*about, "services_listed", definition, Decimal(listed), 0)
            if listed:
                share = rounded(Fraction(100 * used, listed), 2)
                yield Check(*about, "services_with_dossiers_ratio", definition, share, 2)


class Example:
    """The records of tests/data/example_events.jsonl, with figures of example_figures.json."""

    name = "example"
    description = "The worked example"
    checks = tuple(_checks())

    @property
    def total(self) -> int:
        return sum(1 for _ in self.records())

    def records(self) -> Iterator[Record]:
        for line in EVENTS.read_text().splitlines():
            record = json.loads(line)
            value = json.dumps(record["value"], ensure_ascii=False).encode()
            yield Record(record["topic"], record["key"], value)


class Wrong(Example):
    """The same, with the last figure one too high."""

    name = "wrong"
    checks = (*Example.checks[:1], Example.checks[1]._replace(published=Decimal(99999)))


def add_scenarios() -> None:
    """Have them among the others."""
    SCENARIOS.update(example=Example, wrong=Wrong)


if __name__ == "__main__":
    from streams.cli import main

    add_scenarios()
    main(prog_name="hoso")
