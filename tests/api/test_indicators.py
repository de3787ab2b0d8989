"""``GET /api/v1/indicators``: what is asked, what is answered."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import product
from typing import Any

import pytest
from aiokafka import TopicPartition
from yarl import URL

from schemas.topics import Topic
from streams.api import server
from streams.domain.calendar import PERIOD_KINDS, PeriodKind
from streams.domain.definitions import DEFINITIONS
from streams.domain.targets import INDICATORS
from streams.kafka.partitioner import partition_for
from streams.settings import Settings, load
from streams.views.behind import WAIT_SECONDS
from tests.api.conftest import Connect
from tests.api.world import (
    EXAMPLES,
    NOW,
    Record,
    World,
    event,
    list_service,
    process,
    register,
    submit,
)

FIGURES = json.loads(EXAMPLES.with_name("example_figures.json").read_text(encoding="utf-8"))
URL_PATH = "/api/v1/indicators"


def by_scope(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["scope"]: row for row in answer["rows"]}


def share(numerator: int, denominator: int) -> float | None:
    return float(Fraction(numerator, denominator)) if denominator else None


def assign(world: World, scope: str, indicator: str, year: int, ratio: float) -> None:
    target = event("target.assigned", scope=scope, indicator=indicator, year=year, ratio=ratio)
    world.send(Topic.targets, f"{scope}/{indicator}/{year}", target)


@pytest.mark.parametrize(
    "expected", FIGURES, ids=lambda e: f"{e['as_of']}-{e['period']}-{e['definition']}"
)
async def test_answers_the_figures_of_the_worked_example(
    connect: Connect, example: World, expected: dict[str, Any]
) -> None:
    client = await connect(example)
    question = {name: expected[name] for name in ("as_of", "period", "definition")}
    answer = await (await client.get(URL_PATH, params=question)).json()
    rows = by_scope(answer)
    assert set(rows) == {row["scope"] for row in expected["rows"]}
    for want in expected["rows"]:
        row = rows[want["scope"]]
        for count in (
            "services_listed",
            "services_with_dossiers",
            "dossiers_processed",
            "dossiers_processed_online",
            "dossiers_submitted",
        ):
            assert row[count] == want[count], (want["scope"], count)
        for ratio, of in (
            ("services_with_dossiers_ratio", ("services_with_dossiers", "services_listed")),
            ("online_processed_ratio", ("dossiers_processed_online", "dossiers_processed")),
            ("on_time_ratio", ("on_time", "due")),
            ("level4_of_eligible", ("eligible_at_level4", "eligible")),
            ("level34_of_listed", ("listed_at_level34", "listed")),
            ("level4_of_listed", ("listed_at_level4", "listed")),
        ):
            assert row[ratio] == share(want[of[0]], want[of[1]]), (want["scope"], ratio)


async def test_a_whole_answer_stays_as_it_was(
    connect: Connect, example: World, golden: Callable[[str, str], None]
) -> None:
    client = await connect(example)
    for name, question in {
        "indicators-year.json": {},
        "indicators-quarter-qd766.json": {
            "period": "quarter",
            "as_of": "2022-03-31",
            "definition": "qd766",
        },
        "indicators-before-everything.json": {"period": "month", "as_of": "0001-01-01"},
    }.items():
        answer = await (await client.get(URL_PATH, params=question)).json()
        golden(name, json.dumps(answer, ensure_ascii=False, indent=1) + "\n")


async def test_without_an_agency_there_are_the_three_groups_of_nulls(connect: Connect) -> None:
    """The row of the contract's own example, key by key and in its order."""
    world = World()
    assign(world, "national", "services_with_dossiers", 2022, 0.8)
    assign(world, "national", "online_processed", 2022, 0.5)
    client = await connect(world)
    response = await client.get(URL_PATH)
    assert response.content_type == "application/json"
    answer = json.loads(await response.text())
    nothing = {"services_with_dossiers_ratio": None, "online_processed_ratio": None}
    gap = {"shortfall": None, "missing": None, "behind_pace": None}
    row = {
        "kind": None,
        "services_listed": 0,
        "services_with_dossiers": 0,
        "services_with_dossiers_ratio": None,
        "dossiers_processed": 0,
        "dossiers_processed_online": 0,
        "online_processed_ratio": None,
        "dossiers_submitted": {"online": 0, "in_person": 0, "postal": 0},
        "on_time_ratio": None,
        "level4_of_eligible": None,
        "level34_of_listed": None,
        "level4_of_listed": None,
        "previous_year": nothing,
        "previous_period": nothing,
        "targets": {
            "services_with_dossiers": {"ratio": 0.8, **gap},
            "online_processed": {"ratio": 0.5, **gap},
        },
        "rank": {"services_with_dossiers": None, "online_processed": None},
        "last_event_at": None,
    }
    expected = {
        "as_of": "2022-08-25",
        "period": {"kind": "year", "start": "2022-01-01", "end": "2022-08-25"},
        "definition": "mic-2022",
        "behind": 0,
        "release": None,
        "rows": [
            {"scope": scope, "name": name} | row
            for scope, name in (
                ("national", "Cả nước"),
                ("ministries", "Các bộ, ngành"),
                ("provinces", "Các tỉnh, thành phố"),
            )
        ],
    }
    # As text, because dicts that differ in the order of their keys are equal.
    assert json.dumps(answer, ensure_ascii=False) == json.dumps(expected, ensure_ascii=False)


async def test_rows_are_the_groups_and_then_the_agencies_by_code(connect: Connect) -> None:
    world = World()
    for code in ("H10", "a", "H02", "G9"):
        register(world, code, kind="province" if code.startswith("H") else "ministry")
    answer = await (await (await connect(world)).get(URL_PATH)).json()
    assert [(row["scope"], row["kind"]) for row in answer["rows"]] == [
        ("national", None),
        ("ministries", None),
        ("provinces", None),
        ("G9", "ministry"),
        ("H02", "province"),
        ("H10", "province"),
        ("a", "ministry"),
    ]


async def test_an_agency_without_an_event_has_a_row_of_zeroes_and_nulls(connect: Connect) -> None:
    world = World()
    register(world, "H56", "Thanh Hoá")
    row = by_scope(await (await (await connect(world)).get(URL_PATH)).json())["H56"]
    assert row["name"] == "Thanh Hoá"
    assert row["services_listed"] == row["dossiers_processed"] == 0
    assert row["services_with_dossiers_ratio"] is None
    assert row["targets"]["online_processed"]["ratio"] is None
    assert row["last_event_at"] is None


async def test_an_agency_whose_registration_is_removed_vanishes_from_rows_and_sums(
    connect: Connect,
) -> None:
    world = World()
    for code in ("H01", "H02"):
        register(world, code)
        list_service(world, code, "1.0")
    client = await connect(world)
    before = by_scope(await (await client.get(URL_PATH)).json())
    assert before["national"]["services_listed"] == 2
    world.send(Topic.agencies, "H01", None)
    after = by_scope(await (await client.get(URL_PATH)).json())
    assert "H01" not in after
    assert after["national"]["services_listed"] == after["provinces"]["services_listed"] == 1


async def test_the_last_event_is_the_broker_time_of_the_latest_of_each_scope(
    connect: Connect,
) -> None:
    world = World()
    register(world, "H01")
    register(world, "G01", kind="ministry")
    world.broker_ms = 1_661_392_799_000
    list_service(world, "H01", "1.0")
    world.broker_ms += 250
    list_service(world, "G01", "1.0")
    rows = by_scope(await (await (await connect(world)).get(URL_PATH)).json())
    assert rows["H01"]["last_event_at"] == "2022-08-25T02:00:00.000+00:00"
    assert rows["provinces"]["last_event_at"] == "2022-08-25T02:00:00.000+00:00"
    for scope in ("G01", "ministries", "national"):
        assert rows[scope]["last_event_at"] == "2022-08-25T02:00:01.250+00:00"


# Parameters


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("as_of=2022-13-01", "as_of"),
        ("as_of=2022-02-29", "as_of"),
        ("as_of=2022-W01-1", "as_of"),
        ("as_of=20220825", "as_of"),
        ("as_of=2022-8-25", "as_of"),
        ("as_of=0000-01-01", "as_of"),
        ("as_of=10000-01-01", "as_of"),
        ("as_of=2022-08-25T00:00:00", "as_of"),
        ("as_of=+2022-08-25", "as_of"),
        ("as_of=%ED%A0%80", "as_of"),
        ("as_of=%EF%BC%92022-08-25", "as_of"),
        ("as_of=yesterday", "as_of"),
        ("as_of=", "as_of"),
        ("as_of", "as_of"),
        ("as_of=2022-08-25&as_of=2022-08-25", "as_of"),
        ("period=week", "period"),
        ("period=Year", "period"),
        ("period=", "period"),
        ("period=year&period=month", "period"),
        ("definition=x", "definition"),
        ("definition=", "definition"),
        ("definition=mic-2022&definition=x", "definition"),
        ("with_dossiers=true", "with_dossiers"),
        ("asof=2022-08-25", "asof"),
        ("%FF=1", "\ufffd"),
    ],
)
@pytest.mark.parametrize("path", [URL_PATH, "/api/v1/agencies/H56/services"])
async def test_a_bad_parameter_is_refused_by_name(
    connect: Connect, path: str, query: str, parameter: str
) -> None:
    if path != URL_PATH and parameter == "with_dossiers":
        query = "with_dossiers=maybe"
    world = World()
    register(world, "H56")
    response = await (await connect(world)).get(URL(f"{path}?{query}", encoded=True))
    assert response.status == 400
    answer = await response.json()
    assert answer.keys() == {"error", "parameter"}
    assert answer["parameter"] == parameter
    assert answer["error"].startswith(f"{parameter}: ")


async def test_the_defaults_are_the_year_and_the_configured_definition(connect: Connect) -> None:
    world = World(load({}, definition="qd766"))
    answer = await (await (await connect(world)).get(URL_PATH)).json()
    assert answer["definition"] == "qd766"
    assert answer["period"]["kind"] == "year"


async def test_the_as_of_day_is_today_in_vietnam_unless_set(connect: Connect) -> None:
    world = World()
    # 17:30 UTC is half past midnight of the next day there.
    world.clock = lambda: datetime(2022, 12, 31, 17, 30, tzinfo=UTC)
    answer = await (await (await connect(world)).get(URL_PATH)).json()
    assert answer["as_of"] == "2023-01-01"


async def test_the_as_of_day_can_be_set_to_a_date(connect: Connect) -> None:
    world = World(load({}, as_of=date(2021, 5, 6)))
    answer = await (await (await connect(world)).get(URL_PATH)).json()
    assert answer["as_of"] == "2021-05-06"


async def test_the_as_of_day_latest_is_that_of_the_latest_submission_or_step(
    connect: Connect,
) -> None:
    world = World(load({}, as_of="latest"))
    client = await connect(world)
    assert (await (await client.get(URL_PATH)).json())["as_of"] == "2022-08-25", "today, if none"
    register(world, "H01")
    list_service(world, "H01", "1.0", effective_from="2022-07-01")
    submit(world, "H01", "1.0", "d", "2022-05-30")
    process(world, "H01", "d", 9, "2022-06-15")
    submit(world, "H01", "1.0", "e", "2022-06-01")
    assert (await (await client.get(URL_PATH)).json())["as_of"] == "2022-06-15"


@pytest.mark.parametrize("period", PERIOD_KINDS)
@pytest.mark.parametrize("definition", DEFINITIONS)
async def test_the_first_and_the_last_day_of_the_calendar_can_be_asked_for(
    connect: Connect, period: str, definition: str
) -> None:
    world = World()
    register(world, "H01")
    list_service(world, "H01", "1.0", effective_from="0001-01-01")
    client = await connect(world)
    for day in ("0001-01-01", "0001-12-31", "0002-01-01", "9999-12-31"):
        question = {"as_of": day, "period": period, "definition": definition}
        response = await client.get(URL_PATH, params=question)
        assert response.status == 200
        answer = await response.json()
        assert answer["period"]["end"] == day
        row = by_scope(answer)["H01"]
        assert row["services_with_dossiers_ratio"] == 0.0
        has_year_before = day[:4] != "0001"
        assert (row["previous_year"]["services_with_dossiers_ratio"] == 0.0) is has_year_before


# Other requests


async def test_head_answers_as_get_without_the_body(connect: Connect) -> None:
    client = await connect(World())
    for path in (URL_PATH, "/metrics", "/healthz", "/"):
        response = await client.head(path)
        assert response.status == 200
        assert await response.read() == b""
    assert (await client.head(URL_PATH, params={"period": "week"})).status == 400


async def test_another_method_is_refused_and_told_which_may_be_used(connect: Connect) -> None:
    client = await connect(World())
    for path in (URL_PATH, "/api/v1/agencies/H56/services", "/metrics", "/healthz", "/readyz"):
        response = await client.post(path)
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"
        assert (await response.json()).keys() == {"error"}


@pytest.mark.parametrize(
    "path", ["/nope", "/api/v1", "/api/v1/indicators/", "/api/v1/agencies//services"]
)
async def test_an_unknown_path_is_404_in_json(connect: Connect, path: str) -> None:
    response = await (await connect(World())).get(path)
    assert response.status == 404
    assert (await response.json()) == {"error": f"{path}: Not Found"}


async def test_an_error_of_ours_is_500_in_json_and_in_the_log(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    # Not caplog: it depends on what other tests of the process have done to logging.
    monkeypatch.setattr(server.logger, "exception", lambda text, *of: said.append(text % of))
    world = World()
    row = world.record(Topic.agency_months, "H01/2022-01", b"{}")
    world.register.view._apply([row])
    response = await (await connect(world)).get(URL_PATH)
    assert response.status == 500
    assert (await response.json()).keys() == {"error"}
    assert said == ["GET /api/v1/indicators failed"]


# Any world


def random_world(rng: random.Random, settings: Settings | None = None) -> World:
    """Up to four agencies with random catalogues, dossiers and targets in 2021 and 2022."""
    world = World(settings or load({}))
    day = date(2021, 1, 1)

    def some_day(days: int = 600) -> str:
        return (day + timedelta(rng.randrange(days))).isoformat()

    for number in range(rng.randrange(5)):
        code = f"A{number}"
        register(world, code, kind=rng.choice(["ministry", "province"]))
        services = [f"s{n}" for n in range(rng.randrange(1, 5))]
        for service in services:
            for _ in range(rng.randrange(3)):
                list_service(
                    world,
                    code,
                    service,
                    rng.randint(1, 4),
                    eligible=rng.random() < 0.5,
                    listed=rng.random() < 0.8,
                    effective_from=some_day(),
                    revision=rng.randrange(2),
                )
        for n in range(rng.randrange(25)):
            due = {"due_at": f"{some_day()}T17:00:00+07:00"} if rng.random() < 0.7 else {}
            channel = rng.choice(["online", "online", "in_person", "postal", None])
            submit(world, code, rng.choice(services), f"d{n}", some_day(), channel=channel, **due)
            for status in rng.sample([2, 3, 4, 7, 9, 10], rng.randrange(4)):
                process(world, code, f"d{n}", status, some_day())
    for scope in ("national", "provinces", "A0"):
        for indicator in INDICATORS:
            if rng.random() < 0.6:
                assign(world, scope, indicator, rng.choice([2021, 2022]), rng.randrange(101) / 100)
    return world


def no_constants(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.parametrize("seed", range(25))
async def test_the_answer_is_the_register_s_figures_and_the_nearest_floats(
    connect: Connect, seed: int
) -> None:
    rng = random.Random(seed)
    world = random_world(rng)
    client = await connect(world)
    kind: PeriodKind = rng.choice(PERIOD_KINDS)
    definition = rng.choice(list(DEFINITIONS))
    as_of = date(2021, 1, 1) + timedelta(rng.randrange(700))
    question = {"period": kind, "definition": definition, "as_of": as_of.isoformat()}
    text = await (await client.get(URL_PATH, params=question)).text()
    answer = json.loads(text, parse_constant=no_constants)
    figures = world.register.figures(world.reference, definition, kind, as_of.toordinal())
    assert [row["scope"] for row in answer["rows"]] == [f.scope for f in figures]

    def near(value: Fraction | None) -> float | None:
        return None if value is None else float(value)

    for row, f in zip(answer["rows"], figures, strict=True):
        c = f.counts
        assert (row["name"], row["kind"]) == (f.name, f.kind)
        assert row["services_listed"] == c.services_listed
        assert row["services_with_dossiers"] == c.services_with_dossiers <= c.services_listed
        assert row["dossiers_processed"] == c.dossiers_processed
        assert row["dossiers_processed_online"] == c.dossiers_processed_online
        assert tuple(row["dossiers_submitted"].values()) == c.submitted
        assert row["on_time_ratio"] == share(c.on_time, c.due)
        assert row["level4_of_eligible"] == share(c.eligible_level4, c.eligible)
        assert row["level34_of_listed"] == share(c.level34, c.listed)
        assert row["level4_of_listed"] == share(c.level4, c.listed)
        assert row["rank"] == f.ranks
        for indicator in INDICATORS:
            name = f"{indicator}_ratio"
            assert row[name] == near(c.ratio(indicator))
            for before, then in (
                ("previous_year", f.previous_year),
                ("previous_period", f.previous_period),
            ):
                assert then is not None
                assert row[before][name] == near(then.ratio(indicator))
            gap = f.gaps[indicator]
            assert row["targets"][indicator] == {
                "ratio": near(gap.target),
                "shortfall": near(gap.shortfall),
                "missing": gap.missing,
                "behind_pace": near(gap.behind_pace),
            }


async def test_rows_that_have_piled_up_are_decoded_without_holding_up_the_loop() -> None:
    """As after a start, when the months of every agency wait to be read for the first time."""
    world = World()
    for number in range(50):
        register(world, f"A{number}")
        for month in range(1, 13):
            submit(world, f"A{number}", "1.0", f"d{month}", f"2022-{month:02d}-01")
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = len(world.register._undecoded)
    assert waiting >= 600
    task = asyncio.create_task(other())
    await world.register.catch_up()
    task.cancel()
    assert not world.register._undecoded
    assert turns >= waiting // 100
    decoded = world.register.figures(world.reference, "mic-2022", "year", NOW.toordinal())
    assert decoded[0].counts.submitted == (50 * 8, 0, 0)


async def test_keys_of_agency_months_that_are_no_months_change_nothing(connect: Connect) -> None:
    """Marks, and whatever a later version writes there (contract, section 1)."""
    world = World().feed_examples()
    client = await connect(world)
    before = await (await client.get(URL_PATH)).json()
    keys = (b"~taken-in/hoso.agencies", b"~later/x", b"H56", b"/2022-01", b"\xff/2022-01", b"")
    for key, value in product((*keys, b"H56/2022-13"), (b"17", b"{}", b"\xff", b"", None)):
        world.register.view._apply([Record("hoso.agency-months", 3, 0, 0, key, value)])
        world.register.view._apply([Record("hoso.agency-months", 3, 0, 0, None, value)])
    assert await (await client.get(URL_PATH)).json() == before


async def test_an_answer_says_how_many_records_it_lacks(connect: Connect) -> None:
    world = World().feed_examples()
    client = await connect(world)
    waiting = [world.record(Topic.submissions, code, b"{}") for code in ("H01", "H02", "G01")]

    async def behind() -> object:
        scrape = await (await client.get("/metrics")).text()
        told = (await (await client.get(URL_PATH)).json())["behind"]
        found = re.findall(r"^hoso_behind_records (.*)$", scrape, re.MULTILINE)
        assert found == [f"{told:.1f}"]
        return told

    assert await behind() == 3
    world.feed(waiting[:1])
    assert await behind() == 2
    world.feed(waiting[1:])
    assert await behind() == 0


async def test_while_no_broker_answers_it_is_told_at_once_that_it_cannot_be_told(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World().feed_examples()
    client = await connect(world)

    async def silence() -> dict[TopicPartition, int]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(world.register.behind._question, "_ask", silence)
    for patience in (WAIT_SECONDS, 0):
        async with asyncio.timeout(patience + 5):
            answer = await (await client.get(URL_PATH)).json()
        assert answer["behind"] is None
        assert len(answer["rows"]) > 3
    assert "\nhoso_behind_records " not in await (await client.get("/metrics")).text()
    await world.register.behind.stop()


async def test_an_agency_s_last_event_follows_its_rows(connect: Connect) -> None:
    """Also back, when a row of the public topic is removed."""
    world = World()
    register(world, "H01")
    submit(world, "H01", "1.0", "a", "2022-01-05")
    client = await connect(world)

    async def last_event() -> str:
        answer = await (await client.get(URL_PATH)).json()
        return str(by_scope(answer)["H01"]["last_event_at"])

    first = await last_event()
    world.broker_ms += 3 * 31 * 86_400_000
    submit(world, "H01", "1.0", "b", "2022-04-05")
    assert await last_event() > first
    gone = b"H01/2022-04", b"H01/2023-05"
    number = partition_for(b"H01", world.settings.partitions)
    removed = [Record("hoso.agency-months", number, 0, 0, key, None) for key in gone]
    world.register.view._apply(removed)
    assert await last_event() == first
