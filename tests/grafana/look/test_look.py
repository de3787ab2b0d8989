"""Every dashboard drawn by Grafana's UI library, from real workers and a real Prometheus."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.grafana.dashboards import FILES, name
from tests.grafana.look import faults
from tests.grafana.look.__main__ import since
from tests.grafana.look.cost import reads
from tests.grafana.look.past import REJECTED, Past, Prometheus, record
from tests.grafana.look.viewer import Drawn, Shot, Viewer, missing

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(900)]

WIDTHS = (1600, 1280)
PAGES = [name(path) for path in FILES]
VIETNAMESE = [page for page in PAGES if page.startswith("vi/")]
_PIPELINE = "vi/pipeline"

MOMENTS: dict[str, list[str]] = {
    "normal": PAGES,
    "history": ["vi/nation", "vi/ministries", "vi/provinces", "vi/agency", _PIPELINE],
    "shortfalls": ["vi/nation", "vi/agency", "vi/shortfalls", _PIPELINE],
    "rejected": ["vi/agency", _PIPELINE, "en/pipeline"],
    "worker dead": VIETNAMESE,
    "all dead": VIETNAMESE,
}
"""Which pages are drawn of which moment."""


_90_DAYS, _SPAN = "now-90d", 90 * 86_400.0
DAYS_SEEN = 88
"""Of 90 that graphs show; the first and the last are not whole."""
BUDGET = 1.0
"""Seconds of Prometheus' time that loading a page over 90 days may take."""


class Looked(NamedTuple):
    """What was drawn, by moment, and what each page costs Prometheus over 90 days."""

    drawn: dict[str, list[Drawn]]
    costs: dict[str, dict[str, float]]
    """Page → panel → seconds of Prometheus' time."""

    @property
    def all(self) -> list[Drawn]:
        return [one for some in self.drawn.values() for one in some]


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Looked:
    lacking = missing()
    if lacking is None and shutil.which("prometheus") is None:
        lacking = "prometheus (.ci/install-tools)"
    if lacking is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"missing: {lacking}")
        pytest.skip(f"missing: {lacking}")
    home = tmp_path_factory.mktemp("look")
    return look_at(record(home), home / "viewer.log")


def look_at(past: Past, log: Path) -> Looked:
    """All that the tests look at."""
    shots = {
        moment: [
            Shot(page, past.moments[moment], width, since(page))
            for page in pages
            for width in (WIDTHS if moment == "normal" else WIDTHS[:1])
        ]
        for moment, pages in MOMENTS.items()
    }
    shots["90 days"] = [Shot(_PIPELINE, past.moments["normal"])]
    shots["half an hour"] = [Shot(_PIPELINE, past.moments["worker dead"], since="now-30m")]
    prometheus = past.prometheus()
    try:
        with Viewer(prometheus.port, log) as viewer:
            found = iter(viewer.draw(shot for some in shots.values() for shot in some))
            drawn = {moment: [next(found) for _ in some] for moment, some in shots.items()}
        return Looked(drawn, _costs(drawn, prometheus, past.moments["shortfalls"]))
    finally:
        prometheus.stop()


def _costs(
    drawn: dict[str, list[Drawn]], prometheus: Prometheus, at: float
) -> dict[str, dict[str, float]]:
    """Of Vietnamese pages; when all alerts fire, so that theirs count too."""

    @cache
    def series(selector: str) -> int:
        found = prometheus.query(f"count(last_over_time({selector}[5m]))", at)
        return int(found[0]["value"][1]) if found else 0

    def cost(query: str, span: float) -> float:
        return sum(one.seconds for one in reads(query, span, series))

    found: dict[str, dict[str, float]] = {}
    pages = [one for one in drawn["normal"] if one.shot.since == _90_DAYS] + drawn["90 days"]
    for one in pages:
        if one.shot.dashboard in VIETNAMESE and one.shot.width == WIDTHS[0]:
            costs = {"(annotations)": sum(cost(query, _SPAN) for query in one.annotations)}
            for panel in one.panels:
                costs[f"{panel['id']} {panel['title']}"] = sum(
                    cost(asked["query"], _SPAN if asked["steps"] > 1 else 0)
                    for asked in panel["asked"]
                )
            found[one.shot.dashboard] = costs
    return found


def _found(check: Callable[[list[Drawn]], Iterator[str]], drawn: list[Drawn]) -> str:
    """The faults, a line each."""
    return "\n".join(check(drawn))


def _panel(drawn: list[Drawn], page: str, title: str) -> dict[str, Any]:
    (found,) = (
        panel
        for one in drawn
        if one.shot.dashboard == page and one.shot.width == WIDTHS[0]
        for panel in one.panels
        if panel["title"] == title
    )
    return found


def _said(panel: dict[str, Any]) -> list[str]:
    """The texts of a tile's values."""
    return [value["text"] for value in panel["values"]]


def test_no_query_fails_and_nothing_is_complained_about(looked: Looked) -> None:
    assert not _found(faults.errors, looked.all)


@pytest.mark.parametrize("moment", ["normal", "shortfalls", "rejected", "worker dead"])
def test_no_panel_is_empty_that_should_show_something(looked: Looked, moment: str) -> None:
    assert not _found(faults.without_data, looked.drawn[moment])


def test_exported_history_is_seen_before_the_first_scrape(looked: Looked) -> None:
    graphs = {
        (one.shot.dashboard, panel["title"]): max(line["points"] for line in panel["lines"])
        for _, one, panel in faults.of_panels(looked.drawn["history"])
        if panel["type"] == "timeseries" and panel["lines"]
    }
    of_figures = {page for page, _ in graphs if page != _PIPELINE}
    assert of_figures == {"vi/nation", "vi/ministries", "vi/provinces", "vi/agency"}
    assert min(graphs.values()) >= DAYS_SEEN, graphs


def test_a_panel_that_shows_nothing_says_why(looked: Looked) -> None:
    assert not _found(faults.wordless, looked.all)


def test_a_tile_has_all_of_its_values_or_none(looked: Looked) -> None:
    assert not _found(faults.partial, looked.all)


def test_no_heading_name_value_or_state_is_cut(looked: Looked) -> None:
    assert not _found(faults.cut, looked.all)


def test_no_name_of_a_line_is_hidden(looked: Looked) -> None:
    assert not _found(faults.hidden_legends, looked.all)


def test_lines_can_be_told_apart_and_mean_the_same_in_both_languages(looked: Looked) -> None:
    assert not _found(faults.alike, looked.all)
    assert not _found(faults.different_in_english, looked.drawn["normal"])


def test_alerts_of_every_agency_are_no_wall_of_colour(looked: Looked) -> None:
    assert not _found(faults.crowded, looked.all)


def test_no_page_costs_more_than_its_budget_over_90_days(looked: Looked, capsys: Any) -> None:
    with capsys.disabled():
        print()  # noqa: T201
        for page, costs in looked.costs.items():
            worst = sorted(costs.items(), key=lambda cost: -cost[1])[:3]
            said = ", ".join(f"{panel!r} {seconds:.2f}" for panel, seconds in worst)
            print(f"{page}: {sum(costs.values()):.2f} s of Prometheus; {said}")  # noqa: T201
    assert set(looked.costs) == set(VIETNAMESE)
    over = {page: costs for page, costs in looked.costs.items() if sum(costs.values()) > BUDGET}
    assert not over


def test_the_pipelines_page_says_what_is_the_matter(looked: Looked) -> None:
    def says(moment: str, title: str) -> list[str]:
        return _said(_panel(looked.drawn[moment], _PIPELINE, title))

    assert says("normal", "Đường ống") == ["✔ khoẻ: không cảnh báo nào"]
    assert says("normal", "Tiến trình") == ["2", "2", "2"]
    assert says("normal", "Số liệu khớp?") == ["✔ khớp"] * 3
    assert says("normal", "Ngày tính") == ["25/08/2022"]
    for lacking in ("Chưa nhận", "Số liệu còn thiếu", "Bản ghi mất, trong khoảng đã chọn"):
        assert says("normal", lacking) == ["0"]

    assert says("shortfalls", "Đường ống") == ["✔ khoẻ: không cảnh báo nào"]
    assert says("worker dead", "Đường ống")[0].startswith("✘")
    assert says("worker dead", "Tiến trình") == ["1", "2", "1"]
    assert says("worker dead", "Số liệu khớp?") == ["✔ khớp"] * 3
    assert says("all dead", "Đường ống")[0].startswith("✘")
    assert says("all dead", "Tiến trình") == ["0", "2", "0"]
    assert says("history", "Đường ống") == ["✘ chưa thu thập gì"]
    for moment in ("all dead", "history"):
        for title in ("Ngày tính", "Số liệu khớp?", "Chưa nhận", "Số liệu còn thiếu"):
            panel = _panel(looked.drawn[moment], _PIPELINE, title)
            assert panel["values"] == []
            assert panel["said"].startswith("✘")


def test_rejected_events_are_counted_the_first_ones_too(looked: Looked) -> None:
    def rejected(title: str) -> dict[str, Any]:
        return _panel(looked.drawn["rejected"], _PIPELINE, title)

    agency, reason, records = rejected("Bị loại trong khoảng đã chọn, theo cơ quan")["columns"]
    assert dict(zip(reason["texts"], records["texts"], strict=True)) == {
        reason: str(count) for reason, count in REJECTED.items()
    }
    assert set(agency["texts"]) == {"Thanh Hóa", "?"}
    outcome, dead_letters, unexplained = rejected("Bảo toàn: bị loại và trong dead-letters")[
        "lines"
    ]
    assert outcome["last"] == dead_letters["last"] == str(sum(REJECTED.values()))
    assert unexplained["last"] == "0"


def test_a_killed_worker_changes_no_figure_and_owns_no_partition(looked: Looked) -> None:
    partitions = _panel(looked.drawn["half an hour"], _PIPELINE, "Phân vùng theo tiến trình")
    assert sorted(line["now"] is None for line in partitions["lines"]) == [False, True]
    for page in ("vi/nation", "vi/ministries", "vi/provinces"):
        assert _figures(looked.drawn["worker dead"], page) == _figures(looked.drawn["normal"], page)


def _figures(drawn: list[Drawn], page: str) -> list[Any]:
    (one,) = (d for d in drawn if d.shot.dashboard == page and d.shot.width == WIDTHS[0])
    return [
        [
            (value["name"], value["text"] if panel["mode"] != "name" else "")
            for value in panel["values"]
        ]
        if panel["type"] == "stat"
        else panel["columns"]
        for panel in one.panels
        if panel["type"] in ("stat", "table")
    ]
