"""What holds for every dashboard: generated, whole, readable and what dashboard-linter asks for."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from grafana.src import catalogue
from grafana.src.panels import LINES, REASONS
from schemas.decoder import Reason
from streams.metrics import catalogue as metrics
from tests.grafana.dashboards import FILES, VARIABLES, loaded, name, panels, targets, with_variables

ROOT = Path(__file__).parents[2]
every_dashboard = pytest.mark.parametrize("path", FILES, ids=name)

# The suffixes under which Prometheus stores a histogram.
_HISTOGRAM = {f"{metrics.BATCH_SECONDS.name}{part}" for part in ("_bucket", "_sum", "_count")}
_OF_PROMETHEUS = {"up", "ALERTS"}
_VALID_UNITS = {"none", "locale", "percentunit", "s", "time:DD/MM/YYYY", "time:DD/MM/YYYY HH:mm"}
_VALID_UNITS |= {"suffix: bản ghi/s", "suffix: records/s", "prefix:+"}
_VALID_UNITS |= {"suffix: điểm %", "suffix: points"}
_VALID_UNITS |= {"suffix: phút", "suffix: giờ", "suffix: ngày", "suffix: min", "suffix: h"}
_VALID_UNITS |= {"suffix: days"}
_FIGURES = [path for path in FILES if path.stem != "pipeline"]
every_page_of_figures = pytest.mark.parametrize("path", _FIGURES, ids=name)


def test_committed_files_are_what_the_source_generates() -> None:
    generated = catalogue.files()

    assert sorted(generated) == FILES
    stale = [name(path) for path, text in generated.items() if path.read_text("utf-8") != text]
    assert not stale, "run make dashboards"


def test_both_languages_differ_in_words_only() -> None:
    vietnamese = [path for path in FILES if path.parent.name == "vi"]
    for path in vietnamese:
        english = path.parent.parent / "en" / path.name
        ours = [(p["type"], p["gridPos"]) for p in loaded(path)["panels"]]
        theirs = [(p["type"], p["gridPos"]) for p in loaded(english)["panels"]]
        assert ours == theirs, path.name
        assert [t.expression for t in targets(path)] == [t.expression for t in targets(english)]
        assert loaded(path)["title"] != loaded(english)["title"]


@every_dashboard
def test_reads_into_the_sdks_models_and_comes_out_the_same(path: Path) -> None:
    import json

    plugins.register_default_plugins()
    found = loaded(path)

    read = model.Dashboard.from_json(found)

    for annotation in found["annotations"]["list"]:  # of the data source, not of the model
        del annotation["titleFormat"], annotation["textFormat"]
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == found


def test_identifiers_are_unique_and_fixed() -> None:
    found = [loaded(path)["uid"] for path in FILES]

    assert sorted(found) == sorted(
        f"hoso-{page}{suffix}"
        for page in ("nation", "ministries", "provinces", "agency", "shortfalls", "pipeline")
        for suffix in ("", "-en")
    )
    for path in FILES:
        ids = [panel["id"] for panel in loaded(path)["panels"]]
        assert len(ids) == len(set(ids)), name(path)
        assert loaded(path).get("id") is None, "Grafana gives dashboards their number"
        assert loaded(path)["editable"] is False


@every_dashboard
def test_panels_fit_the_grid_and_do_not_overlap(path: Path) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in loaded(path)["panels"]]

    for title, place in places:
        assert place["x"] >= 0, title
        assert place["y"] >= 0, title
        assert place["h"] >= 1, title
        assert 1 <= place["w"] <= 24 - place["x"], title
    for (one, a), (other, b) in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, f"{one!r} covers {other!r}"


@every_dashboard
def test_every_row_of_panels_fills_the_width(path: Path) -> None:
    rows: dict[int, int] = {}
    for panel in loaded(path)["panels"]:
        rows[panel["gridPos"]["y"]] = rows.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]

    assert set(rows.values()) == {24}


@every_dashboard
def test_every_panel_has_title_description_unit_and_queries(path: Path) -> None:
    for panel in panels(path):
        title = panel["title"]
        assert title
        assert len(panel["description"]) > 5, title
        assert panel["datasource"]["uid"] == "$datasource", title
        assert panel["fieldConfig"]["defaults"]["unit"] in _VALID_UNITS, title
        assert panel["targets"], title
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)), title
        assert all(target["datasource"]["uid"] == "$datasource" for target in panel["targets"])
        for override in panel["fieldConfig"]["overrides"]:
            units = [p["value"] for p in override["properties"] if p["id"] == "unit"]
            assert set(units) <= _VALID_UNITS, title


@every_dashboard
def test_shares_are_written_in_percent_with_two_decimals(path: Path) -> None:
    for panel in panels(path):
        defaults = panel["fieldConfig"]["defaults"]
        fields = [(defaults.get("unit"), defaults.get("decimals"))]
        for override in panel["fieldConfig"]["overrides"]:
            given = {p["id"]: p.get("value") for p in override["properties"]}
            if "unit" in given:
                fields.append((given["unit"], given.get("decimals")))
        if panel["type"] == "table":
            fields = fields[1:]  # the default holds for no column
        assert fields, panel["title"]
        for unit, decimals in fields:
            if unit == "percentunit":
                assert decimals == 2, panel["title"]


@every_dashboard
def test_every_state_is_a_sign_and_a_word_not_a_colour_alone(path: Path) -> None:
    for panel in panels(path):
        colours = [step["color"] for step in _thresholds(panel)]
        style = panel["fieldConfig"]["defaults"].get("custom", {}).get("thresholdsStyle")
        if panel["type"] == "timeseries" and style:  # a limit, drawn as a dashed line
            assert style == {"mode": "dashed"}, panel["title"]
            assert colours == ["text", "orange"], panel["title"]
        else:
            assert colours == ["text"], panel["title"]
        for mapping in _mappings(panel):
            if mapping["type"] == "special":
                assert mapping["options"]["result"]["text"] in {"chưa có", "none"}
                continue
            texts = [option["text"] for option in mapping["options"].values()]
            coloured = {option.get("color") for option in mapping["options"].values()} - {None}
            assert len(texts) == len(set(texts)), "two values read alike"
            if coloured:
                assert {text[0] for text in texts} <= set("✔✘▲▼"), texts
                assert all(len(text) > 2 for text in texts)


def _thresholds(panel: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return found


def _mappings(panel: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(panel["fieldConfig"]["defaults"].get("mappings", []))
    for override in panel["fieldConfig"]["overrides"]:
        for prop in override["properties"]:
            if prop["id"] == "mappings":
                found += prop["value"]
    return found


@every_dashboard
def test_columns_are_named_as_their_overrides_expect(path: Path) -> None:
    for panel in panels(path):
        if panel["type"] != "table":
            continue
        (organize,) = (t for t in panel["transformations"] if t["id"] == "organize")
        shown = set(organize["options"]["renameByName"].values())
        wanted = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        assert wanted <= shown, panel["title"]
        sorts = {by["displayName"] for by in panel["options"]["sortBy"]}
        assert sorts <= shown, panel["title"]
        columns = [t["legendFormat"] for t in panel["targets"]]
        assert len(columns) == len(set(columns)), "two columns have one name"


@every_dashboard
def test_a_column_that_finds_nothing_does_not_empty_its_table(path: Path) -> None:
    """Grafana's merge knows no key once a query gives no label; its join leaves that one out."""
    for panel in panels(path):
        if panel["type"] == "table":
            steps = {step["id"]: step["options"] for step in panel["transformations"]}
            assert "merge" not in steps, panel["title"]
            if len(panel["targets"]) > 1:
                label = steps["joinByField"]["byField"]
                assert steps["joinByField"]["mode"] == "outer"
                assert label not in steps["filterFieldsByName"]["exclude"]["names"]
                assert label in steps["organize"]["renameByName"]


def test_agencies_are_named_as_in_the_reference_data() -> None:
    with (ROOT / "streams/data/agencies.csv").open(encoding="utf-8", newline="") as file:
        named = {row["code"]: row["name"] for row in csv.DictReader(file)}
    assert len(named) == 91
    for path in FILES:
        for panel in panels(path):
            for mapping in _mappings(panel):
                codes = mapping["options"].keys() if mapping["type"] == "value" else ()
                if "H56" in codes:
                    assert {c: mapping["options"][c]["text"] for c in codes} == named
    for language in ("vi", "en"):
        variables = loaded(catalogue.DIRECTORY / language / "agency.json")["templating"]["list"]
        (agency,) = (v for v in variables if v["name"] == "agency")
        options = {option["value"]: option["text"] for option in agency["options"]}
        assert options == named
        # What Grafana makes of the text, which it prefers to the options.
        pairs = [pair.replace("\\,", ",") for pair in re.split(r"(?<!\\),", agency["query"])]
        split = [re.match(r"^\s*(.+)\s:\s(.+)$", pair) for pair in pairs]
        assert {found[2]: found[1] for found in split if found} == named
        assert len(pairs) == len(named)


@every_dashboard
def test_every_metric_named_exists(path: Path) -> None:
    known = {metric.name for metric in (*metrics.STATE, *metrics.EVENT)} | _HISTOGRAM
    known |= _OF_PROMETHEUS | _recorded()
    variables = loaded(path)["templating"]["list"]
    expressions = [target.expression for target in targets(path)]
    expressions += [v["query"]["query"] for v in variables if v["type"] == "query"]
    expressions += [a["expr"] for a in loaded(path)["annotations"]["list"] if "expr" in a]

    named = {found for text in expressions for found in _metric_names(text)}

    assert named, "nothing is asked"
    assert named <= known


def _metric_names(expression: str) -> set[str]:
    without_text = re.sub(r'"[^"]*"', '""', expression)
    return set(
        re.findall(r"\b(hoso_\w+|up|ALERTS\w*|\w+:\w+(?::\w+)?)\b(?=\s*[{,)])", without_text)
    )


def test_a_metric_that_nobody_exports_would_be_noticed() -> None:
    assert _metric_names('sum(rate(hoso_event_total{job="$job"}[5m]))') == {"hoso_event_total"}


def _recorded() -> set[str]:
    found = set()
    for path in (ROOT / "prometheus" / "rules").glob("*.yml"):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            found |= {rule["record"] for rule in group["rules"] if "record" in rule}
    return found


@every_dashboard
def test_state_is_never_summed_over_workers(path: Path) -> None:
    state = "|".join(metric.name for metric in metrics.STATE)
    for target in targets(path):
        for found in re.finditer(rf"(?:last_over_time\()?\b(?:{state})\{{", target.expression):
            before = target.expression[: found.start()]
            assert re.search(
                r"\b(?:max|group)(?: by \([\w, ]+\))? \($|\bmax\($|\bgroup\($", before
            ) or (
                # Counting by agency or by worker first cannot count one twice.
                re.search(r"count by \((?:agency|instance|definition)\) \($", before)
            ), f"{target.panel}: {before[-60:]}>>>{found[0]}"


@every_dashboard
def test_dashboard_linters_rules_hold(path: Path) -> None:
    excluded = yaml.safe_load((path.parent / ".lint").read_text(encoding="utf-8"))["exclusions"]
    assert all(rule["reason"] for rule in excluded.values())
    variables = {v["name"]: v for v in loaded(path)["templating"]["list"]}

    # template-datasource-rule, template-job-rule, template-on-time-change-reload-rule
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["datasource"]["current"]["value"] == catalogue.DATASOURCE_UID
    for variable in variables.values():
        if variable["type"] == "query":
            assert variable["datasource"]["uid"] == "$datasource"
            assert (variable["multi"], variable["includeAll"]) == (True, True)
            # Also what has no such label, as an exported past has none.
            assert variable["allValue"] == ".*"
            assert variable["refresh"] == 2
    if "template-job-rule" in excluded and path.stem != "pipeline":
        assert "job" not in variables
        return
    assert variables["job"]["type"] == "query"
    free = {entry["panel"] for entry in excluded["target-job-rule"]["entries"]}
    for target in targets(path):
        # target-job-rule: every selector has it.
        if target.panel not in free:
            selectors = re.findall(
                r"(?<![\w:])(?:(?:instance\w*|topic|job):)?(?:hoso_[\w:]+|up)\{[^}]*\}",
                target.expression,
            )
            assert selectors, target.panel
            assert all('job=~"$job"' in selector for selector in selectors), target.panel
        # target-rate-interval-rule
        for function, window in re.findall(
            r"\b(rate|increase|irate)\([^[]*\[([^]]+)\]", target.expression
        ):
            wanted = "$__range" if function == "increase" else "$__rate_interval"
            assert window == wanted, target.panel
        # A counter is never read without a rate.
        for counter in ("hoso_events_total", "hoso_events_rejected_total"):
            for found in re.finditer(counter, target.expression):
                before = target.expression[: found.start()]
                assert before.endswith(("rate(", "increase(")), target.panel


def test_every_query_is_promql(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is missing")
        pytest.skip("promtool is not installed")
    rules = [
        {"record": "any:query", "expr": target.with_variables(VARIABLES)}
        for path in FILES
        for target in targets(path)
    ]
    file = {"groups": [{"name": "queries", "rules": rules}]}
    (tmp_path / "queries.yml").write_text(yaml.safe_dump(file), "utf-8")
    checked = subprocess.run(
        ["promtool", "check", "rules", "--lint=none", str(tmp_path / "queries.yml")],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


@every_dashboard
def test_links_lead_to_dashboards_that_are_there(path: Path) -> None:
    known = {loaded(other)["uid"] for other in FILES}
    language = path.parent.name
    links = loaded(path)["links"]
    assert {tag for link in links for tag in link.get("tags") or []} == {f"hoso-{language}"}
    assert loaded(path)["tags"] == [f"hoso-{language}"]

    urls = [link["url"] for link in links if link["type"] == "link"]
    urls += re.findall(r'"url": "(/d/[^"]*)"', path.read_text(encoding="utf-8"))

    assert urls
    assert {url.split("/")[2].split("?")[0] for url in urls} <= known


@every_dashboard
def test_alerts_are_annotations_one_for_a_name_and_not_for_an_agency(path: Path) -> None:
    pipeline, *own = loaded(path)["annotations"]["list"]
    assert pipeline["expr"] == 'max by (alertname) (ALERTS{alertstate="firing",layer="pipeline"})'
    if path.stem == "agency":
        (about,) = own
        for label in ("scope", "agency"):
            assert f'ALERTS{{alertstate="firing",{label}="$agency"}}' in about["expr"]
        assert about["expr"].startswith("max by (alertname, indicator, reason) (")
    else:
        assert own == []
    for annotation in (pipeline, *own):
        assert annotation["enable"] is True
        assert "{{alertname}}" in annotation["titleFormat"]
        assert len(annotation["textFormat"]) > 20


@every_page_of_figures
def test_a_page_of_figures_asks_for_no_job_which_an_exported_past_does_not_have(
    path: Path,
) -> None:
    for target in targets(path):
        assert "$job" not in target.expression, target.panel
        assert "instance=" not in target.expression, target.panel


@every_page_of_figures
def test_graphs_of_figures_join_samples_a_day_apart_and_leave_longer_gaps(path: Path) -> None:
    for panel in _graphs(path):
        custom = panel["fieldConfig"]["defaults"]["custom"]
        assert custom["spanNulls"] == 25 * 3600 * 1000, panel["title"]


@every_page_of_figures
def test_pages_are_asked_for_no_faster_than_figures_change(path: Path) -> None:
    assert loaded(path)["refresh"] == "5m"


@every_page_of_figures
def test_what_is_drawn_over_months_is_recorded_or_of_one_agency(path: Path) -> None:
    """A metric of every agency has half a million samples in 90 days for each of them."""
    for target in targets(path):
        if target.instant:
            # Windows of the past, too, are over recorded series.
            raw = re.findall(r"_over_time\((hoso_\w+(?:\{[^}]*\})?)", target.expression)
            raw = [selector for selector in raw if 'job=""' not in selector]
            assert raw == [], target.panel
            continue
        for selector in re.findall(r"(?<![\w:])hoso_\w+\{[^}]*\}", target.expression):
            assert 'agency="$agency"' in selector, target.panel
        for selector in re.findall(r"_over_time\((hoso_\w+\{[^}]*\})", target.expression):
            # Scrapes are read one at each step; a window is for what has a sample a day.
            assert 'job=""' in selector, target.panel


def _graphs(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in panels(path) if panel["type"] == "timeseries"]


_CELL_PADDING, _SORTED = 14, 22
_LETTER = 7.6
"""Pixels of a letter of the tables' font, on average, and at the most where names are capitals."""


@every_page_of_figures
def test_columns_fit_a_screen_of_1280_pixels_and_headings_their_columns(path: Path) -> None:
    longest = max(len(option) for option in _names_of_agencies())
    for panel in panels(path):
        if panel["type"] != "table":
            continue
        across = (1280 - 32 - 8 * 23) / 24 * panel["gridPos"]["w"] + 8 * (panel["gridPos"]["w"] - 1)
        inner = across - 2 * 8
        widths, names = {}, 0.0
        for override in panel["fieldConfig"]["overrides"]:
            given = {p["id"]: p.get("value") for p in override["properties"]}
            title = override["matcher"]["options"]
            if "custom.width" in given:
                widths[title] = given["custom.width"]
            elif "custom.minWidth" in given:
                names = given["custom.minWidth"]
                if "links" in given:
                    names = max(names, longest * 6.9 + _CELL_PADDING)
        assert sum(widths.values()) + names <= inner, panel["title"]
        sorted_by = {by["displayName"] for by in panel["options"]["sortBy"]}
        for title, width in widths.items():
            needed = len(title) * _LETTER + _CELL_PADDING + _SORTED * (title in sorted_by)
            assert needed <= width, (panel["title"], title)


def _names_of_agencies() -> list[str]:
    with (ROOT / "streams/data/agencies.csv").open(encoding="utf-8", newline="") as file:
        return [row["name"] for row in csv.DictReader(file)]


@every_page_of_figures
def test_the_first_line_says_as_of_when_by_what_and_whether_all_is_in(path: Path) -> None:
    first = loaded(path)["panels"][0]
    assert first["gridPos"]["y"] == 0
    assert first["options"]["textMode"] == "name"
    good, *bad = (target["legendFormat"] for target in first["targets"])
    for label in ("day", "month", "year", "definition", "shown", "known", "behind"):
        assert f"{{{{{label}}}}}" in good
    assert good[0] == "✔"
    assert {text[0] for text in bad} == {"✘"}
    if path.parent.name == "vi":
        assert good == (
            "✔ Tính đến {{day}}/{{month}}/{{year}} · {{definition}} · "
            "đủ {{shown}}/{{known}} cơ quan · chậm {{behind}} bản ghi"
        )


def test_a_meaning_has_one_line_on_every_page_and_in_every_language() -> None:
    lines: dict[str, set[str]] = {}
    for path in _FIGURES:
        for panel in _graphs(path):
            names = {target["refId"]: target["legendFormat"] for target in panel["targets"]}
            drawn = {}
            for override in panel["fieldConfig"]["overrides"]:
                if override["matcher"]["id"] == "byName":  # a label's value
                    assert override["matcher"]["options"] in REASONS, panel["title"]
                    continue
                assert override["matcher"]["id"] == "byFrameRefID", panel["title"]
                given = {p["id"]: p["value"] for p in override["properties"]}
                style = (
                    given["color"]["fixedColor"],
                    given["custom.lineWidth"],
                    tuple(given["custom.lineStyle"].get("dash", ())),
                )
                drawn[override["matcher"]["options"]] = style
            fixed = {ref for ref, text in names.items() if not text.startswith("{{")}
            assert drawn.keys() == fixed, panel["title"]
            colours = [colour for colour, _, _ in drawn.values()]
            assert len(colours) == len(set(colours)), f"{panel['title']}: two look alike"
            shapes = [shape for _, *shape in drawn.values()]
            assert all(shapes.count(shape) == 1 for shape in shapes), (
                f"{panel['title']}: only their colours tell two apart"
            )
            for ref, style in drawn.items():
                lines.setdefault(f"{path.parent.name} {names[ref]}", set()).add(str(style))
    assert {key for key, styles in lines.items() if len(styles) > 1} == _OF_TWO_KINDS
    vietnamese = {panel: p for p in _FIGURES for panel in [p.stem] if p.parent.name == "vi"}
    for stem, path in vietnamese.items():
        english = path.parent.parent / "en" / f"{stem}.json"
        ours = [panel["fieldConfig"]["overrides"] for panel in _graphs(path)]
        assert ours == [panel["fieldConfig"]["overrides"] for panel in _graphs(english)]


_OF_TWO_KINDS = {"vi Cả nhóm", "en The group"}
"""Ministries on one page, provinces on the other, each as they are drawn beside the nation."""


def test_every_line_can_be_seen_on_grafanas_light_and_dark_ground() -> None:
    colours = [(meaning, line.colour) for meaning, line in LINES.items()]
    reasons = [(reason, colour) for reason, (_, colour) in REASONS.items()]
    assert len({colour for _, colour in reasons}) == len(reasons) == len(Reason)
    for meaning, colour in colours + reasons:
        if colour != "text":
            for ground in ("#FFFFFF", "#181B1F"):
                light, dark = sorted((_luminance(colour), _luminance(ground)), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 3, (meaning, ground)


def _luminance(colour: str) -> float:
    """WCAG's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@every_page_of_figures
def test_legends_hide_no_series(path: Path) -> None:
    for panel in _graphs(path):
        legend = panel["options"]["legend"]
        assert (legend["displayMode"], legend["showLegend"]) == ("list", True), panel["title"]


@every_page_of_figures
def test_numbers_are_written_as_people_write_them(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for never in ("cps", "dtdurations", "dateTimeAsIso", "Giao thừa", "giao thừa", "$levels"):
        assert never not in text
    for panel in panels(path):
        # A table's default holds for no column.
        fields = [panel["fieldConfig"]["defaults"]] if panel["type"] != "table" else []
        for override in panel["fieldConfig"]["overrides"]:
            fields.append({p["id"]: p.get("value") for p in override["properties"]})
        for field in fields:
            if field.get("unit") == "locale":
                assert field["decimals"] == 0, panel["title"]
            if "điểm" in field.get("unit", "") or "points" in field.get("unit", ""):
                assert field["decimals"] == 2, panel["title"]


def test_names_stand_in_vietnamese_order_and_groups_behind_the_nation() -> None:
    variables = loaded(catalogue.DIRECTORY / "vi" / "agency.json")["templating"]["list"]
    (agency,) = (v for v in variables if v["name"] == "agency")
    names = [option["text"] for option in agency["options"]]
    assert names[:2] == ["Bảo hiểm xã hội Việt Nam", "Bộ Công an"]
    assert names.index("Bộ Công an") < names.index("Bộ Công Thương")
    assert names.index("Cao Bằng") < names.index("Đà Nẵng") < names.index("Gia Lai")
    for language, words in (("vi", "Cả nước"), ("en", "Nation")):
        nation = catalogue.DIRECTORY / language / "nation.json"
        groups = [
            panel
            for panel in panels(nation)
            if panel["type"] == "table" and _first_mapping(panel).keys() == {"1", "2", "3"}
        ]
        assert len(groups) == 2
        for panel in groups:
            (by,) = panel["options"]["sortBy"]
            assert by == {"displayName": "Nhóm" if language == "vi" else "Group", "desc": False}
            assert _first_mapping(panel)["1"]["text"] == words


def _first_mapping(panel: dict[str, Any]) -> dict[str, Any]:
    """What the values of the column of names are called."""
    for override in panel["fieldConfig"]["overrides"]:
        for prop in override["properties"]:
            if prop["id"] == "mappings" and "1" in prop["value"][0]["options"]:
                found: dict[str, Any] = prop["value"][0]["options"]
                if len(found) > 2 and "0" not in found:
                    return found
    return {}


def test_alerts_link_to_dashboards_that_are_there() -> None:
    known = {loaded(path)["uid"] for path in FILES}
    named = {
        found
        for path in (ROOT / "prometheus" / "rules").glob("*.yml")
        for found in re.findall(r"/d/hoso-(\w+)", path.read_text(encoding="utf-8"))
    }
    assert {f"hoso-{page}" for page in named} <= known


def test_grafana_is_provisioned_with_all_of_it() -> None:
    provisioning = ROOT / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/hoso.yml").read_text())["datasources"]
    providers = yaml.safe_load((provisioning / "dashboards/hoso.yml").read_text())["providers"]

    assert source["uid"] == catalogue.DATASOURCE_UID
    assert source["type"] == "prometheus"
    assert source["editable"] is False
    assert {p["options"]["path"].rsplit("/", 1)[1] for p in providers} == {"vi", "en"}
    assert len({p["folderUid"] for p in providers}) == 2
    for provider in providers:
        assert provider["allowUiUpdates"] is False
        assert provider["disableDeletion"] is True


def test_grafanas_own_dates_have_days_before_months() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    settings = compose["services"]["grafana"]["environment"]
    formats = {name: value for name, value in settings.items() if "DATE_FORMATS" in name}
    assert {name.removeprefix("GF_DATE_FORMATS_") for name in formats} == {
        *("FULL_DATE", "INTERVAL_HOUR", "INTERVAL_DAY", "INTERVAL_MONTH")
    }
    for value in formats.values():
        assert re.match(r"(DD/)?MM(/YYYY)?( HH:mm(:ss)?)?$", value), value


def test_variables_of_every_query_are_the_dashboards_own() -> None:
    for path in FILES:
        own = {v["name"] for v in loaded(path)["templating"]["list"]}
        own |= {"__rate_interval", "__interval", "__range"}
        given = {one: VARIABLES[one] for one in own if one in VARIABLES}
        for target in targets(path):
            with_variables(target.expression, given)
