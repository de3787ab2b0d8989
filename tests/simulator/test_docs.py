"""docs/scenarios.md says what is played, figure by figure."""

from __future__ import annotations

import re
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


def published(check: Check) -> str:
    """As the demo's table prints it."""
    printed = f"{check.published:,}" + ("" if check.is_count else " %")
    return printed if check.above is None else f"{check.above} to {printed}"


def test_the_demos_output_on_the_page_has_every_check_with_what_was_published() -> None:
    """In the demo's order; what was measured is compared by the demo itself."""
    text = DOCS.read_text(encoding="utf-8")
    block = text.split("<!-- demo: begin -->")[1].split("<!-- demo: end -->")[0]
    shown = [re.split(r" {2,}", line.strip()) for line in block.splitlines() if "  ok" in line]
    assert [(row[0], row[1], row[2], row[4], row[5]) for row in shown] == [
        (check.as_of.isoformat(), check.period, check.scope, check.indicator, published(check))
        for check in CHECKS
    ]
    assert f"{len(CHECKS)} of {len(CHECKS)} figures agree" in block


def test_the_readme_shows_five_of_the_figures_as_the_demo_printed_them() -> None:
    readme = (DOCS.parent.parent / "README.md").read_text(encoding="utf-8")
    titles = {
        "services with online dossiers": "services_with_dossiers_ratio",
        "dossiers processed online": "online_processed_ratio",
    }
    rows = re.findall(r"^\| (\d{4}-\d\d-\d\d) \| (.+?) \| (.+?) \| (.+?) \|$", readme, re.M)
    assert len(rows) == 5
    printed = " ".join(DOCS.read_text(encoding="utf-8").split())
    for day, figure, stated, measured in rows:
        line = f"{day} year national Cả nước {titles[figure]} {stated} {measured} ok"
        assert line in printed


def test_the_page_tells_of_what_is_not_played_and_of_every_scenario() -> None:
    """Also of the number of checks, by which the reader sees that none is left out."""
    page = DOCS.read_text(encoding="utf-8")
    for line in NOT_COVERED:
        assert f"line {line}" in page
    for name in SCENARIOS:
        assert f"## The scenario `{name}`" in page
    assert f"{len(CHECKS)} checks" in page
