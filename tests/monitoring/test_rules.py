"""Every alert is tested, documented, and about metrics that exist."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana import make_env
from streams.metrics import catalogue as metrics
from tests.monitoring.site import PROMETHEUS

RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
DASHBOARDS = sorted((PROMETHEUS.parent / "grafana" / "dashboards").glob("vi/*.json"))
UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
RUNBOOK = (PROMETHEUS.parent / "docs" / "runbook.md").read_text(encoding="utf-8")

BEYOND_THE_CONTRACT = {
    "hoso_behind_records",
    "hoso_conservation_difference",
    "hoso_records_lost_total",
}
"""Metrics that alerts may name though the contract's section 5 does not."""


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules(kind: str) -> list[dict[str, Any]]:
    found = [rule for path in RULES for group in load(path)["groups"] for rule in group["rules"]]
    return [rule for rule in found if kind in rule]


ALERTS = {rule["alert"]: rule for rule in rules("alert")}
RECORDED = {rule["record"] for rule in rules("record")}
(OF_MAKE_ENV,) = yaml.safe_load(make_env.workers_rule("HOSO_WORKERS=3"))["groups"][0]["rules"]
"""Recorded where docker compose runs, and nowhere else."""


def cases() -> dict[str, Counter[bool]]:
    """Alert → how many assertions expect it to fire (True) or not (False)."""
    found: dict[str, Counter[bool]] = {name: Counter() for name in ALERTS}
    for path in UNIT_TESTS:
        for test in load(path)["tests"]:
            for case in test.get("alert_rule_test", []):
                found[case["alertname"]][bool(case.get("exp_alerts"))] += 1
            for case in test.get("promql_expr_test", []):
                named = re.search(r'ALERTS\{alertname="(\w+)"', case["expr"])
                if named is not None and 'alertstate="pending"' not in case["expr"]:
                    found[named[1]][bool(case["exp_samples"])] += 1
    return found


CASES = cases()


def test_every_alert_name_is_used_once() -> None:
    assert len(ALERTS) == len(rules("alert")) > 0


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_five_cases_one_that_fires_and_one_that_is_silent(name: str) -> None:
    assert CASES[name].total() >= 5
    assert CASES[name][True] >= 1
    if name == "HosoWatchdog":  # it is never silent
        assert CASES[name][False] == 0
    else:
        assert CASES[name][False] >= 1


@pytest.mark.parametrize("name", [name for name in ALERTS if name != "HosoWatchdog"])
@pytest.mark.parametrize("situation", ["fires", "silent|not|no |one |new|met|stale", "down"])
def test_an_alert_is_tested_when_it_fires_when_it_does_not_and_when_the_pipeline_is_down(
    name: str, situation: str
) -> None:
    names = [
        test["name"].removeprefix(f"{name}: ")
        for path in UNIT_TESTS
        for test in load(path)["tests"]
        if test["name"].startswith(f"{name}: ")
    ]
    if situation == "down" and name in ("HosoWorkerDown", "HosoScrapeTooOld"):
        situation = "fires"  # they are the alerts about it
    assert any(re.search(situation, title) for title in names), names


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_a_person_needs(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"critical", "warning", "info", "none"}
    layer = alert["labels"]["layer"]
    assert layer in {"figures", "digest", "agency", "pipeline", "recovered", "gate", "watchdog"}
    notes = alert["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url", "dashboard_url"}
    assert len(notes["description"]) > len("This alert fires.")
    # Absolute, from settings, or none.
    runbook = f"{{{{ with $externalLabels.runbook }}}}{{{{ . }}}}#{name.lower()}{{{{ end }}}}"
    assert notes["runbook_url"] == runbook
    dashboard = "{{ with $externalLabels.grafana }}{{ . }}/d/hoso-"
    assert notes["dashboard_url"].startswith(dashboard)
    assert "-en" in notes["dashboard_url"]
    for note in ("summary", "description"):  # in both languages
        assert "$externalLabels.language" in notes[note]
        assert re.search("[ạảấầẩậắằẵặẹẻếềểệịỉọỏốồổộớờởợụủứừửữựỷỹ]", notes[note]), note
    # What falls short, and the digest, are held by recorded series, which outlive an outage.
    if layer in ("agency", "pipeline"):
        assert "for" in alert
    if layer == "pipeline":
        assert "keep_firing_for" in alert


def fresh_only() -> set[str]:
    """Recorded series that have samples only while the figures are fresh, and what is made of
    nothing else."""
    fresh = "and on () (hoso:figures_fresh:bool == 1)"
    found = {rule["record"] for rule in rules("record") if rule["expr"].strip().endswith(fresh)}
    found |= {"scope:hoso_last_day_missing:count"}  # by hoso:last_day_seen:timestamp
    while True:
        more = {
            rule["record"]
            for rule in rules("record")
            if rule["record"] not in found and names_in(rule["expr"]) <= found | CALENDAR
        }
        if not more:
            return found
        found |= more


CALENDAR = {
    "hoso:as_of:timestamp",
    "hoso:as_of_day_of_year:number",
    "hoso:as_of_days_in_year:number",
    "hoso:last_day_seen:timestamp",
    "hoso:figures_fresh:bool",
}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, alert in ALERTS.items()
        if alert["labels"]["layer"] in ("figures", "digest")
        or name in ("HosoAgencySilent", "HosoCatalogueEmpty", "HosoTargetMissing")
    ],
)
def test_an_alert_about_figures_stands_on_fresh_data_and_outlives_two_days_without(
    name: str,
) -> None:
    expr = ALERTS[name]["expr"]
    named = names_in(expr)
    assert named <= fresh_only() | {"scope:hoso_shortfall:bool"}
    for series in named - {"scope:hoso_shortfall:bool", "desk:hoso_shortfalls_over:count"}:
        assert re.search(rf"last_over_time\({series}(?:{{[^}}]*}})?\[(?:2d|15d|15m)\]", expr), (
            series
        )


def test_no_alert_judges_another_period_than_the_year() -> None:
    """Targets and pace are the year's: a month or a quarter has none."""
    for rule in (*rules("record"), *rules("alert")):
        if re.search("missing|behind|pace|shortfall|below|target_", rule.get("record", "")):
            periods = set(re.findall(r'period=~?"([^"]+)"', rule["expr"]))
            assert periods <= {"year", "year_last_year"}, rule


def test_the_runbook_has_a_heading_for_every_alert_and_no_other() -> None:
    assert set(re.findall(r"^## (\w+)$", RUNBOOK, re.M)) == set(ALERTS)


def names_in(expr: str) -> set[str]:
    """The metrics that an expression names: what looks like one of ours, outside of quotes."""
    bare = re.sub(r'"[^"]*"', "", expr)
    return set(re.findall(r"\b(?:\w+:)?hoso[\w:]*", bare)) - {"hoso"}


def test_every_metric_is_in_the_catalogue_or_recorded() -> None:
    known = {metric.name for metric in (*metrics.STATE, *metrics.EVENT)}
    known |= RECORDED | BEYOND_THE_CONTRACT | {OF_MAKE_ENV["record"]}
    known |= {f"{metrics.BATCH_SECONDS.name}_bucket"}
    named: set[str] = set()
    for rule in (*rules("record"), *rules("alert")):
        named |= names_in(rule["expr"])
        for note in rule.get("annotations", {}).values():
            for query in re.findall(r'"((?:[^"\\]|\\.)*hoso(?:[^"\\]|\\.)*)"', note):
                named |= names_in(query.replace('\\"', '"'))
    assert len(named) > 20
    assert named <= known


def test_every_recorded_metric_is_read_by_a_rule_an_alert_an_annotation_or_a_panel() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (*RULES, *DASHBOARDS))
    unread = {name for name in RECORDED if len(re.findall(re.escape(name) + r"(?!\w)", text)) < 2}
    assert unread == set()


def test_nothing_is_summed_over_workers() -> None:
    """State is on one worker, but around a rebalance on two: max first."""
    state = "|".join(metric.name for metric in metrics.STATE)
    for rule in (*rules("record"), *rules("alert")):
        assert not re.search(rf"\b(sum|avg)\b[^(]*\((?:{state})\b", rule["expr"]), rule


def test_the_names_of_agencies_are_those_of_the_reference_data() -> None:
    generated = runpy.run_path(str(PROMETHEUS / "agencies.py"))
    text = (PROMETHEUS / "rules" / "agencies.yml").read_text(encoding="utf-8")
    assert text == generated["rules"](), "run python prometheus/agencies.py"
    scopes = {
        rule["labels"]["scope"]: rule["labels"]
        for rule in yaml.safe_load(text)["groups"][0]["rules"]
    }
    assert len(scopes) == 94
    assert scopes["H56"] == {"scope": "H56", "kind": "province", "name": "Thanh Hóa"}


# The programs' own checks


def run(*arguments: str) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_configuration_and_rules(promtool: str) -> None:
    run(promtool, "check", "config", str(PROMETHEUS / "prometheus.yml"))


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_unit_tests_of_the_rules_pass(promtool: str, path: Path) -> None:
    run(promtool, "test", "rules", str(path))


def test_alertmanager_accepts_its_configuration(amtool: str) -> None:
    run(amtool, "check-config", str(PROMETHEUS / "alertmanager.yml"))


def test_nobody_is_told_that_an_alert_is_resolved_and_no_message_is_without_bounds() -> None:
    """To Alertmanager it also is when Prometheus is away."""
    for receiver in load(PROMETHEUS / "alertmanager.yml")["receivers"]:
        for webhook in receiver.get("webhook_configs", []):
            assert webhook["send_resolved"] is False, receiver["name"]
            assert 1 <= webhook["max_alerts"] <= 20


def test_messages_for_people_are_laid_out_with_ten_alerts_and_escaped(
    amtool: str, tmp_path: Path
) -> None:
    def alert(number: int) -> dict[str, Any]:
        notes = {
            "summary": f"S{number} <b>",
            "description": f"D{number}\nhai dòng",
            "dashboard_url": "https://grafana.example.vn/d/hoso-shortfalls",
            "runbook_url": "https://wiki.example.vn/runbook#hosodigest" if number else "",
        }
        return {"status": "firing", "labels": {"alertname": "A"}, "annotations": notes}

    def rendered(text: str, alerts: int, kind: str = "text") -> str:
        data = {"status": "firing", "alerts": [alert(number) for number in range(alerts)]}
        (tmp_path / "data.json").write_text(json.dumps(data), encoding="utf-8")
        command = [amtool, "template", "render", f"--template.glob={PROMETHEUS}/templates/*.tmpl"]
        command += [f"--template.{kind}", text, "--template.data", str(tmp_path / "data.json")]
        if kind == "type":
            command[-3:-2] = ["html", "--template.text", text]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert rendered('{{ template "hoso.subject" . }}', 1).strip() == "[hồ sơ] S0 <b>"
    assert rendered('{{ template "hoso.subject" . }}', 34).strip() == "[hồ sơ] S0 <b> (1/34)"
    text = rendered('{{ template "hoso.text" . }}', 34)
    assert text.startswith("S0 <b>\n\nD0\nhai dòng\n\n→ https://grafana.example.vn/")
    assert "→ https://wiki.example.vn/runbook#hosodigest" in text
    assert "S9" in text
    assert "S10" not in text
    assert text.strip().endswith("(10/34)")
    page = rendered('{{ template "hoso.html" . }}', 2, "type")
    assert "S0 &lt;b&gt;" in page
    assert '<a href="https://grafana.example.vn/d/hoso-shortfalls">' in page


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({"layer": "pipeline", "alertname": "HosoWorkerDown"}, "pager"),
        ({"layer": "recovered", "alertname": "HosoPipelineRecovered"}, "pager"),
        ({"layer": "figures", "kind": "ministry"}, "nobody"),
        ({"layer": "figures", "kind": "nation"}, "nobody"),
        ({"layer": "digest", "desk": "operators"}, "operators"),
        ({"layer": "digest", "desk": "ministries"}, "ministries"),
        ({"layer": "digest", "desk": "provinces"}, "provinces"),
        ({"layer": "agency", "kind": "ministry"}, "operators,ministries"),
        ({"layer": "agency", "kind": "province"}, "operators,provinces"),
        ({"layer": "recovered", "kind": "province"}, "operators,provinces"),
        ({"layer": "agency"}, "operators"),
        ({"layer": "gate"}, "nobody"),
        ({"layer": "watchdog"}, "watchdog"),
        ({"alertname": "SomebodyElses"}, "operators"),
    ],
)
def test_alerts_go_to_whom_they_concern(
    amtool: str, labels: dict[str, str], receivers: str
) -> None:
    config = f"--config.file={PROMETHEUS / 'alertmanager.yml'}"
    pairs = [f"{name}={value}" for name, value in labels.items()]
    run(amtool, "config", "routes", "test", config, f"--verify.receivers={receivers}", *pairs)
