"""What officials ask on a terminal: report, compare and services, by code or by name."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from fractions import Fraction
from importlib import import_module
from typing import Any

import pytest
from aiohttp import web
from click.testing import Result

from schemas.topics import Topic
from streams.cli.compare import _signed_points
from streams.cli.letters import Letter
from streams.domain.calendar import ZONE
from streams.kafka.broker import free_port
from tests.api.world import World, event, list_service, process, register, submit
from tests.cli.conftest import Hoso

AS_OF = ("--as-of", "2022-08-25")
PROVINCES = {"H26": "Hà Nội", "H22": "Hà Giang", "H56": "Thanh Hóa", "H17": "Đà Nẵng"}


def country() -> World:
    """A ministry and four provinces; of H26, H22, H56 and H17 1, 2, 3 and 0 of 4 are online."""
    world = World()
    register(world, "G01", "Bộ Công an", "ministry")
    for code, name in PROVINCES.items():
        register(world, code, name)
    target = {"scope": "national", "indicator": "online_processed", "year": 2022, "ratio": 0.5}
    world.send(Topic.targets, "national/online_processed/2022", event("target.assigned", **target))
    for code, online in (("H26", 1), ("H22", 2), ("H56", 3)):
        for service in ("1.1", "1.2"):
            list_service(world, code, service, name=f"Thủ tục {service}")
        for number in range(4):
            channel = "online" if number < online else "in_person"
            submit(world, code, "1.1", f"d{number}", "2022-03-01", channel=channel)
            process(world, code, f"d{number}", 9, f"2022-0{4 + number}-01")
    return world


@pytest.fixture
def register_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], None]:
    """Have the commands read a world instead of topics."""

    def use(world: World) -> None:
        @contextlib.asynccontextmanager
        async def opened(_: Any) -> AsyncIterator[Any]:
            yield world.register, world.reference

        for name in ("report", "compare"):
            monkeypatch.setattr(import_module(f"streams.cli.{name}"), "open_register", opened)

    return use


def rows(result: Result) -> list[dict[str, Any]]:
    assert (result.exit_code, result.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(result.stdout)["rows"]
    return found


def scopes(result: Result) -> list[str]:
    return [row["scope"] for row in rows(result)]


# hoso report


def test_the_worst_provinces_and_what_each_lacks(hoso: Hoso, register_of: Any) -> None:
    register_of(country())
    asked = ("report", *AS_OF, "--scope", "provinces", "--sort", "online_processed", "--limit", 2)
    found = rows(hoso(*asked, "--format", "json"))
    assert [row["scope"] for row in found] == ["provinces", "H26", "H22"]
    assert [row["targets"]["online_processed"]["missing"] for row in found] == [0, 1, 0]
    shown = hoso(*asked).stdout
    (line,) = (line for line in shown.splitlines() if "H26" in line)
    assert line.split()[:3] == ["H26", "Hà", "Nội"]
    assert " ".join(line.split()).endswith(" 1 / 4 25.00 50 25.00 1 3")
    listed = list(csv.DictReader(io.StringIO(hoso(*asked, "--format", "csv").stdout)))
    assert [row["targets_online_processed_missing"] for row in listed] == ["0", "1", "0"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ((), "G01 H17 H22 H26 H56"),
        (("--order", "desc"), "H56 H26 H22 H17 G01"),
        (("--sort", "name"), "G01 H17 H22 H26 H56"),
        (("--sort", "name", "--order", "desc"), "H56 H26 H22 H17 G01"),
        (("--sort", "services_with_dossiers"), "H22 H26 H56 G01 H17"),
        (("--sort", "online_processed"), "H26 H22 H56 G01 H17"),
        (("--sort", "online_processed", "--order", "desc"), "H56 H22 H26 G01 H17"),
        (("--sort", "online_missing"), "H26 H22 H56 G01 H17"),
        (("--sort", "online_missing", "--order", "asc"), "H22 H56 H26 G01 H17"),
        (("--sort", "services_missing"), "G01 H17 H22 H26 H56"),
        (("--limit", "1"), "G01"),
    ],
    ids=" ".join,
)
def test_agencies_are_sorted_below_the_groups_and_those_without_the_figure_stand_last(
    hoso: Hoso, register_of: Any, more: tuple[str, ...], expected: str
) -> None:
    register_of(country())
    found = scopes(hoso("report", *AS_OF, "--format", "json", *more))
    assert found == ["national", "ministries", "provinces", *expected.split()]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("national", "national G01 H17 H22 H26 H56"),
        ("ministries", "ministries G01"),
        ("cac tinh, thanh pho", "provinces H17 H22 H26 H56"),
        ("H26", "H26"),
        ("h26", "H26"),
        ("Hà Nội", "H26"),
        ("ha noi", "H26"),
        ("THANH HOA", "H56"),
        ("cong an", "G01"),
        ("da nang", "H17"),
    ],
)
@pytest.mark.parametrize("command", [("report", *AS_OF), ("compare", "--from", "2021-08-25")])
def test_a_scope_is_a_group_or_an_agency_by_code_or_name(
    hoso: Hoso, register_of: Any, command: tuple[str, ...], scope: str, expected: str
) -> None:
    register_of(country())
    assert scopes(hoso(*command, "--format", "json", "--scope", scope)) == expected.split()


@pytest.mark.parametrize("command", [("report",), ("compare", "--from", "2021-08-25")])
def test_a_name_that_several_go_by_lists_them(
    hoso: Hoso, register_of: Any, command: tuple[str, ...]
) -> None:
    register_of(country())
    result = hoso(*command, "--scope", "ha")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: 'ha' may be any of: H22 Hà Giang, H26 Hà Nội\n"
    result = hoso(*command, "--scope", "Atlantis")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: no agency has the code or the name 'Atlantis'\n"


# hoso compare


def test_both_days_and_the_difference_in_points_and_counts(hoso: Hoso, register_of: Any) -> None:
    register_of(country())
    days = ("--from", "2022-04-30", "--to", "2022-08-25")
    (row,) = rows(hoso("compare", *days, "--scope", "H56", "--format", "json"))
    assert row["online_processed"] == {
        "from": {"dossiers_processed_online": 1, "dossiers_processed": 1, "ratio": 1.0},
        "to": {"dossiers_processed_online": 3, "dossiers_processed": 4, "ratio": 0.75},
        "change": {"dossiers_processed_online": 2, "dossiers_processed": 3, "points": -25.0},
    }
    assert row["services_with_dossiers"]["change"] == {
        "services_with_dossiers": 0,
        "services_listed": 0,
        "points": 0.0,
    }
    shown = hoso("compare", *days, "--scope", "H56").stdout
    (line,) = (line for line in shown.splitlines() if "H56" in line)
    figures = "50.00 50.00 0.00 0 0 100.00 75.00 -25.00 +2 +3"
    assert " ".join(line.split()) == f"H56 Thanh Hóa {figures}"
    assert "year to 2022-04-30, then 2022-08-25, mic-2022" in shown


def test_a_share_that_one_of_the_days_lacks_has_no_difference(hoso: Hoso, register_of: Any) -> None:
    register_of(country())
    days = ("--from", "2022-01-01", "--to", "2022-08-25", "--scope", "H56")
    (row,) = rows(hoso("compare", *days, "--format", "json"))
    change = row["online_processed"]["change"]
    assert change == {"dossiers_processed_online": 3, "dossiers_processed": 4, "points": None}
    assert "– 75.00 – +3 +4" in " ".join(hoso("compare", *days).stdout.split())


def test_changes_are_sorted_from_the_worst(hoso: Hoso, register_of: Any) -> None:
    register_of(country())
    asked = ("compare", "--from", "2022-04-30", "--to", "2022-08-25", "--scope", "provinces")
    more = ("--sort", "online_change", "--format", "json")
    assert scopes(hoso(*asked, *more)) == ["provinces", "H26", "H22", "H56", "H17"]
    assert scopes(hoso(*asked, *more, "--order", "desc", "--limit", 1)) == ["provinces", "H56"]


def test_csv_of_a_comparison_has_every_figure_of_json(hoso: Hoso, register_of: Any) -> None:
    register_of(country())
    asked = ("compare", "--from", "2022-04-30", "--to", "2022-08-25")
    table = list(csv.DictReader(io.StringIO(hoso(*asked, "--format", "csv").stdout)))
    for flat, row in zip(table, rows(hoso(*asked, "--format", "json")), strict=True):
        assert (flat["from"], flat["to"], flat["scope"]) == (
            "2022-04-30", "2022-08-25", row["scope"]
        )  # fmt: skip
        for indicator in ("services_with_dossiers", "online_processed"):
            for part, figures in row[indicator].items():
                for name, value in figures.items():
                    said = flat[f"{indicator}_{part}_{name}"]
                    assert said == ("" if value is None else str(value))


def test_the_days_of_a_comparison_stand_in_their_order(hoso: Hoso, register_of: Any) -> None:
    register_of(country())
    result = hoso("compare", "--from", "2022-08-25", "--to", "2022-08-18")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: --from 2022-08-25 is after --to 2022-08-18\n"


# hoso services


@pytest.fixture
def served() -> Iterator[Callable[[web.Application], str]]:
    """Serve an application in a thread of its own; gives its address."""
    with contextlib.ExitStack() as stack:

        def serve(application: web.Application) -> str:
            port, loop, ready = free_port(), asyncio.new_event_loop(), threading.Event()

            async def start() -> web.AppRunner:
                runner = web.AppRunner(application)
                await runner.setup()
                await web.TCPSite(runner, "127.0.0.1", port).start()
                ready.set()
                return runner

            def run() -> None:
                runner = loop.run_until_complete(start())
                loop.run_forever()
                loop.run_until_complete(runner.cleanup())

            thread = threading.Thread(target=run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(loop.call_soon_threadsafe, loop.stop)
            assert ready.wait(30)
            return f"http://127.0.0.1:{port}"

        yield serve


@pytest.fixture
def at_a_worker(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker at HOSO_URL."""
    monkeypatch.setenv("HOSO_URL", served(country().application()) + "/")


@pytest.mark.usefixtures("at_a_worker")
def test_the_services_without_online_dossiers_of_an_agency_by_its_name(hoso: Hoso) -> None:
    result = hoso("services", "thanh hoa", "--without-dossiers")
    assert (result.exit_code, result.stderr) == (0, "")
    title, *lines = result.stdout.splitlines()
    assert title == (
        "H56 Thanh Hóa: 1 of 2 services have online dossiers (50.00 %), "
        "year to 2022-08-25, mic-2022"
    )
    assert lines[-1] == "1 service without online dossiers"
    (line,) = (line for line in lines if "1.2" in line)
    assert line.split() == ["1.2", "Thủ", "tục", "1.2", "4", "0", "–", "–"]
    assert hoso("services", "H26", "--with-dossiers").stdout.endswith(
        "1 service with online dossiers\n"
    )
    assert hoso("services", "H17").stdout.endswith("\n0 services\n")


@pytest.mark.usefixtures("at_a_worker")
def test_json_of_services_is_the_answer_of_the_api_and_csv_has_its_rows(hoso: Hoso) -> None:
    asked = ("services", "Thanh Hóa", "--period", "quarter", "--definition", "qd766")
    answer = json.loads(hoso(*asked, *AS_OF, "--format", "json").stdout)
    assert (answer["agency"], answer["period"]["kind"], answer["definition"]) == (
        "H56", "quarter", "qd766"
    )  # fmt: skip
    assert [service["code"] for service in answer["services"]] == ["1.1", "1.2"]
    table = list(csv.DictReader(io.StringIO(hoso(*asked, *AS_OF, "--format", "csv").stdout)))
    assert [(row["agency"], row["code"]) for row in table] == [("H56", "1.1"), ("H56", "1.2")]


@pytest.mark.usefixtures("at_a_worker")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ha",), "'ha' may be any of: H22 Hà Giang, H26 Hà Nội"),
        (("nowhere",), "no agency has the code or the name 'nowhere'"),
        (
            ("H56", "--as-of", "latest"),
            "Invalid value for '--as-of': 'latest' is not a date YYYY-MM-DD or today "
            "(see hoso services --help)",
        ),
    ],
)
def test_who_is_not_known_is_named(hoso: Hoso, arguments: tuple[str, ...], said: str) -> None:
    result = hoso("services", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.replace("main services", "hoso services") == f"error: {said}\n"


def test_a_code_of_signs_is_asked_for_as_it_is(
    hoso: Hoso, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    for code in ("..", "a/b", "ă{%2F}?"):
        register(world, code, f"Cơ quan {code}")
    monkeypatch.setenv("HOSO_URL", served(world.application()))
    for code in ("..", "a/b", "ă{%2F}?"):
        assert json.loads(hoso("services", code, "--format", "json").stdout)["agency"] == code


def test_where_no_worker_answers_is_said(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch, served: Any
) -> None:
    monkeypatch.setenv("HOSO_WEB_PORT", str(port := free_port()))
    result = hoso("services", "H56")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: no worker answers at http://127.0.0.1:{port}: connection refused (HOSO_URL)\n"
    )

    async def text(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async def busy(_: web.Request) -> web.Response:
        return web.json_response({"error": "agency 'H56' is being recovered"}, status=503)

    for answer, said in (
        (text, "is no worker of hoso: no JSON at /api/v1/indicators (HOSO_URL)"),
        (busy, "answers 503: agency 'H56' is being recovered"),
    ):
        application = web.Application()
        application.router.add_get("/{path:.*}", answer)
        monkeypatch.setenv("HOSO_URL", url := served(application))
        result = hoso("services", "H56")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == f"error: {url} {said}\n"


def test_dead_letters_are_listed_by_the_name_of_their_agency(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime(2022, 8, 25, tzinfo=ZONE)

    async def letters(*_: Any) -> list[Letter]:
        about = ("bad_data", "", "submissions", "hoso.submissions[0]@0")
        codes = ("H26", "H56", "H99")
        return [Letter(0, n, at, None, None, (), *about, code) for n, code in enumerate(codes)]

    @contextlib.asynccontextmanager
    async def reference(_: Any) -> AsyncIterator[Any]:
        yield country().reference

    commands = import_module("streams.cli.dead_letters")
    monkeypatch.setattr(commands, "read_letters", letters)
    monkeypatch.setattr(commands, "open_reference", reference)

    def listed(*names: str) -> list[str]:
        given = [part for name in names for part in ("--agency", name)]
        result = hoso("dead-letters", "list", "--format", "json", *given)
        assert (result.exit_code, result.stderr) == (0, "")
        return [letter["agency"] for letter in json.loads(result.stdout)]

    assert listed("thanh hoa") == ["H56"]
    assert listed("Hà Nội", "H99") == ["H26", "H99"]
    assert listed("H98") == []
    for name, said in (
        ("ha", "'ha' may be any of: H22 Hà Giang, H26 Hà Nội"),
        ("no where", "no agency has the code or the name 'no where'"),
    ):
        result = hoso("dead-letters", "list", "--agency", name)
        assert (result.exit_code, result.stderr) == (2, f"error: {said}\n")


def test_points_are_rounded_like_shares() -> None:
    assert _signed_points(Fraction(1, 3)) == "+33.33"
    assert _signed_points(Fraction(-1, 100_000)) == "-0.01"
    assert _signed_points(Fraction(0)) == "0.00"
    assert _signed_points(None) == "–"
