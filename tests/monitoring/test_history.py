"""A new installation's Prometheus shows the past: exported, made into blocks, and asked."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from streams.domain.calendar import ZONE
from streams.domain.ledger import Months
from streams.metrics import catalogue as metrics
from streams.metrics.backfill import end_of_day, write_openmetrics
from streams.metrics.collector import AgencyState
from streams.metrics.recorded import RECORDED
from streams.settings import load
from tests.api.world import World, list_service, register, submit
from tests.conftest import Broker
from tests.monitoring.site import Prometheus
from tests.runtime.site import PARTITIONS, Series, Site
from tests.runtime.test_figures import EVENTS, EXPECTED

FIRST, LAST = date(2020, 2, 28), date(2022, 8, 25)
EXPORTED = {m.name for m in metrics.STATE} - {metrics.LAST_EVENT.name}
AS_RECORDED = {m.name for m in RECORDED}
"""What the rules record of a day, which is exported beside it."""


def hoso(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``hoso`` against the site's broker."""
    environment = {name: value for name, value in os.environ.items() if "HOSO_" not in name} | {
        "HOSO_BROKERS": site.broker.bootstrap,
        "HOSO_TOPIC_PREFIX": site.prefix,
        "HOSO_APP_ID": site.app_id,
        "HOSO_PARTITIONS": str(PARTITIONS),
    }
    return subprocess.run(
        [sys.executable, "-m", "streams", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def at(prometheus: Prometheus, day: date) -> Series:
    """Every series at the last second of ``day``."""
    moment = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=ZONE).timestamp()
    return {
        (labels.pop("__name__"), frozenset(labels.items())): value
        for labels, value in prometheus.query('{__name__=~"hoso_.+"}', moment)
    }


@pytest.mark.broker
@pytest.mark.timeout(300)
async def test_a_backfilled_prometheus_shows_each_past_day_what_a_worker_would_have_shown(
    embedded_broker: Broker,
    topic_prefix: str,
    tmp_path: Path,
    prometheus_binary: str,
    promtool: str,
) -> None:
    file = tmp_path / "history.txt"
    async with Site(embedded_broker, topic_prefix, tmp_path) as site:
        worker = site.worker(as_of=LAST.isoformat())
        await worker.ready()
        await site.send(EVENTS)
        await site.caught_up()
        shown = await worker.metrics()
        asked = ("--from", FIRST.isoformat(), "--to", LAST.isoformat(), "-o", str(file))
        done = await asyncio.to_thread(hoso, site, "export", "openmetrics", *asked)
        assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(f"samples of {(LAST - FIRST).days + 1} days\n")
    blocks = ["tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=8760h"]
    blocks += [str(file), str(tmp_path / "tsdb")]
    made = await asyncio.to_thread(
        subprocess.run, [promtool, *blocks], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr

    (tmp_path / "prometheus.yml").write_text("global: {}\n", encoding="utf-8")
    prometheus = Prometheus(prometheus_binary, tmp_path, "--storage.tsdb.retention.time=100y")
    prometheus.start()
    try:
        assert at(prometheus, LAST) == {
            series: value for series, value in shown.items() if series[0] in EXPORTED
        }
        for case in EXPECTED:
            if case["definition"] == "mic-2022":
                day = date.fromisoformat(case["as_of"])
                _assert_figures(at(prometheus, day), case["period"], case["rows"])
        # No gap anywhere, and neither the day before nor the day after has a sample.
        days = prometheus.query(
            "count_over_time(hoso_as_of_timestamp_seconds[10000d])", end_of_day(LAST.toordinal())
        )
        assert [count for _, count in days] == [(LAST - FIRST).days + 1]
        assert at(prometheus, FIRST - timedelta(days=1)) == {}
        assert at(prometheus, LAST + timedelta(days=1)) == {}
    finally:
        prometheus.stop()


def _assert_figures(found: Series, period: str, rows: list[dict[str, Any]]) -> None:
    shown = {
        (name, dict(labels)["agency"]): value
        for (name, labels), value in found.items()
        if dict(labels).get("period") == period and "channel" not in dict(labels)
    }
    agencies = [row for row in rows if row["scope"] not in ("national", "ministries", "provinces")]
    assert agencies
    for row in agencies:
        code = row["scope"]
        used = row["services_with_dossiers"]
        assert shown["hoso_services_with_dossiers", code] == used
        for name, numerator, denominator in (
            ("hoso_services_with_dossiers_ratio", used, row["services_listed"]),
            (
                "hoso_online_processed_ratio",
                row["dossiers_processed_online"],
                row["dossiers_processed"],
            ),
        ):
            expected = numerator / denominator if denominator else None
            assert shown.get((name, code)) == expected, (name, code, period)


def exported(world: World, first: date, last: date) -> str:
    out = StringIO()
    months = world.register.months()
    states = [
        AgencyState(agency, months.get(agency.code, Months()), None)
        for agency in sorted(world.reference.agencies.values())
    ]
    targets = world.reference.targets
    write_openmetrics(out, states, targets, "mic-2022", first.toordinal(), last.toordinal())
    return out.getvalue()


def test_each_day_is_what_the_metrics_were_as_of_that_day() -> None:
    text = exported(World().feed_examples(), date(2021, 12, 30), date(2022, 1, 2))
    found: dict[float, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in AS_RECORDED:
                continue
            assert sample.timestamp is not None
            key = sample.name, tuple(sorted(sample.labels.items()))
            found.setdefault(float(sample.timestamp), {})[key] = sample.value
    days = [date(2021, 12, 30) + timedelta(days=n) for n in range(4)]
    assert sorted(found) == [end_of_day(day.toordinal()) for day in days]
    for day in days:
        world = World(load({}, as_of=day)).feed_examples()
        expected = {
            (metric.name, tuple(sorted(zip(metric.labels, labels, strict=True)))): value
            for metric, labels, value in world.samples()
            if metric is not metrics.LAST_EVENT
        }
        assert found[end_of_day(day.toordinal())] == expected


def test_families_and_series_stand_together_by_time() -> None:
    lines = exported(World().feed_examples(), date(2022, 8, 20), date(2022, 8, 25)).splitlines()
    assert lines[-1] == "# EOF"
    heads = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert heads == sorted(set(heads), key=heads.index)
    assert set(heads) == EXPORTED | AS_RECORDED
    samples = [line.rsplit(" ", 2) for line in lines if not line.startswith("#")]
    order = [series for series, _, _ in samples]
    runs = [one for n, one in enumerate(order) if n == 0 or order[n - 1] != one]
    assert len(runs) == len(set(runs)), "a series is interrupted"
    for series in runs:
        stamps = [int(stamp) for its, _, stamp in samples if its == series]
        assert stamps == sorted(set(stamps))


def test_a_share_without_a_denominator_has_no_sample_on_that_day_only() -> None:
    world = World()
    register(world, 'quo"te')
    list_service(world, 'quo"te', "1.0", effective_from="2022-01-02")
    submit(world, 'quo"te', "1.0", "a", "2022-01-02")
    text = exported(world, date(2022, 1, 1), date(2022, 1, 3))
    ratio = 'hoso_services_with_dossiers_ratio{agency="quo\\"te",kind="province",period="year"}'
    days = [line.rsplit(" ", 2)[1:] for line in text.splitlines() if line.startswith(ratio)]
    assert days == [["1.0", str(end_of_day(date(2022, 1, day).toordinal()))] for day in (2, 3)]


def test_the_end_of_a_day_is_its_last_second_in_vietnam() -> None:
    moment = datetime(2022, 8, 25, 23, 59, 59, tzinfo=ZONE)
    assert end_of_day(date(2022, 8, 25).toordinal()) == moment.timestamp()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "2022-08-26", "--to", "2022-08-25"), "--from 2022-08-26 is after"),
        (("--from", "2022-08-26", "--to", "9999-01-01"), "--to 9999-01-01 is not over yet"),
        (("--from", "2022-8-26", "--to", "2022-08-25"), "'2022-8-26' is not a date YYYY-MM-DD"),
        (("--from", "2022-08-25"), "Missing option '--to'"),
    ],
)
def test_a_range_that_makes_no_sense_is_named_before_a_broker_is_asked(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from streams.cli import main

    file = tmp_path / "history.txt"
    result = CliRunner().invoke(main, ["export", "openmetrics", *arguments, "-o", str(file)])
    assert result.exit_code == 2
    assert message in result.output
    assert not file.exists()
