"""``GET /metrics``: section 5 of the contract, name by name, and what is shown when."""

from __future__ import annotations

import math
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import date
from fractions import Fraction
from typing import Any, get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse
from prometheus_client.registry import Collector

from schemas.decoder import Reason
from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, Topic
from streams.domain.calendar import PERIOD_KINDS, previous_year
from streams.domain.definitions import DEFINITIONS
from streams.domain.targets import INDICATORS
from streams.kafka.partitioner import partition_for
from streams.metrics import catalogue as metrics
from streams.metrics.catalogue import OUTCOMES, Metric
from streams.processing.chunk import Outcome
from streams.processing.task import Cause
from streams.settings import load
from tests.api.conftest import Connect
from tests.api.test_indicators import assign, random_world
from tests.api.world import World, list_service, process, register, submit

# What operators need and the contract does not name.
BESIDE_THE_CONTRACT = {
    "hoso_behind_records": "",
    "hoso_conservation_difference": "topic,partition",
    "hoso_definition_info": "definition",
    "hoso_services_counted": "agency,kind,period",
    "hoso_records_lost_total": "topic,partition",
}
CONTRACT = {
    "hoso_services_listed": "agency,kind,level",
    "hoso_services_with_dossiers": "agency,kind,period",
    "hoso_services_with_dossiers_ratio": "agency,kind,period",
    "hoso_dossiers_submitted": "agency,kind,channel,period",
    "hoso_dossiers_processed": "agency,kind,channel,period",
    "hoso_online_processed_ratio": "agency,kind,period",
    "hoso_dossiers_on_time": "agency,kind,period",
    "hoso_dossiers_due": "agency,kind,period",
    "hoso_target_ratio": "agency,kind,indicator",
    "hoso_last_event_timestamp_seconds": "agency,kind",
    "hoso_as_of_timestamp_seconds": "",
    "hoso_events_total": "topic,outcome",
    "hoso_events_rejected_total": "agency,reason",
    "hoso_batch_seconds": "",
    "hoso_consumer_lag": "topic,partition",
    "hoso_ready": "",
}
"""Section 5 of the contract."""

PERIODS = [f"{kind}{suffix}" for suffix in ("", "_last_year") for kind in PERIOD_KINDS]

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(client: Any) -> str:
    response = await client.get("/metrics")
    assert response.status == 200
    return str(await response.text())


def series(text: str) -> Series:
    found: Series = {}
    for family in parse(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def values(text: str, metric: Metric, **labels: str) -> list[float]:
    """The values of the series of ``metric`` with these labels among theirs."""
    return [
        value
        for (name, its), value in series(text).items()
        if name == metric.name and labels.items() <= dict(its).items()
    ]


def busy() -> World:
    """The worked example with a rejected record and some lag: every metric has a sample."""
    world = World().feed_examples()
    world.send(Topic.submissions, "H56", b"{")
    world.lags = {("hoso.submissions", 3): 7}
    world.tasks.tasks[3].cursors["hoso.submissions"].unaccounted = 0
    return world


# The catalogue


def test_the_catalogue_is_the_contract_s() -> None:
    catalogue = {m.name: ",".join(m.labels) for m in metrics.STATE + metrics.EVENT}
    assert catalogue == CONTRACT | BESIDE_THE_CONTRACT


async def test_every_metric_is_there_with_its_labels_and_nothing_else(connect: Connect) -> None:
    text = await scrape(await connect(busy()))
    found: dict[str, set[str]] = {}
    for family in parse(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            labels = ",".join(sorted(label for label in sample.labels if label != "le"))
            found.setdefault(name, set()).add(labels)
    expected = {
        name: {",".join(sorted(filter(None, labels.split(","))))}
        for name, labels in (CONTRACT | BESIDE_THE_CONTRACT).items()
    }
    assert found == expected


async def test_the_exposition_stays_as_it_was(
    connect: Connect, golden: Callable[[str, str], None]
) -> None:
    golden("metrics.txt", await scrape(await connect(busy())))


async def test_promtool_finds_no_fault_in_the_exposition(connect: Connect) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        reason = "promtool is not installed (.ci/install-promtool)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    text = await scrape(await connect(busy()))
    check = subprocess.run(  # noqa: ASYNC221
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


# The text


def theirs_of(world: World) -> CollectorRegistry:
    """The state metrics as prometheus_client collects and writes them."""

    class State(Collector):
        def collect(self) -> Iterator[GaugeMetricFamily]:
            families = {
                m: GaugeMetricFamily(m.name, m.help, labels=m.labels) for m in metrics.STATE
            }
            for metric, labels, value in world.samples():
                families[metric].add_metric(labels, value)
            yield from families.values()

    registry = CollectorRegistry()
    registry.register(State())
    return registry


@pytest.mark.parametrize("seed", range(5))
def test_the_text_is_what_prometheus_client_would_write(seed: int) -> None:
    rng = random.Random(seed)
    world = random_world(rng)
    register(world, 'quo"te')
    list_service(world, 'quo"te', "1.0")
    register(world, "back\\slash\\n", kind="ministry")
    registry = theirs_of(world)
    ours, theirs = world.state_text(), generate_latest(registry).decode()
    assert series(ours) == series(theirs)
    assert len(ours) == len(theirs)

    def heads(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith("#")]

    assert heads(ours) == heads(theirs)


@pytest.mark.parametrize("seed", range(5))
def test_text_of_an_earlier_scrape_never_stands_for_other_numbers(seed: int) -> None:
    rng = random.Random(seed)
    world = random_world(rng)
    registry = theirs_of(world)
    scraped = {world.state_text()}
    for code in ("N0", "N1"):
        register(world, code)
        list_service(world, code, "s", effective_from="2020-01-01")
        for number in range(5):
            at = f"{rng.choice(['2021', '2022'])}-0{rng.randrange(1, 10)}-10"
            submit(world, code, "s", f"d{number}", at, channel=rng.choice(["online", "postal"]))
            process(world, code, f"d{number}", 9, at)
            ours, theirs = world.state_text(), generate_latest(registry).decode()
            assert series(ours) == series(theirs)
            assert world.state_text() == ours
            scraped.add(ours)
    assert len(scraped) == 11, "each event was to change the figures"


async def test_a_scraper_that_accepts_openmetrics_gets_it(connect: Connect) -> None:
    world = busy()
    client = await connect(world)
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    response = await client.get("/metrics", headers=accept)
    assert response.content_type == "application/openmetrics-text"
    families = {
        sample.name
        for family in parse_openmetrics(await response.text())
        for sample in family.samples
    }
    plain = await client.get("/metrics")
    assert plain.content_type == "text/plain"
    assert families == {name for name, _ in series(await plain.text())}


# State


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("seed", range(6))
async def test_state_is_the_register_s_figures(
    connect: Connect, seed: int, definition: str
) -> None:
    rng = random.Random(seed)
    as_of = date(2022, rng.randint(1, 12), rng.randint(1, 28))
    settings = load({}, definition=definition, as_of=as_of)
    world = random_world(rng, settings)
    found = series(await scrape(await connect(world)))
    expected: Series = {}

    def expect(metric: Metric, value: float | Fraction | None, **labels: str) -> None:
        if value is not None:
            expected[metric.name, frozenset(labels.items())] = float(value)

    for suffix, day in (("", as_of.toordinal()), ("_last_year", previous_year(as_of.toordinal()))):
        assert day is not None
        for kind in PERIOD_KINDS:
            for f in world.register.figures(world.reference, definition, kind, day):
                if f.kind is None:
                    continue
                own = {"agency": f.scope, "kind": str(f.kind)}
                at = own | {"period": f"{kind}{suffix}"}
                c = f.counts
                expect(metrics.SERVICES_WITH_DOSSIERS, c.services_with_dossiers, **at)
                used = c.ratio("services_with_dossiers")
                expect(metrics.SERVICES_WITH_DOSSIERS_RATIO, used, **at)
                expect(metrics.ONLINE_PROCESSED_RATIO, c.ratio("online_processed"), **at)
                expect(metrics.SERVICES_COUNTED, c.services_listed, **at)
                expect(metrics.DOSSIERS_ON_TIME, c.on_time, **at)
                expect(metrics.DOSSIERS_DUE, c.due, **at)
                for n, channel in enumerate(("online", "in_person", "postal")):
                    expect(metrics.DOSSIERS_SUBMITTED, c.submitted[n], **at, channel=channel)
                    expect(metrics.DOSSIERS_PROCESSED, c.processed[n], **at, channel=channel)
                if suffix:
                    continue
                for level, listed in enumerate(c.level, start=1):
                    expect(metrics.SERVICES_LISTED, listed, **own, level=str(level))
                for indicator in INDICATORS:
                    target = f.gaps[indicator].target
                    expect(metrics.TARGET_RATIO, target, **own, indicator=indicator)
    own_state = {
        key: value
        for key, value in found.items()
        if key[0] in {m.name for m in metrics.STATE}
        and key[0] not in (metrics.LAST_EVENT.name, metrics.AS_OF.name)
    }
    expect(metrics.DEFINITION, 1, definition=definition)
    assert own_state == expected


async def test_a_ratio_without_a_denominator_has_no_series(connect: Connect) -> None:
    world = World()
    register(world, "H01")
    client = await connect(world)
    text = await scrape(client)
    assert values(text, metrics.SERVICES_WITH_DOSSIERS_RATIO) == []
    assert values(text, metrics.ONLINE_PROCESSED_RATIO) == []
    assert values(text, metrics.SERVICES_WITH_DOSSIERS) == [0.0] * len(PERIODS)
    list_service(world, "H01", "1.0", effective_from="2022-01-01")
    text = await scrape(client)
    for period in PERIODS:
        ratio = values(text, metrics.SERVICES_WITH_DOSSIERS_RATIO, period=period)
        assert ratio == ([] if period.endswith("_last_year") else [0.0])
    assert values(text, metrics.ONLINE_PROCESSED_RATIO) == []
    assert "NaN" not in text


async def test_an_agency_without_an_event_counts_nothing_and_was_never_heard_of(
    connect: Connect,
) -> None:
    world = World()
    register(world, "H01")
    text = await scrape(await connect(world))
    assert values(text, metrics.SERVICES_LISTED, agency="H01") == [0.0] * 4
    assert values(text, metrics.LAST_EVENT) == []
    assert values(text, metrics.TARGET_RATIO) == []


async def test_last_year_is_the_same_period_to_the_same_day(connect: Connect) -> None:
    world = World(load({}, as_of=date(2022, 5, 10)))
    register(world, "H01")
    for number, day in enumerate(
        ["2021-05-10", "2021-05-11", "2021-04-30", "2021-01-01", "2020-12-31", "2022-05-01"]
    ):
        submit(world, "H01", "1.0", f"d{number}", day)
    text = await scrape(await connect(world))

    def submitted(period: str) -> list[float]:
        return values(text, metrics.DOSSIERS_SUBMITTED, channel="online", period=period)

    assert [submitted(f"{kind}_last_year") for kind in PERIOD_KINDS] == [[1.0], [2.0], [3.0], [3.0]]
    assert [submitted(kind) for kind in PERIOD_KINDS] == [[1.0]] * 4


async def test_on_29_february_last_year_ends_on_the_28th(connect: Connect) -> None:
    world = World(load({}, as_of=date(2024, 2, 29)))
    register(world, "H01")
    world.broker_ms += 400 * 86_400_000
    submit(world, "H01", "1.0", "a", "2023-02-28")
    submit(world, "H01", "1.0", "b", "2023-03-01")
    text = await scrape(await connect(world))
    last_year = {"channel": "online", "period": "month_last_year"}
    assert values(text, metrics.DOSSIERS_SUBMITTED, **last_year) == [1.0]


async def test_in_year_1_there_is_no_last_year(connect: Connect) -> None:
    world = World(load({}, as_of=date(1, 1, 1)))
    register(world, "H01")
    text = await scrape(await connect(world))
    periods = {dict(labels).get("period") for _, labels in series(text)}
    assert periods == {None, *PERIOD_KINDS}
    assert all(math.isfinite(value) for value in values(text, metrics.AS_OF))


async def test_the_as_of_day_begins_at_midnight_in_vietnam(connect: Connect) -> None:
    text = await scrape(await connect(World(load({}, as_of=date(2022, 8, 25)))))
    assert values(text, metrics.AS_OF) == [1661360400.0]


async def test_targets_are_the_agency_s_own_else_its_group_s_else_the_national_one(
    connect: Connect,
) -> None:
    world = World()
    for code, kind in (("H01", "province"), ("H02", "province"), ("G01", "ministry")):
        register(world, code, kind=kind)
    assign(world, "national", "online_processed", 2022, 0.5)
    assign(world, "provinces", "online_processed", 2022, 0.6)
    assign(world, "H02", "online_processed", 2022, 0.7)
    assign(world, "national", "services_with_dossiers", 2021, 0.9)
    text = await scrape(await connect(world))
    assert values(text, metrics.TARGET_RATIO, agency="G01") == [0.5]
    assert values(text, metrics.TARGET_RATIO, agency="H01") == [0.6]
    assert values(text, metrics.TARGET_RATIO, agency="H02") == [0.7]


# Who shows what


def shown(text: str) -> set[str]:
    state = {m.name for m in metrics.STATE}
    labels = [dict(labels) for name, labels in series(text) if name in state]
    return {its["agency"] for its in labels if "agency" in its}


async def test_only_agencies_of_owned_and_recovered_partitions_are_shown(connect: Connect) -> None:
    everyone = {"G12", "G14", "H26", "H29", "H56"}
    number = partition_for(b"H56", 12)
    alone = {code for code in everyone if partition_for(code.encode(), 12) == number}
    assert shown(await scrape(await connect(World().feed_examples()))) == everyone
    owner = World(owns=frozenset({number})).feed_examples()
    assert shown(await scrape(await connect(owner))) == alone
    others = World(owns=frozenset(range(12)) - {number}).feed_examples()
    assert shown(await scrape(await connect(others))) == everyone - alone
    recovering = World().feed_examples()
    recovering.tasks.tasks[number].move(Cause.fenced)
    assert shown(await scrape(await connect(recovering))) == everyone - alone


async def test_state_vanishes_while_a_rebalance_suspends_the_worker(connect: Connect) -> None:
    world = busy()
    client = await connect(world)
    before = await scrape(client)
    assert values(before, metrics.READY) == [1.0]
    world.tasks.suspend()
    text = await scrape(client)
    assert shown(text) == set()
    assert values(text, metrics.READY) == [0.0]
    assert values(text, metrics.EVENTS) == values(before, metrics.EVENTS), "counters stay"
    assert values(text, metrics.AS_OF) == values(before, metrics.AS_OF)


async def test_an_agency_whose_registration_is_removed_is_shown_no_more(connect: Connect) -> None:
    world = World().feed_examples()
    client = await connect(world)
    world.send(Topic.agencies, "H56", None)
    assert shown(await scrape(client)) == {"G12", "G14", "H26", "H29"}


# Counters


def test_the_outcomes_shown_are_those_that_records_have() -> None:
    assert get_args(Outcome) == OUTCOMES


async def test_every_outcome_of_every_topic_is_counted_from_the_start(connect: Connect) -> None:
    world = World(load({}, topic_prefix="test."))
    text = await scrape(await connect(world))
    found = {
        (dict(labels)["topic"], dict(labels)["outcome"]): value
        for (name, labels), value in series(text).items()
        if name == metrics.EVENTS.name
    }
    topics = EVENT_TOPICS | REFERENCE_TOPICS
    assert found == {(f"test.{t}", outcome): 0.0 for t in topics for outcome in OUTCOMES}
    rejected = {
        labels: v for (name, labels), v in series(text).items() if name == metrics.REJECTED.name
    }
    unknown = [frozenset({("agency", ""), ("reason", reason.value)}) for reason in Reason]
    assert rejected == dict.fromkeys(unknown, 0.0)


async def test_what_was_taken_in_is_counted_once_by_its_outcome(connect: Connect) -> None:
    world = World()
    client = await connect(world)
    register(world, "H01")
    submit(world, "H01", "1.0", "d", "2022-01-05")
    submit(world, "H01", "1.0", "d", "2022-01-05")
    submit(world, "H01", "1.0", "d", "2022-01-04")
    process(world, "H01", "d", 9, "2022-01-06")
    world.send(Topic.submissions, "H01", b"[]")
    submit(world, "H02", "1.0", "d", "2022-01-05")
    text = await scrape(client)

    def count(topic: str, outcome: str) -> list[float]:
        return values(text, metrics.EVENTS, topic=topic, outcome=outcome)

    assert count("hoso.submissions", "applied") == [1.0]
    assert count("hoso.submissions", "duplicate") == [1.0]
    assert count("hoso.submissions", "superseded") == [1.0]
    assert count("hoso.submissions", "rejected") == [2.0]
    assert count("hoso.processing", "applied") == [1.0]
    assert values(text, metrics.REJECTED, agency="", reason="bad_envelope") == [1.0]
    assert values(text, metrics.REJECTED, agency="", reason="unknown_agency") == [1.0]
    assert sum(values(text, metrics.REJECTED)) == 2
    chunks = re.search(r"^hoso_batch_seconds_count (\S+)$", text, re.MULTILINE)
    assert chunks is not None
    assert float(chunks[1]) == 7


async def test_lag_of_partitions_that_went_elsewhere_is_shown_no_more(connect: Connect) -> None:
    world = World()
    client = await connect(world)
    world.lags = {("hoso.submissions", 3): 7, ("hoso.processing", 4): 0}
    text = await scrape(client)
    assert values(text, metrics.CONSUMER_LAG, topic="hoso.submissions", partition="3") == [7.0]
    assert values(text, metrics.CONSUMER_LAG, partition="4") == [0.0]
    world.lags = {("hoso.submissions", 3): 8}
    assert values(await scrape(client), metrics.CONSUMER_LAG) == [8.0]
