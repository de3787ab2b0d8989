"""The expressions of the dashboards on small worlds of their own, through promtool."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from grafana.src import expressions as promql
from grafana.src.expressions import At
from tests.grafana.dashboards import VARIABLES, with_variables

World = Mapping[str, str]
"""Series → values in promtool's notation, a minute apart unless told otherwise."""

_ON_JOB = 'job="hoso",instance="w1"'


def _agency(
    code: str, services: int, listed: int, online: int, processed: int, kind: str = "province"
) -> dict[str, str]:
    who = f'{_ON_JOB},agency="{code}",kind="{kind}"'
    of_the_year = f'{who},period="year"'
    world = {
        f'hoso_services_listed{{{who},level="4"}}': f"{listed}x200",
        f"hoso_services_with_dossiers{{{of_the_year}}}": f"{services}x200",
        f'hoso_dossiers_processed{{{of_the_year},channel="online"}}': f"{online}x200",
        f'hoso_dossiers_processed{{{of_the_year},channel="postal"}}': f"{processed - online}x200",
        f'hoso_target_ratio{{{who},indicator="services_with_dossiers"}}': "0.55x200",
        f'hoso_target_ratio{{{who},indicator="online_processed"}}': "0.5x200",
    }
    if listed:
        name = f"hoso_services_with_dossiers_ratio{{{of_the_year}}}"
        world[name] = f"{services / listed!r}x200"
    if processed:
        world[f"hoso_online_processed_ratio{{{of_the_year}}}"] = f"{online / processed!r}x200"
    return world


def _partitions(count: int, until: int = 200, instance: str = "w1") -> dict[str, str]:
    """Partitions that a worker shows until some minute, and then no more."""
    values = f"0x{until}" + (f" _x{200 - until}" if until < 200 else "")
    who = f'job="hoso",instance="{instance}",topic="hoso.submissions"'
    return {f'hoso_consumer_lag{{{who},partition="{p}"}}': values for p in range(count)}


READY = {f"hoso_ready{{{_ON_JOB}}}": "1x200"}


def _expect(
    tmp_path: Path,
    world: World,
    expression: str,
    time: int,
    expected: Mapping[str, float],
    unit: str = "m",
) -> None:
    """Fail unless the expression gives these samples (labels → value) after that many minutes, or
    hours if that is the unit of the world."""
    if shutil.which("promtool") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is missing")
        pytest.skip("promtool is not installed")
    case = {
        "evaluation_interval": f"1{unit}",
        "tests": [
            {
                "interval": f"1{unit}",
                "input_series": [
                    {"series": series, "values": values} for series, values in world.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": with_variables(expression, VARIABLES),
                        "eval_time": f"{time}{unit}",
                        "exp_samples": [
                            {"labels": labels, "value": value} for labels, value in expected.items()
                        ],
                    }
                ],
            }
        ],
    }
    path = tmp_path / "case.yml"
    path.write_text(json.dumps(case), "utf-8")
    tested = subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


TWO = _agency("H01", 3, 4, 1, 10) | _agency("H02", 1, 12, 0, 0)
WHOLE = TWO | _partitions(2) | READY


def test_a_groups_share_is_the_sum_over_the_sum(tmp_path: Path) -> None:
    _expect(tmp_path, WHOLE, promql.pooled("services_with_dossiers"), 100, {"{}": 4 / 16})
    _expect(tmp_path, WHOLE, promql.pooled("online_processed"), 100, {"{}": 1 / 10})


def test_an_agency_on_two_workers_counts_once(tmp_path: Path) -> None:
    twice = WHOLE | {
        series.replace('instance="w1"', 'instance="w2"'): values for series, values in TWO.items()
    }
    _expect(tmp_path, twice, promql.pooled("services_with_dossiers"), 100, {"{}": 4 / 16})


def test_what_a_worker_showed_before_it_gave_an_agency_away_is_not_read(tmp_path: Path) -> None:
    """The first worker shows 5 of 10 until minute 60; then a correction; the second shows 4."""
    before = _agency("H01", 0, 4, 5, 10)
    after = {
        series.replace('instance="w1"', 'instance="w2"'): f"_x60 {values.replace('x200', 'x140')}"
        for series, values in _agency("H01", 0, 4, 4, 10).items()
    }
    gone = {series: values.replace("x200", "x59 stale") for series, values in before.items()}
    share = promql.ratio("online_processed", At("90m"))
    labels = '{agency="H01",kind="province"}'
    _expect(tmp_path, gone | after, share, 50, {labels: 0.5})
    _expect(tmp_path, gone | after, share, 70, {labels: 0.4})
    # Where nobody shows it, the last sample stands in: a backfilled past has one a day.
    _expect(tmp_path, gone, share, 70, {labels: 0.5})


def test_no_denominator_no_share(tmp_path: Path) -> None:
    empty = _agency("H01", 0, 0, 0, 0) | _partitions(2) | READY
    for indicator in promql.INDICATORS:
        _expect(tmp_path, empty, promql.pooled(indicator), 100, {})
        _expect(tmp_path, empty, promql.missing(indicator), 100, {})


def test_a_part_of_the_country_does_not_pass_for_the_whole(tmp_path: Path) -> None:
    """The second worker is gone from minute 60 on, and nobody has taken over its partition."""
    world = TWO | _partitions(1) | READY
    gone = {
        series.replace('partition="0"', 'partition="1"'): values
        for series, values in _partitions(1, 60, "w2").items()
    }
    for indicator, share in (("services_with_dossiers", 4 / 16), ("online_processed", 1 / 10)):
        expression = promql.pooled(indicator)  # type: ignore[arg-type]
        _expect(tmp_path, world | gone, expression, 59, {"{}": share})
        _expect(tmp_path, world | gone, expression, 100, {})


def test_while_a_worker_recovers_nothing_is_pooled(tmp_path: Path) -> None:
    world = TWO | _partitions(2) | {f"hoso_ready{{{_ON_JOB}}}": "1x50 0x150"}
    _expect(tmp_path, world, promql.pooled("online_processed"), 49, {"{}": 1 / 10})
    _expect(tmp_path, world, promql.pooled("online_processed"), 60, {})


def test_a_backfilled_past_without_partitions_is_shown(tmp_path: Path) -> None:
    _expect(tmp_path, TWO, promql.pooled("online_processed"), 100, {"{}": 1 / 10})


def test_levels_that_are_not_the_definitions_blank_pooled_services(tmp_path: Path) -> None:
    more = {f'hoso_services_listed{{{_ON_JOB},agency="H01",kind="province",level="3"}}': "5x200"}
    _expect(tmp_path, WHOLE | more, promql.pooled("services_with_dossiers"), 100, {})


def test_missing_is_not_one_too_many_for_a_binary_product(tmp_path: Path) -> None:
    """0.55 × 100 is 55.00000000000001 in binary; 54 of 100 miss one, not two."""
    assert 0.55 * 100 > 55
    world = _agency("H01", 54, 100, 4, 10)
    labels = '{agency="H01",kind="province"}'
    _expect(tmp_path, world, promql.missing("services_with_dossiers"), 100, {labels: 1})
    _expect(tmp_path, world, promql.missing("online_processed"), 100, {labels: 1})


def test_who_is_exactly_at_the_target_has_met_it(tmp_path: Path) -> None:
    world = _agency("H01", 11, 20, 5, 10)
    labels = '{agency="H01",kind="province"}'
    for indicator in promql.INDICATORS:
        share, aim = promql.ratio(indicator), promql.target(indicator)
        _expect(tmp_path, world, promql.met(share, aim), 100, {labels: 1})
        _expect(tmp_path, world, promql.missing(indicator), 100, {labels: 0})


@pytest.mark.parametrize(
    ("as_of", "part"),
    [
        (1640970000, 0 / 364),  # 2022-01-01 in Vietnam, still 31 December in UTC
        (1672419600, 364 / 364),  # 2022-12-31
        (1735578000, 365 / 365),  # 2024-12-31, a leap year
        (1709139600, 59 / 365),  # 2024-02-29
    ],
)
def test_pace_goes_from_the_first_day_to_the_last(tmp_path: Path, as_of: int, part: float) -> None:
    world = _agency("H01", 1, 4, 0, 0) | {
        f"hoso_as_of_timestamp_seconds{{{_ON_JOB}}}": f"{as_of}x200"
    }
    labels = '{agency="H01",kind="province"}'
    _expect(tmp_path, world, promql.pace(), 100, {labels: 0.55 * part})
    other = promql.pace().replace("$period", "month")
    _expect(tmp_path, world, other, 100, {})


def test_across_new_year_no_difference_is_shown(tmp_path: Path) -> None:
    world = {f"hoso_as_of_timestamp_seconds{{{_ON_JOB}}}": "1672419600x99 1672506000x100"}
    before = At("1m", "10m")
    _expect(tmp_path, world, promql.same_year("vector(1)", before), 50, {"{}": 1})
    _expect(tmp_path, world, promql.same_year("vector(1)", before), 105, {})
    _expect(tmp_path, world, promql.same_year("vector(1)", before), 150, {"{}": 1})


def test_last_met_is_the_last_day_at_the_target_of_those_below_it(tmp_path: Path) -> None:
    """At 60 % for two days, then at 50 %; the target is 55 %. Samples are an hour apart."""
    who = f'{_ON_JOB},agency="H01",kind="province"'
    hours = {
        f'hoso_services_with_dossiers_ratio{{{who},period="year"}}': "0.6x48 0.5x80",
        f'hoso_target_ratio{{{who},indicator="services_with_dossiers"}}': "0.55x200",
    }
    expression = promql.last_met("services_with_dossiers")
    labels = '{agency="H01",kind="province"}'
    _expect(tmp_path, hours, expression, 47, {}, "h")
    _expect(tmp_path, hours, expression, 120, {labels: 2 * 86_400_000}, "h")
