"""The expressions of the dashboards on small worlds, through promtool and the rules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from grafana.src import expressions as promql
from grafana.src.expressions import NOW, Indicator
from streams.metrics import catalogue as metrics
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
        f"hoso_services_counted{{{of_the_year}}}": f"{listed}x200",
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


def _there_are(count: int) -> dict[str, str]:
    """What a worker knows of all partitions, its own and others'."""
    who = f'{_ON_JOB},topic="hoso.submissions"'
    return {f'hoso_records_lost_total{{{who},partition="{p}"}}': "0x200" for p in range(count)}


READY = {f"hoso_ready{{{_ON_JOB}}}": "1x200"}
AUGUST = {f"hoso_as_of_timestamp_seconds{{{_ON_JOB}}}": "1661360400x200"}
"""25 August 2022: 236 of 364 days of the year are gone."""
RULES = Path(__file__).parents[2] / "prometheus" / "rules" / "figures.yml"


def _expect(
    tmp_path: Path,
    world: World,
    expression: str,
    time: int,
    expected: Mapping[str, float],
    unit: str = "m",
    period: str = "year",
) -> None:
    """Fail unless the expression gives these samples (labels → value) after that many minutes, or
    hours if that is the unit of the world."""
    if shutil.which("promtool") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is missing")
        pytest.skip("promtool is not installed")
    groups = [group["name"] for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]]
    case = {
        "rule_files": [str(RULES)],
        "group_eval_order": groups,
        "evaluation_interval": f"1{unit}",
        "tests": [
            {
                "interval": f"1{unit}",
                "input_series": [
                    {"series": series, "values": values} for series, values in world.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": with_variables(expression, {**VARIABLES, "period": period}),
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
WHOLE = TWO | _partitions(2) | _there_are(2) | READY | AUGUST
H01 = '{kind="province",scope="H01"}'


def _national(indicator: Indicator) -> str:
    return promql.alike(promql.whole(promql.share(indicator, scope="national")))


NATION = '{kind="nation",scope="national"}'


def test_a_groups_share_is_the_sum_over_the_sum(tmp_path: Path) -> None:
    _expect(tmp_path, WHOLE, _national("services_with_dossiers"), 100, {NATION: 4 / 16})
    _expect(tmp_path, WHOLE, _national("online_processed"), 100, {NATION: 1 / 10})


def test_an_agency_on_two_workers_counts_once(tmp_path: Path) -> None:
    twice = WHOLE | {
        series.replace('instance="w1"', 'instance="w2"'): values for series, values in TWO.items()
    }
    _expect(tmp_path, twice, _national("services_with_dossiers"), 100, {NATION: 4 / 16})


def test_what_a_worker_showed_before_it_gave_an_agency_away_is_not_read(tmp_path: Path) -> None:
    """The first worker shows 5 on time until minute 60; then a correction; the second shows 4."""
    who = 'agency="H01",kind="province",period="year"'
    first = f'hoso_dossiers_on_time{{{who},job="hoso",instance="w1"}}'
    second = f'hoso_dossiers_on_time{{{who},job="hoso",instance="w2"}}'
    world = {first: "5x59 stale", second: "_x60 4x140"}
    on_time = promql.seen(metrics.DOSSIERS_ON_TIME, promql.At("90m"), agency="H01")
    labels = '{agency="H01",kind="province"}'
    _expect(tmp_path, world, on_time, 50, {labels: 5})
    _expect(tmp_path, world, on_time, 70, {labels: 4})
    # Of an exported past, which has one sample a day, the last one stands.
    exported = {f"hoso_dossiers_on_time{{{who}}}": "5x59 stale"}
    _expect(tmp_path, exported, on_time, 70, {labels: 5})


def test_no_denominator_no_share(tmp_path: Path) -> None:
    empty = _agency("H01", 0, 0, 0, 0) | _partitions(2) | _there_are(2) | READY | AUGUST
    for indicator in promql.INDICATORS:
        _expect(tmp_path, empty, _national(indicator), 100, {})
        _expect(tmp_path, empty, promql.missing(indicator, scope="H01"), 100, {})
        _expect(tmp_path, empty, promql.course(indicator, scope="H01"), 100, {})


def test_a_part_of_the_country_does_not_pass_for_the_whole(tmp_path: Path) -> None:
    """The second worker is gone from minute 60 on, and nobody has taken over its partition."""
    world = TWO | _partitions(1) | _there_are(2) | READY | AUGUST
    gone = {
        series.replace('partition="0"', 'partition="1"'): values
        for series, values in _partitions(1, 60, "w2").items()
    }
    shares: dict[Indicator, float] = {"services_with_dossiers": 4 / 16, "online_processed": 1 / 10}
    for indicator, share in shares.items():
        _expect(tmp_path, world | gone, _national(indicator), 59, {NATION: share})
        _expect(tmp_path, world | gone, _national(indicator), 100, {})


def test_a_dead_worker_whose_partitions_another_has_taken_over_hides_nothing(
    tmp_path: Path,
) -> None:
    dead = {'up{job="hoso",instance="w2"}': "0x200", 'up{job="hoso",instance="w1"}': "1x200"}
    _expect(tmp_path, WHOLE | dead, _national("online_processed"), 100, {NATION: 1 / 10})


def test_while_a_worker_recovers_nothing_is_pooled(tmp_path: Path) -> None:
    world = WHOLE | {f"hoso_ready{{{_ON_JOB}}}": "1x50 0x150"}
    _expect(tmp_path, world, _national("online_processed"), 49, {NATION: 1 / 10})
    _expect(tmp_path, world, _national("online_processed"), 60, {})


def test_workers_that_count_by_two_definitions_are_not_pooled(tmp_path: Path) -> None:
    one = {f'hoso_definition_info{{{_ON_JOB},definition="mic-2022"}}': "1x200"}
    other = {'hoso_definition_info{instance="w2",definition="qd766"}': "_x50 1x150"}
    _expect(tmp_path, WHOLE | one | other, _national("online_processed"), 49, {NATION: 1 / 10})
    _expect(tmp_path, WHOLE | one | other, _national("online_processed"), 60, {})


def test_the_denominator_is_the_workers_own_whatever_their_definition(tmp_path: Path) -> None:
    """By emc-2024 only level 4 counts; a service at level 3 is listed all the same."""
    more = {f'hoso_services_listed{{{_ON_JOB},agency="H01",kind="province",level="3"}}': "5x200"}
    _expect(tmp_path, WHOLE | more, _national("services_with_dossiers"), 100, {NATION: 4 / 16})


def test_the_year_before_is_pooled_though_an_agency_had_none(tmp_path: Path) -> None:
    """Its denominator cannot be had from a share of 0."""
    before = {}
    for code, used, of in (("H01", 0, 4), ("H02", 3, 6)):
        who = f'{_ON_JOB},agency="{code}",kind="province",period="year_last_year"'
        before |= {
            f"hoso_services_with_dossiers{{{who}}}": f"{used}x200",
            f"hoso_services_counted{{{who}}}": f"{of}x200",
            f"hoso_services_with_dossiers_ratio{{{who}}}": f"{used / of}x200",
        }
    share = promql.share("services_with_dossiers", NOW, "${period}_last_year", scope="national")
    _expect(tmp_path, WHOLE | before, promql.alike(share), 100, {NATION: 3 / 10})


def test_missing_is_not_one_too_many_for_a_binary_product(tmp_path: Path) -> None:
    """0.55 × 100 is 55.00000000000001 in binary; 54 of 100 miss one, not two."""
    assert 0.55 * 100 > 55
    world = _agency("H01", 54, 100, 4, 10) | AUGUST
    _expect(tmp_path, world, promql.missing("services_with_dossiers", scope="H01"), 100, {H01: 1})
    _expect(tmp_path, world, promql.missing("online_processed", scope="H01"), 100, {H01: 1})


def test_who_is_exactly_at_the_target_has_met_it(tmp_path: Path) -> None:
    world = _agency("H01", 11, 20, 5, 10) | AUGUST
    for indicator in promql.INDICATORS:
        _expect(tmp_path, world, promql.course(indicator, scope="H01"), 100, {H01: 2})
        _expect(tmp_path, world, promql.missing(indicator, scope="H01"), 100, {H01: 0})
        _expect(tmp_path, world, promql.below(indicator, scope="H01"), 100, {})


def test_services_are_judged_by_the_pace_and_dossiers_by_the_target(tmp_path: Path) -> None:
    """Pace to 55 % is 35.66 % on 25 August."""
    for used, state in ((7, 0), (8, 1), (11, 2)):
        world = _agency("H01", used, 20, 4, 10) | AUGUST
        course = promql.course("services_with_dossiers", scope="H01")
        _expect(tmp_path, world, course, 100, {H01: state})
    _expect(tmp_path, world, promql.course("online_processed", scope="H01"), 100, {H01: 0})


def test_a_month_is_not_judged_by_the_years_target(tmp_path: Path) -> None:
    world = {
        series.replace('period="year"', 'period="month"'): values
        for series, values in _agency("H01", 1, 20, 4, 10).items()
    }
    world |= _agency("H01", 11, 20, 5, 10) | AUGUST
    for figure in (promql.course, promql.missing, promql.shortfall, promql.below):
        _expect(
            tmp_path, world, figure("services_with_dossiers", scope="H01"), 100, {}, period="month"
        )
    online = promql.course("online_processed", scope="H01")
    _expect(tmp_path, world, online, 100, {H01: 0}, period="month")


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
    world = WHOLE | {f"hoso_as_of_timestamp_seconds{{{_ON_JOB}}}": f"{as_of}x200"}
    pace = promql.alike(promql.pace("services_with_dossiers", scope="H01"))
    _expect(tmp_path, world, pace, 100, {H01: 0.55 * part})
    _expect(tmp_path, world, pace, 100, {}, period="month")


@pytest.mark.parametrize(
    ("as_of", "shown"), [(1672938000, False), (1673024400, False), (1673110800, True)]
)
def test_in_the_first_week_of_a_year_no_change_is_shown(
    tmp_path: Path, as_of: int, shown: bool
) -> None:
    """6, 7 and 8 January 2023: a week before it was another year, or its last day."""
    hours = {series: values.replace("x200", "x300") for series, values in (WHOLE | AUGUST).items()}
    hours |= {f"hoso_as_of_timestamp_seconds{{{_ON_JOB}}}": f"{as_of}x300"}
    used = f'hoso_services_with_dossiers{{{_ON_JOB},agency="H01",kind="province",period="year"}}'
    hours |= {used: "2x190 3x110"}
    change = promql.change("services_with_dossiers", scope="H01")
    _expect(tmp_path, hours, change, 290, {H01: 25.0} if shown else {}, "h")


def test_last_met_is_the_last_hour_at_the_target_of_those_below_it(tmp_path: Path) -> None:
    """At 60 % for two days, then at 50 %; the target is 55 %. Samples are an hour apart."""
    used = f'hoso_services_with_dossiers{{{_ON_JOB},agency="H01",kind="province",period="year"}}'
    hours = _agency("H01", 10, 20, 5, 10) | AUGUST | {used: "12x48 10x150"}
    expression = promql.last_met("services_with_dossiers", scope="H01")
    _expect(tmp_path, hours, expression, 47, {}, "h")
    _expect(tmp_path, hours, expression, 120, {H01: 48 * 3_600_000}, "h")
    _expect(tmp_path, {**hours, used: "10x200"}, expression, 120, {H01: 0}, "h")


def test_a_tile_shows_all_of_its_values_or_none(tmp_path: Path) -> None:
    main = promql.alike(promql.share("online_processed", scope="H01"))
    aim = promql.alike(promql.target("online_processed", scope="H01"))
    beside = promql.beside(main, aim)
    world = _agency("H01", 1, 4, 4, 10) | AUGUST
    _expect(tmp_path, world, beside, 100, {H01: 0.5})
    # No share, as when every worker is dead: no target either, that could be taken for one.
    no_share = {s: v for s, v in world.items() if not s.startswith("hoso_online_processed_ratio")}
    _expect(tmp_path, no_share, beside, 100, {})
    # No target: its place is kept.
    no_target = {s: v for s, v in world.items() if not s.startswith("hoso_target_ratio")}
    _expect(tmp_path, no_target, f"({beside}) == bool ({beside})", 100, {H01: 0})


def test_a_target_of_the_year_is_said_to_be_one_beside_a_month(tmp_path: Path) -> None:
    year = _agency("H01", 1, 4, 4, 10)
    month = {s.replace('"year"', '"month"'): v for s, v in year.items()}
    own = promql.alike(promql.share("services_with_dossiers", scope="H01"))
    aim = promql.alike(promql.target("services_with_dossiers", scope="H01"))
    beside = promql.beside_in_a_year(own, aim)
    world = WHOLE | month
    _expect(tmp_path, world, beside, 100, {H01: 0.55})
    _expect(tmp_path, world, beside, 100, {H01: -1}, period="month")
    no_share = {s: v for s, v in world.items() if not s.startswith("hoso_services_counted")}
    no_share = {s: v for s, v in no_share.items() if not s.startswith("hoso_services_listed")}
    _expect(tmp_path, no_share, beside, 100, {}, period="month")


def _line(expression: str) -> str:
    """A line's labels as they are, whatever its value."""
    return f"0 * ({expression})"


def test_the_first_line_is_one_of_four(tmp_path: Path) -> None:
    definition = {f'hoso_definition_info{{{_ON_JOB},definition="mic-2022"}}': "1x200"}
    known = {f"hoso_behind_records{{{_ON_JOB}}}": "7x200"}
    world = WHOLE | definition | known
    day = 'day="25",month="08",year="2022"'
    said = f'{{{day},definition="mic-2022",shown="2",known="2",behind="7"}}'
    lines = [promql.status(complete=True), promql.status(complete=False)]
    lines += [promql.nothing_shown(), promql.never_shown()]

    def expect(world: World, found: int, labels: str, at: int = 100) -> None:
        for number, line in enumerate(lines):
            _expect(tmp_path, world, _line(line), at, {labels: 0} if number == found else {})

    expect(world, 0, said)
    recovering = world | {f"hoso_ready{{{_ON_JOB}}}": "0x200"}
    expect(recovering, 1, said)
    dead = {series: values.replace("x200", "x50 stale") for series, values in world.items()}
    expect(dead, 2, f"{{{day}}}")
    expect({"up": "0x200"}, 3, "{}")
