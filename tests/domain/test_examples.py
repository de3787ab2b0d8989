"""The worked example of the contract, counted twice: by the rules and by the oracle."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.domain.register import Register
from tests.oracle import Oracle

_DATA = Path(__file__).parent.parent / "data"
_EVENTS = [json.loads(line) for line in (_DATA / "example_events.jsonl").open(encoding="utf-8")]
_EXPECTED = json.loads((_DATA / "example_figures.json").read_text(encoding="utf-8"))
_CASES = pytest.mark.parametrize(
    "case", _EXPECTED, ids=lambda c: f"{c['as_of']}-{c['period']}-{c['definition']}"
)


@pytest.fixture(scope="module")
def register() -> Register:
    return Register(_EVENTS)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(_EVENTS)


def _as_published(rows: dict[str, dict[str, Any]], case: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows cut down to the figures that the example gives, scopes in its order."""
    names = {row["scope"]: row.keys() for row in case["rows"]}
    assert names.keys() == rows.keys()
    return [{name: rows[scope][name] for name in names[scope]} for scope in names]


@_CASES
def test_the_rules_give_the_example(register: Register, case: dict[str, Any]) -> None:
    day = date.fromisoformat(case["as_of"])
    rows = register.figures(day, case["period"], case["definition"])
    assert _as_published(rows, case) == case["rows"]


@_CASES
def test_the_oracle_gives_the_example(oracle: Oracle, case: dict[str, Any]) -> None:
    day = date.fromisoformat(case["as_of"])
    rows = oracle.figures(day, case["period"], case["definition"])
    assert _as_published(rows, case) == case["rows"]


@_CASES
def test_rules_and_oracle_agree_beyond_the_example(
    register: Register, oracle: Oracle, case: dict[str, Any]
) -> None:
    """Ratios, targets, ranks and the periods before, which the example leaves out."""
    day = date.fromisoformat(case["as_of"])
    rows = register.figures(day, case["period"], case["definition"])
    assert rows == oracle.figures(day, case["period"], case["definition"])


def test_the_example_holds_enough_to_mean_something() -> None:
    figures = sum(len(row) - 1 for case in _EXPECTED for row in case["rows"])
    assert (len(_EVENTS), len(_EXPECTED), figures) == (878, 18, 1728)
