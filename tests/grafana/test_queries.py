"""Every query of every panel, asked of a real Prometheus that scrapes a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from grafana.src import expressions as promql
from grafana.src.expressions import INDICATORS, NOW, OVER_TIME, WEEK_AGO, YEAR_AGO, Indicator
from grafana.src.texts import PERIODS
from tests.grafana.dashboards import FILES, VARIABLES, Target, targets, with_variables
from tests.grafana.monitored import AS_OF, Monitored

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(600)]

MAY_BE_EMPTY = {
    ("pipeline", "Cảnh báo đang phát"): "no alert fires on a sound pipeline in its first minutes",
    ("pipeline", "Vào dead-letters, theo lý do"): "nothing was rejected in the last minute",
    ("pipeline", "Bản ghi mất, theo topic"): "nothing is lost",
}
"""(dashboard, panel or column) → why it may show nothing. Its query must still be answered."""

TARGETS = [target for path in FILES if path.parent.name == "vi" for target in targets(path)]
"""Of one language: a test holds the expressions of the other against these."""

_RANGE_SECONDS, _STEP = 60.0, 5.0


def test_every_panel_finds_what_it_asks_for(monitored: Monitored, capsys: Any) -> None:
    lines, empty = [], []
    for target in TARGETS:
        found = _ask(monitored, target)
        page = target.dashboard.partition("/")[2]
        lines.append(
            f"{page:11} {target.panel[:48]:48} {target.ref} {target.name[:32]:32} {found:4}"
        )
        allowed = {(page, target.panel), (page, target.name)} & MAY_BE_EMPTY.keys()
        if not found and not allowed:
            empty.append(f"{lines[-1]}\n  {target.expression}")
    with capsys.disabled():
        print("\ndashboard   panel, query, its name and how many series it gave", *lines, sep="\n")  # noqa: T201
    assert not empty, "\n".join(empty)


def test_panels_that_may_be_empty_are_there() -> None:
    named = {(t.dashboard.partition("/")[2], name) for t in TARGETS for name in (t.panel, t.name)}
    assert named >= MAY_BE_EMPTY.keys()


@pytest.mark.parametrize("period", [period for period in PERIODS if period != "year"])
def test_every_panel_is_answered_in_every_period(monitored: Monitored, period: str) -> None:
    empty = {
        (target.dashboard.partition("/")[2], target.panel, target.name)
        for target in TARGETS
        if "$period" in target.expression or "${period}" in target.expression
        if not _ask(monitored, target, period=period)
    }
    # Targets are of the year, so is the pace.
    of_the_year = {name for _, _, name in empty}
    panels = {panel for _, panel, _ in empty}
    assert of_the_year <= {"Tiến độ cần có", "Tiến độ", "Dịch vụ có hồ sơ trực tuyến"}, empty
    assert panels <= {"Kịp tiến độ?", "Dịch vụ có hồ sơ trực tuyến", "Hồ sơ xử lý trực tuyến"}


def _ask(monitored: Monitored, target: Target, **other: str) -> int:
    expression = target.with_variables({**VARIABLES, **other})
    if target.instant:
        return len(monitored.query(expression))
    series = monitored.query_range(expression, _RANGE_SECONDS, _STEP)
    return sum(1 for one in series if any(value != "NaN" for _, value in one["values"]))


GROUPS = {"": "national", "ministry": "ministries", "province": "provinces"}


@pytest.mark.parametrize("indicator", INDICATORS)
@pytest.mark.parametrize("kind", GROUPS)
def test_pooled_shares_are_the_apis(monitored: Monitored, kind: str, indicator: Indicator) -> None:
    row = monitored.shares()[GROUPS[kind]]

    for at in (NOW, OVER_TIME):
        (value,) = _values(monitored, promql.pooled(indicator, at, kind=kind))
        assert value == row[f"{indicator}_ratio"]
    (target,) = _values(monitored, promql.pooled_target(indicator, kind=kind))
    assert target == pytest.approx(row["targets"][indicator]["ratio"], abs=1e-12)
    if indicator == "online_processed":
        (before,) = _values(monitored, promql.pooled(indicator, NOW, "year_last_year", kind=kind))
        assert before == row["previous_year"]["online_processed_ratio"]


@pytest.mark.parametrize("indicator", INDICATORS)
def test_the_past_is_what_was_shown_then(monitored: Monitored, indicator: Indicator) -> None:
    (week_ago,) = _values(monitored, promql.pooled(indicator, WEEK_AGO, "year"))
    (year_ago,) = _values(monitored, promql.pooled(indicator, YEAR_AGO, "year"))

    assert week_ago == monitored.shares("2022-08-18")["national"][f"{indicator}_ratio"]
    assert year_ago == monitored.shares("2021-08-25")["national"][f"{indicator}_ratio"]


@pytest.mark.parametrize("indicator", INDICATORS)
def test_figures_of_every_agency_are_the_apis(monitored: Monitored, indicator: Indicator) -> None:
    rows = {scope: row for scope, row in monitored.shares().items() if row["kind"]}
    gaps = {scope: row["targets"][indicator] for scope, row in rows.items()}

    missing = dict(_by_agency(monitored, promql.missing(indicator)))
    assert missing == {scope: gap["missing"] for scope, gap in gaps.items()}
    share, aim = promql.ratio(indicator), promql.target(indicator)
    short = dict(_by_agency(monitored, promql.shortfall(share, aim)))
    assert short == pytest.approx({scope: gap["shortfall"] for scope, gap in gaps.items()})
    met = dict(_by_agency(monitored, promql.met(share, aim)))
    assert met == {scope: float(gap["shortfall"] == 0) for scope, gap in gaps.items()}
    counted = dict(_by_agency(monitored, promql.numerator(indicator)))
    of = dict(_by_agency(monitored, promql.denominator(indicator)))
    names = {
        "services_with_dossiers": ("services_with_dossiers", "services_listed"),
        "online_processed": ("dossiers_processed_online", "dossiers_processed"),
    }[indicator]
    assert counted == {scope: row[names[0]] for scope, row in rows.items()}
    assert of == {scope: row[names[1]] for scope, row in rows.items()}


def test_pace_is_the_apis(monitored: Monitored) -> None:
    gaps = {
        scope: row["targets"]["services_with_dossiers"]
        for scope, row in monitored.shares(AS_OF).items()
        if row["kind"]
    }
    share = promql.ratio("services_with_dossiers")
    behind = dict(_by_agency(monitored, promql.shortfall(share, promql.pace())))

    assert behind == pytest.approx({scope: gap["behind_pace"] for scope, gap in gaps.items()})
    # 25 August is 236 of 364 days after 1 January, and every target of 2022 is 80 %.
    expected = float(Fraction(8, 10) * Fraction(236, 364))
    paces = dict(_by_agency(monitored, promql.pace()))
    assert paces == pytest.approx(dict.fromkeys(gaps, expected))


def test_a_definition_that_is_not_the_workers_blanks_pooled_services(
    monitored: Monitored,
) -> None:
    pooled = promql.pooled("services_with_dossiers")

    assert monitored.query(with_variables(pooled, VARIABLES))
    assert not monitored.query(with_variables(pooled, {**VARIABLES, "levels": "4"}))


def _values(monitored: Monitored, expression: str) -> list[float]:
    found = monitored.query(with_variables(expression, VARIABLES))
    return [float(series["value"][1]) for series in found]


def _by_agency(monitored: Monitored, expression: str) -> Iterator[tuple[str, float]]:
    for series in monitored.query(with_variables(expression, VARIABLES)):
        yield series["metric"]["agency"], float(series["value"][1])
