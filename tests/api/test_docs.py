"""docs/metrics.md and docs/api.md say what the code does, and only that."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from schemas.decoder import Reason
from streams.domain.calendar import PERIOD_KINDS
from streams.domain.catalogue import LEVELS
from streams.domain.definitions import DEFINITIONS
from streams.domain.dossier import CHANNELS
from streams.domain.targets import INDICATORS
from streams.metrics import catalogue as metrics
from streams.metrics.catalogue import OUTCOMES
from tests.api.conftest import Connect
from tests.api.test_services import path_of
from tests.api.world import World

DOCS = Path(__file__).parents[2] / "docs"
METRICS = (DOCS / "metrics.md").read_text(encoding="utf-8")
API = (DOCS / "api.md").read_text(encoding="utf-8")


def table(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose head begins with ``head``."""
    lines = text.split(f"| {head} |", 1)[1].splitlines()[2:]
    rows: list[list[str]] = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize(
    ("section", "catalogue"), [("## State", metrics.STATE), ("## Events", metrics.EVENT)]
)
def test_every_metric_is_documented_with_its_labels_and_no_other(
    section: str, catalogue: tuple[metrics.Metric, ...]
) -> None:
    rows = table(METRICS.split(section, 1)[1], "metric")
    documented = [(codes(row[0])[0], tuple(codes(row[1]))) for row in rows]
    assert documented == [(m.name, m.labels) for m in catalogue]
    assert all(len(row) == 4 and all(row) for row in rows)


def test_every_metric_that_is_mentioned_exists() -> None:
    known = {m.name for m in metrics.STATE + metrics.EVENT}
    # What the rules record has a colon before it.
    assert set(re.findall(r"(?<!:)\bhoso_[a-z_]+", METRICS + API)) <= known


def test_every_label_is_documented_with_its_values() -> None:
    documented = {
        label: codes(row[1]) for row in table(METRICS, "label") for label in codes(row[0])
    }
    labels = {label for m in metrics.STATE + metrics.EVENT for label in m.labels}
    assert documented.keys() == labels
    assert documented["level"] == [str(level) for level in LEVELS]
    assert documented["channel"] == list(CHANNELS)
    assert documented["indicator"] == list(INDICATORS)
    assert documented["outcome"] == list(OUTCOMES)
    assert documented["period"] == [*PERIOD_KINDS, *(f"{kind}_last_year" for kind in PERIOD_KINDS)]


def test_the_reasons_are_where_the_page_points() -> None:
    link = re.search(r"\]\((\.\./[^)]+)\)", METRICS)
    assert link is not None
    assert (DOCS / link[1]).resolve().samefile(DOCS.parent / "schemas" / "decoder.py")
    assert all(reason.value in (DOCS / link[1]).read_text() for reason in Reason)


async def test_every_field_of_a_row_is_documented_in_its_order(connect: Connect) -> None:
    answer = await (await (await connect(World())).get("/api/v1/indicators")).json()
    row: dict[str, Any] = answer["rows"][0]
    fields = [name for cells in table(API, "field of a row") for name in codes(cells[0])]
    assert fields == list(row)
    targets = [codes(cells[0])[0] for cells in table(API.split("Of `targets`")[1], "field")]
    assert targets == list(row["targets"]["online_processed"])


async def test_every_field_of_a_service_is_documented_in_its_order(
    connect: Connect, example: World
) -> None:
    answer = await (await (await connect(example)).get(path_of("H26"))).json()
    fields = [name for cells in table(API, "field of a service") for name in codes(cells[0])]
    assert fields == list(answer["services"][0])


def test_every_value_of_a_parameter_is_documented() -> None:
    values = {codes(row[0])[0]: codes(row[1]) for row in table(API, "parameter")}
    assert values == {
        "period": list(PERIOD_KINDS),
        "as_of": ["YYYY-MM-DD"],
        "definition": list(DEFINITIONS),
        "with_dossiers": ["true", "false"],
    }


def test_every_path_is_documented() -> None:
    routes = {resource.canonical for resource in World().application().router.resources()}
    assert {path for row in table(API, "path") for path in codes(row[0])} == routes


async def test_the_error_shown_is_the_one_given(connect: Connect) -> None:
    shown = re.search(r"^\$ curl 'http://127.0.0.1:6066(\S+)'\n(.+)$", API, re.MULTILINE)
    assert shown is not None
    response = await (await connect(World())).get(shown[1])
    assert response.status == 400
    assert await response.json() == json.loads(shown[2])
