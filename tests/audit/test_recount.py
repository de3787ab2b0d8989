"""The audit's counting, held against the worked example and against the oracle."""

from __future__ import annotations

import json
from datetime import date
from fractions import Fraction
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from streams.audit.answers import answer, flat
from streams.audit.audit import different_rows
from streams.audit.evidence import Rows
from streams.audit.published import Published
from streams.audit.recount import DEFINITIONS
from tests.audit.worlds import Audited, published
from tests.domain.register import Register
from tests.domain.worlds import busy_world
from tests.oracle import Oracle

_DATA = Path(__file__).parent.parent / "data"
EVENTS = [json.loads(line) for line in (_DATA / "example_events.jsonl").open(encoding="utf-8")]
EXPECTED = json.loads((_DATA / "example_figures.json").read_text(encoding="utf-8"))
KINDS = ("month", "quarter", "half", "year")


@pytest.fixture(scope="module")
def example() -> Audited:
    return Audited(EVENTS)


@pytest.mark.parametrize(
    "case", EXPECTED, ids=lambda c: f"{c['definition']} {c['period']} {c['as_of']}"
)
def test_the_audit_counts_the_worked_example_as_it_is_published(
    example: Audited, case: dict[str, Any]
) -> None:
    as_of = date.fromisoformat(case["as_of"])
    rows = example.answer(as_of, case["period"], case["definition"])
    assert rows.keys() == {row["scope"] for row in case["rows"]}
    for row in case["rows"]:
        found = rows[row["scope"]]
        for name in (
            *("services_listed", "services_with_dossiers", "dossiers_processed"),
            "dossiers_processed_online",
        ):
            assert found[name] == row[name], (row["scope"], name)
        for channel, dossiers in row["dossiers_submitted"].items():
            assert found[f"dossiers_submitted.{channel}"] == dossiers
        for name, numerator, denominator in (
            ("on_time_ratio", "on_time", "due"),
            ("level4_of_eligible", "eligible_at_level4", "eligible"),
            ("level34_of_listed", "listed_at_level34", "listed"),
            ("level4_of_listed", "listed_at_level4", "listed"),
        ):
            share = row[numerator] / row[denominator] if row[denominator] else None
            assert found[name] == share, (row["scope"], name)


def _as_api(row: dict[str, Any]) -> dict[str, Any]:
    """An oracle's row as the API has it."""
    hidden = {"on_time", "due", "eligible", "eligible_at_level4"}
    hidden |= {"listed", "listed_at_level34", "listed_at_level4"}
    return {
        name: float(value) if isinstance(value, Fraction) else value
        for name, value in flat({n: v for n, v in row.items() if n not in hidden}).items()
    }


def test_the_audit_gives_every_figure_of_the_oracle_in_random_worlds() -> None:
    seed = Random().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    random = Random(seed)
    for _ in range(15):
        world = busy_world(random)
        events = [*world.reference, *random.sample(world.facts, len(world.facts))]
        audited, oracle = Audited([*events, *world.facts[::3]]), Oracle(events)
        for as_of in world.asked:
            for kind in KINDS:
                for definition in DEFINITIONS:
                    found = audited.answer(as_of, kind, definition)
                    expected = oracle.figures(as_of, kind, definition)
                    where = f"{kind} to {as_of}, {definition}"
                    assert found == {s: _as_api(row) for s, row in expected.items()}, where


def test_cells_recounted_and_published_are_the_same_on_every_day_of_random_worlds() -> None:
    seed = Random().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    random = Random(seed)
    for _ in range(15):
        world = busy_world(random)
        ours = Audited([*world.reference, *world.facts]).recount
        theirs = published(Register([*world.reference, *world.facts]))
        assert not theirs.faults
        assert set(ours.cells().rows()) == set(theirs.cells().select(ours.cells().columns).rows())
        for day in world.asked:
            assert +ours.figures(day) == +theirs.figures(day)


def test_one_wrong_number_of_an_answer_is_found_and_a_missing_row_too(example: Audited) -> None:
    as_of = date(2022, 8, 25)
    right = answer(
        example.recount.figures, example.agencies, example.targets, as_of, "year", "mic-2022"
    )
    wrong = json.loads(json.dumps(right))
    assert not list(different_rows(wrong, right, as_of, "year", "mic-2022"))
    wrong[-1]["targets"]["online_processed"]["missing"] = 12345
    found = list(different_rows(wrong, right, as_of, "year", "mic-2022"))
    assert [(d.scope, d.figure, d.published) for d in found] == [
        (right[-1]["scope"], "targets.online_processed.missing", 12345)
    ]
    found = list(different_rows(wrong[:-1], right, as_of, "year", "mic-2022"))
    assert [d.figure for d in found] == ["rows"]


def test_a_row_nobody_can_have_written_is_a_fault() -> None:
    rows = {
        b"H56/2022-02": {"agency": "H56", "month": "2022-02", "columns": {"due": [0] * 28 + [1]}},
        b"H56/2022-03": {"agency": "H26", "month": "2022-03", "columns": {}},
        b"H56/2022-13": {"agency": "H56", "month": "2022-13", "columns": {}},
        b"H56/2022-04": {"agency": "H56", "month": "2022-04", "columns": {"due": [True]}},
        b"H56/2022-05": {"agency": "H56", "month": "2022-05", "columns": {"due": [0, 3]}},
    }
    found = Published((key, json.dumps(row).encode()) for key, row in rows.items())
    assert [fault.key for fault in found.faults] == [key.decode() for key in list(rows)[:4]]
    assert found.cells().rows() == [("H56", "due", date(2022, 5, 2).toordinal() - 719_163, 3)]


def test_the_audit_passes_over_keys_that_are_no_months() -> None:
    """Marks, and whatever a later version writes (contract, section 1): neither rows nor faults."""
    rows = Rows(1)
    names = (b"~taken-in/hoso.submissions", b"~later", b"H56", b"/2022-01", b"H56/2022-13", b"\xff")
    rows.take([SimpleNamespace(key=key, value=b"17", partition=0) for key in names])
    assert (rows.rows, rows.misplaced) == ({}, set())
    rows.take([SimpleNamespace(key=b"H56/2022-01", value=b"17", partition=0)])
    assert list(rows.rows) == [b"H56/2022-01"]
    (fault,) = Published(rows.rows.items()).faults
    assert fault.key == "H56/2022-01"
