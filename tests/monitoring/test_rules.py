"""Every alert is tested, documented, and about metrics that exist."""

from __future__ import annotations

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
    assert alert["labels"]["layer"] in {"figures", "agency", "pipeline", "gate", "watchdog"}
    notes = alert["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url", "dashboard_url"}
    assert len(notes["description"]) > len("This alert fires.")
    assert notes["runbook_url"] == f"{{{{ $externalLabels.runbook }}}}#{name.lower()}"
    assert notes["dashboard_url"].startswith("{{ $externalLabels.grafana }}/d/hoso-")
    if name != "HosoWatchdog":
        assert "keep_firing_for" in alert
    if alert["labels"]["layer"] not in ("gate", "watchdog"):  # these have to be there at once
        assert "for" in alert


@pytest.mark.parametrize(
    "name", [n for n, a in ALERTS.items() if a["labels"]["layer"] == "figures"]
)
def test_an_alert_about_figures_stands_on_fresh_data(name: str) -> None:
    gates = {"hoso:figures_fresh:bool == 1"} | {
        f"{rule['record']} == 1"
        for rule in rules("record")
        if rule["expr"].endswith("and on () (hoso:figures_fresh:bool == 1)")
    }
    assert any(gate in ALERTS[name]["expr"] for gate in gates)


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


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({"layer": "pipeline", "alertname": "HosoWorkerDown"}, "pager"),
        ({"layer": "figures", "kind": "ministry"}, "operators,ministries"),
        ({"layer": "figures", "kind": "province"}, "operators,provinces"),
        ({"layer": "agency", "kind": "province"}, "operators,provinces"),
        ({"layer": "figures", "kind": "group"}, "operators"),
        ({"layer": "figures", "kind": "nation"}, "operators"),
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
