"""docs/scenarios.md says what is played, figure by figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streams.simulator import SCENARIOS, Check
from streams.simulator.figures import CHECKS, NOT_COVERED
from tests.simulator.conftest import Played

DOCS = Path(__file__).parents[2] / "docs" / "scenarios.md"
TITLES = {
    "services_with_dossiers_ratio": "Services with dossiers",
    "online_processed_ratio": "Processed online",
    "level4_of_listed": "Level 4 of all services",
    "level34_of_listed": "Level 3–4 of all services",
    "level4_of_level34": "Level 4 of online services",
    "level4_of_eligible": "Level 4 of eligible services",
    "services_listed": "Services at level 3–4",
    "services_with_dossiers": "Services with dossiers, count",
}
PLAYED = {
    "services_with_dossiers_ratio": ("services_with_dossiers", "services_listed"),
    "online_processed_ratio": ("dossiers_processed_online", "dossiers_processed"),
    "level4_of_listed": ("level4", "listed"),
    "level34_of_listed": ("level34", "listed"),
    "level4_of_level34": ("level4", "level34"),
    "level4_of_eligible": ("eligible_level4", "eligible"),
    "services_listed": ("services_listed",),
    "services_with_dossiers": ("services_with_dossiers",),
}


def line_of(check: Check, rows: list[dict[str, Any]], names: dict[str, str]) -> str:
    """The first five cells of a check's line: day, who, figure, published, played."""
    published = f"{check.published:,}" if check.is_count else f"{check.published} %"
    if check.above is not None:
        published = f"over {check.above} to {published}"
    row = next(row for row in rows if row["scope"] == check.scope)
    who = names.get(check.scope, check.scope)
    played = " of ".join(f"{row[field]:,}" for field in PLAYED[check.indicator])
    return f"| {check.as_of} | {who} | {TITLES[check.indicator]} | {published} | {played} |"


def test_the_page_tells_of_every_figure_the_counts_that_are_played(played: Played) -> None:
    """A changed count must be changed on the page too."""
    page = DOCS.read_text(encoding="utf-8")
    wanted = [
        line_of(check, played.rows_for(check), played.fold.names)
        for check in CHECKS
        if check.indicator in TITLES
    ]
    assert [line for line in wanted if line not in page] == []
    assert sum(line.startswith("| 20") for line in page.splitlines()) == len(wanted)


def test_the_page_tells_of_what_is_not_played_and_of_every_scenario() -> None:
    """Also of the number of checks, by which the reader sees that none is left out."""
    page = DOCS.read_text(encoding="utf-8")
    for line in NOT_COVERED:
        assert f"line {line}" in page
    for name in SCENARIOS:
        assert f"## The scenario `{name}`" in page
    assert f"{len(CHECKS)} checks" in page
