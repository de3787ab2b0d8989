"""Every query of every panel, asked of a real Prometheus that scrapes a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from typing import Any

import pytest
import yaml

from grafana.src import expressions as promql
from grafana.src.expressions import INDICATORS, NOW, OVER_TIME, WEEK_AGO, Indicator
from grafana.src.texts import PERIODS
from streams.metrics.backfill import end_of_day
from streams.metrics.recorded import MET_AT, RECORDED
from tests.grafana.dashboards import FILES, VARIABLES, Target, targets, with_variables
from tests.grafana.monitored import AS_OF, DAY_SECONDS, PAST_DAYS, RULES, Monitored

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(600)]

MAY_BE_EMPTY = {
    ("pipeline", "Cảnh báo đang phát"): "no alert fires on a sound pipeline in its first minutes",
    ("pipeline", "Vào dead-letters, theo lý do"): "nothing was rejected in the last minute",
    ("pipeline", "Bản ghi mất, theo topic"): "nothing is lost",
    ("agency", "không có sự kiện bị loại"): "some were",
    ("nation", "Giảm nhiều nhất trong tuần: DVC trực tuyến phát sinh hồ sơ"): "nobody has fallen",
}
"""(dashboard, panel or column) → why it may show nothing. Its query must still be answered."""

TARGETS = [target for path in FILES if path.parent.name == "vi" for target in targets(path)]
"""Of one language: a test holds the expressions of the other against these."""

_RANGE_SECONDS, _STEP = 60.0, 5.0


def test_every_panel_finds_what_it_asks_for(monitored: Monitored, capsys: Any) -> None:
    lines = []
    found_by: dict[tuple[str, str, str], int] = {}
    """Some values have several queries, of which one finds something: minutes, hours or days."""
    for target in TARGETS:
        found = _ask(monitored, target)
        page = target.dashboard.partition("/")[2]
        lines.append(
            f"{page:11} {target.panel[:48]:48} {target.ref} {target.name[:32]:32} {found:4}"
        )
        allowed = {(page, target.panel), (page, target.name)} & MAY_BE_EMPTY.keys()
        if not allowed and not target.name.startswith("✘"):
            key = page, target.panel, target.name
            found_by[key] = found_by.get(key, 0) + found
    with capsys.disabled():
        print("\ndashboard   panel, query, its name and how many series it gave", *lines, sep="\n")  # noqa: T201
    assert not [key for key, found in found_by.items() if not found]


def test_panels_that_may_be_empty_are_there() -> None:
    named = {(t.dashboard.partition("/")[2], name) for t in TARGETS for name in (t.panel, t.name)}
    assert named >= MAY_BE_EMPTY.keys()


@pytest.mark.parametrize("period", [period for period in PERIODS if period != "year"])
def test_only_the_year_is_held_against_the_years_target(monitored: Monitored, period: str) -> None:
    judged_always = promql.course("online_processed", kind="province")
    assert monitored.query(with_variables(judged_always, {**VARIABLES, "period": period}))
    for target in TARGETS:
        said_of_services = "services_with_dossiers" in target.expression
        if "scope:hoso_target:ratio" in target.expression and said_of_services:
            assert not _values_beside(monitored, target, period), target


def _values_beside(monitored: Monitored, target: Target, period: str) -> list[float]:
    """What an instant query gives that is a figure: -1 says that there is one of the year."""
    if not target.instant:
        return [1.0] * _ask(monitored, target, period=period)
    found = monitored.query(target.with_variables({**VARIABLES, "period": period}))
    values = [float(series["value"][1]) for series in found]
    return [value for value in values if value >= 0]


def _ask(monitored: Monitored, target: Target, **other: str) -> int:
    expression = target.with_variables({**VARIABLES, **other})
    if target.instant:
        return len(monitored.query(expression))
    series = monitored.query_range(expression, _RANGE_SECONDS, _STEP)
    return sum(1 for one in series if any(value != "NaN" for _, value in one["values"]))


@pytest.mark.parametrize("indicator", INDICATORS)
@pytest.mark.parametrize("scope", ["national", "ministries", "provinces"])
def test_pooled_shares_are_the_apis(monitored: Monitored, scope: str, indicator: Indicator) -> None:
    row = monitored.shares()[scope]

    for at in (NOW, OVER_TIME):
        (value,) = _values(monitored, promql.whole(promql.share(indicator, at, scope=scope)))
        assert value == row[f"{indicator}_ratio"]
    (target,) = _values(monitored, promql.target(indicator, scope=scope))
    assert target == pytest.approx(row["targets"][indicator]["ratio"], abs=1e-12)
    (before,) = _values(monitored, promql.share(indicator, NOW, "year_last_year", scope=scope))
    assert before == row["previous_year"][f"{indicator}_ratio"]
    assert _values(monitored, promql.missing(indicator, scope=scope)) == [
        row["targets"][indicator]["missing"]
    ]


A_WEEK_AGO = "2022-08-17"
"""The day that was over a week ago: of an exported past, its end was the last that was known."""


@pytest.mark.parametrize("indicator", INDICATORS)
def test_the_past_is_what_was_shown_then(monitored: Monitored, indicator: Indicator) -> None:
    week_ago = promql.share(indicator, WEEK_AGO, "year", scope="national")

    assert _values(monitored, week_ago) == [
        monitored.shares(A_WEEK_AGO)["national"][f"{indicator}_ratio"]
    ]
    now, then = monitored.shares()["national"], monitored.shares(A_WEEK_AGO)["national"]
    moved = 100 * (now[f"{indicator}_ratio"] - then[f"{indicator}_ratio"])
    assert _values(monitored, promql.change(indicator, scope="national")) == [pytest.approx(moved)]


def test_a_past_that_was_exported_is_drawn(monitored: Monitored) -> None:
    """As documented: without a job, a sample a day. Every graph of figures has every day of it."""
    step = 3 * 3600.0
    rate = f"{step + 15:g}s"
    for target in TARGETS:
        page = target.dashboard.partition("/")[2]
        if target.instant or page == "pipeline" or "hoso_events_rejected" in target.expression:
            continue
        asked = target.with_variables({**VARIABLES, "__rate_interval": rate})
        found = monitored.query_range(asked, (PAST_DAYS - 1) * DAY_SECONDS, step)
        days = {int(at) // DAY_SECONDS for series in found for at, _ in series["values"]}
        assert len(days) >= PAST_DAYS - 1, (target.panel, target.name)


def test_the_export_is_what_the_rules_record(monitored: Monitored) -> None:
    """The past continues as the present: as of one day both say the same."""
    known = {metric.name: metric for metric in RECORDED}
    day = date.fromisoformat(AS_OF)
    exported = {
        series: value
        for series, value in monitored.exported(day)
        if series.partition("{")[0] in known
    }
    rules = yaml.safe_load((RULES / "figures.yml").read_text(encoding="utf-8"))["groups"]
    (met,) = (rule for group in rules for rule in group["rules"] if rule["record"] == MET_AT.name)
    recorded = {}
    for name, metric in known.items():
        # The one that is recorded once an hour is asked for, instead of waited for.
        for series in monitored.query(met["expr"] if metric == MET_AT else name):
            labels = series["metric"]
            pairs = ",".join(f'{label}="{labels[label]}"' for label in metric.labels)
            recorded[f"{name}{{{pairs}}}"] = float(series["value"][1])

    assert exported.keys() == recorded.keys()
    for series, value in exported.items():
        if series.startswith(MET_AT.name):
            assert value == end_of_day(day.toordinal())
        else:
            assert recorded[series] == pytest.approx(value, abs=1e-12), series


@pytest.mark.parametrize("indicator", INDICATORS)
def test_figures_of_every_agency_are_the_apis(monitored: Monitored, indicator: Indicator) -> None:
    rows = {scope: row for scope, row in monitored.shares().items() if row["kind"]}
    gaps = {scope: row["targets"][indicator] for scope, row in rows.items()}
    kind = "~ministry|province"

    missing = dict(_by_scope(monitored, promql.missing(indicator, kind=kind)))
    assert missing == {scope: gap["missing"] for scope, gap in gaps.items()}
    short = dict(_by_scope(monitored, promql.shortfall(indicator, kind=kind)))
    assert short == pytest.approx({scope: 100 * gap["shortfall"] for scope, gap in gaps.items()})
    course = dict(_by_scope(monitored, promql.course(indicator, kind=kind)))
    assert course == {
        scope: float(gap["behind_pace"] == 0) + float(gap["shortfall"] == 0)
        for scope, gap in gaps.items()
    }
    counted = dict(_by_scope(monitored, promql.numerator(indicator, kind=kind)))
    of = dict(_by_scope(monitored, promql.denominator(indicator, kind=kind)))
    names = {
        "services_with_dossiers": ("services_with_dossiers", "services_listed"),
        "online_processed": ("dossiers_processed_online", "dossiers_processed"),
    }[indicator]
    assert counted == {scope: row[names[0]] for scope, row in rows.items()}
    assert of == {scope: row[names[1]] for scope, row in rows.items()}


def test_pace_is_the_apis(monitored: Monitored) -> None:
    # 25 August is 236 of 364 days after 1 January, and every target of 2022 is 80 %.
    expected = float(Fraction(8, 10) * Fraction(236, 364))
    pace = promql.pace("services_with_dossiers", kind="~ministry|province")
    paces = dict(_by_scope(monitored, pace))
    codes = [scope for scope, row in monitored.shares().items() if row["kind"]]
    assert paces == pytest.approx(dict.fromkeys(codes, expected))


def test_the_first_line_says_what_stands_below_it(monitored: Monitored) -> None:
    (line,) = monitored.query(promql.status(complete=True))
    assert line["metric"] == {
        "day": "25",
        "month": "08",
        "year": "2022",
        "definition": "mic-2022",
        "shown": "91",
        "known": "91",
        "behind": "0",
    }
    assert not monitored.query(promql.status(complete=False))
    assert not monitored.query(promql.nothing_shown())
    assert not monitored.query(promql.never_shown())


def test_the_first_rejection_ever_is_counted(monitored: Monitored) -> None:
    """The counter's series begins with it, and increase() sees nothing of a first sample."""
    counted = promql.rejections("reason", "1h", agency="H56")
    found = monitored.query(counted)
    assert [(s["metric"], float(s["value"][1])) for s in found] == [({"reason": "future_time"}, 5)]


def _values(monitored: Monitored, expression: str) -> list[float]:
    found = monitored.query(with_variables(expression, VARIABLES))
    return [float(series["value"][1]) for series in found]


def _by_scope(monitored: Monitored, expression: str) -> Iterator[tuple[str, float]]:
    for series in monitored.query(with_variables(expression, VARIABLES)):
        yield series["metric"]["scope"], float(series["value"][1])
