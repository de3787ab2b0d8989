"""``GET /api/v1/agencies/{code}/services``: the services behind a ratio, asked of their owner."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from yarl import URL

from streams.domain.calendar import PERIOD_KINDS
from streams.domain.definitions import DEFINITIONS
from streams.kafka.partitioner import partition_for
from streams.settings import load
from tests.api.conftest import Connect
from tests.api.test_indicators import by_scope, random_world
from tests.api.world import World, list_service, register, submit


def path_of(code: str) -> URL:
    return URL(f"/api/v1/agencies/{quote(code, safe='')}/services", encoded=True)


def small(owns: frozenset[int] | None = None, **settings: Any) -> World:
    """One agency with a used, an unused, a lower and a delisted service."""
    world = World(load({}, **settings), owns=owns)
    register(world, "H56")
    list_service(world, "H56", "used", 4, name="Đăng ký khai sinh")
    list_service(world, "H56", "unused", 3)
    list_service(world, "H56", "low", 2)
    list_service(world, "H56", "gone", 4)
    list_service(world, "H56", "gone", 4, listed=False, effective_from="2022-03-01")
    submit(world, "H56", "used", "d1", "2022-02-03")
    submit(world, "H56", "used", "d2", "2022-02-03")
    submit(world, "H56", "used", "d3", "2022-06-07")
    submit(world, "H56", "used", "d4", "2022-04-01", channel="postal")
    submit(world, "H56", "gone", "d5", "2022-02-03")
    return world


async def codes(client: Any, **question: str) -> list[str]:
    answer = await (await client.get(path_of("H56"), params=question)).json()
    return [service["code"] for service in answer["services"]]


async def test_lists_the_services_at_the_definition_s_levels_on_the_day(connect: Connect) -> None:
    answer = await (await (await connect(small())).get(path_of("H56"))).json()
    assert answer == {
        "agency": "H56",
        "as_of": "2022-08-25",
        "period": {"kind": "year", "start": "2022-01-01", "end": "2022-08-25"},
        "definition": "mic-2022",
        "services": [
            {
                "code": "unused",
                "name": None,
                "level": 3,
                "online_dossiers": 0,
                "first_day": None,
                "last_day": None,
            },
            {
                "code": "used",
                "name": "Đăng ký khai sinh",
                "level": 4,
                "online_dossiers": 3,
                "first_day": "2022-02-03",
                "last_day": "2022-06-07",
            },
        ],
    }


async def test_the_services_can_be_narrowed_to_those_with_or_without_dossiers(
    connect: Connect,
) -> None:
    client = await connect(small())
    assert await codes(client) == ["unused", "used"]
    assert await codes(client, with_dossiers="true") == ["used"]
    assert await codes(client, with_dossiers="false") == ["unused"]
    assert await codes(client, as_of="2022-02-28") == ["gone", "unused", "used"]
    assert await codes(client, definition="emc-2024") == ["used"]
    assert await codes(client, definition="qd766", with_dossiers="false") == [
        "low",
        "unused",
        "used",
    ]
    assert await codes(client, period="quarter", with_dossiers="true") == []


@pytest.mark.parametrize("seed", range(15))
async def test_the_services_with_dossiers_are_as_many_as_the_indicator_says(
    connect: Connect, seed: int
) -> None:
    rng = random.Random(seed)
    world = random_world(rng)
    client = await connect(world)
    for definition in DEFINITIONS:
        question = {
            "definition": definition,
            "period": rng.choice(PERIOD_KINDS),
            "as_of": f"2022-{rng.randint(1, 12):02d}-15",
        }
        rows = by_scope(await (await client.get("/api/v1/indicators", params=question)).json())
        for code in world.reference.agencies:
            services = (await (await client.get(path_of(code), params=question)).json())["services"]
            used = [s for s in services if s["online_dossiers"]]
            assert len(services) == rows[code]["services_listed"]
            assert len(used) == rows[code]["services_with_dossiers"]


async def test_a_whole_answer_stays_as_it_was(
    connect: Connect, example: World, golden: Callable[[str, str], None]
) -> None:
    client = await connect(example)
    answer = await (await client.get(path_of("H26"), params={"definition": "qd766"})).json()
    golden("services.json", json.dumps(answer, ensure_ascii=False, indent=1) + "\n")


async def test_an_unknown_agency_is_404(connect: Connect) -> None:
    for code in ("H99", "national", "Hà Nội", '"'):
        response = await (await connect(small())).get(path_of(code))
        assert response.status == 404
        assert (await response.json()) == {
            "error": f"agency {code!r} is not registered",
            "agency": code,
        }


async def test_an_agency_without_an_event_has_no_services(connect: Connect) -> None:
    world = World()
    register(world, "H01")
    response = await (await connect(world)).get(path_of("H01"))
    assert response.status == 200
    assert (await response.json())["services"] == []


def any_code(rng: random.Random) -> str:
    """A legal code: what a URL, a template or a path reads as its own among it."""
    pieces = "{}[]%/?#&=+;:@!$'()*,~|^`<>\\\".-_aZ9ếđ漢🏛"
    code = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 12)))
    return "a" + code if set(code) == {"."} else code


@pytest.mark.parametrize(
    "code",
    ["a/b", "Sở-Tư-pháp", "50%", "a?b#c", "a+b&c=d", "%2F", "a\\b", "{}", "a{b}", "{code}", "}{"]
    + ["%7B%7D", "a" * 64, "/", "//", "a/services", "a/../b", "..a", "%", "%zz", "ế" * 64]
    + [any_code(random.Random(seed)) for seed in range(20)],
)
@pytest.mark.parametrize("forwarded", [False, True])
async def test_any_code_can_be_written_into_the_path(
    connect: Connect, code: str, forwarded: bool
) -> None:
    worlds = [World(), World(owns=frozenset())]
    for world in worlds:
        register(world, code)
        list_service(world, code, "1.0")
    owner, other = [await connect(world) for world in worlds]
    worlds[1].owners = dict.fromkeys(range(12), str(owner.make_url("/")))
    response = await (other if forwarded else owner).get(path_of(code))
    answer = await response.json()
    assert response.status == 200
    assert answer["agency"] == code
    assert [service["code"] for service in answer["services"]] == ["1.0"]


# Other workers


NUMBER = partition_for(b"H56", 12)


async def test_a_worker_that_does_not_own_the_agency_asks_the_one_that_does(
    connect: Connect,
) -> None:
    """With the defaults of the one that was asked, whatever the owner's are."""
    owner = await connect(small(definition="qd766", as_of="latest"))
    world = small(owns=frozenset())
    world.owners[NUMBER] = str(owner.make_url("")).rstrip("/")
    client = await connect(world)
    answer = await (await client.get(path_of("H56"))).json()
    assert answer == await (await (await connect(small())).get(path_of("H56"))).json()
    assert await codes(client, with_dossiers="false") == ["unused"]
    assert await codes(client, with_dossiers="true", definition="qd766") == []


async def test_a_bad_parameter_is_refused_without_asking_anyone(connect: Connect) -> None:
    client = await connect(small(owns=frozenset()))
    response = await client.get(path_of("H56"), params={"with_dossiers": "maybe"})
    assert response.status == 400
    assert (await response.json()) == {
        "error": "with_dossiers: 'maybe' is not true or false",
        "parameter": "with_dossiers",
    }


async def test_a_forwarded_request_is_never_forwarded_again(connect: Connect) -> None:
    """Two workers that take each other for the owner answer 503 instead of asking in circles."""
    worlds = [small(owns=frozenset()), small(owns=frozenset())]
    clients = [await connect(world) for world in worlds]
    worlds[0].owners[NUMBER] = str(clients[1].make_url("/"))
    worlds[1].owners[NUMBER] = str(clients[0].make_url("/"))
    response = await clients[0].get(path_of("H56"))
    assert response.status == 503
    assert (await response.json()) == {
        "error": f"this worker does not own partition {NUMBER} of agency 'H56'; try again soon",
        "agency": "H56",
    }


async def test_the_mark_of_a_forwarded_request_is_sent(connect: Connect) -> None:
    asked: list[tuple[str | None, dict[str, str]]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.headers.get("hoso-forwarded"), dict(request.query)))
        return web.json_response({"from": "the owner"}, status=503)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    async with TestServer(application) as owner:
        world = small(owns=frozenset())
        world.owners[NUMBER] = str(owner.make_url("/"))
        response = await (await connect(world)).get(path_of("H56"))
        assert response.status == 503, "the owner's status is passed on"
        assert (await response.json()) == {"from": "the owner"}
    question = {"period": "year", "as_of": "2022-08-25", "definition": "mic-2022"}
    assert asked == [("1", question)]


async def test_without_an_owner_the_answer_is_503(connect: Connect) -> None:
    response = await (await connect(small(owns=frozenset()))).get(path_of("H56"))
    assert response.status == 503
    assert (await response.json()) == {
        "error": f"nobody owns partition {NUMBER} of agency 'H56' now; try again soon",
        "agency": "H56",
    }


async def test_an_owner_that_is_down_is_503_and_named(
    connect: Connect, unused_tcp_port: int
) -> None:
    world = small(owns=frozenset())
    world.owners[NUMBER] = f"http://127.0.0.1:{unused_tcp_port}"
    response = await (await connect(world)).get(path_of("H56"))
    assert response.status == 503
    assert (await response.json()) == {
        "error": f"the worker of agency 'H56', http://127.0.0.1:{unused_tcp_port}, "
        "does not answer; try again soon",
        "agency": "H56",
    }


async def test_while_the_agency_is_being_recovered_the_answer_is_503(connect: Connect) -> None:
    world = small()
    world.tasks.suspend()
    client = await connect(world)
    response = await client.get(path_of("H56"))
    assert response.status == 503
    assert (await response.json()) == {
        "error": "agency 'H56' is being recovered; try again soon",
        "agency": "H56",
    }
    assert (await client.get("/api/v1/indicators")).status == 200, "these come from the register"


@pytest.mark.parametrize("forwarded", [False, True])
async def test_a_code_of_dots_is_no_step_up_the_path(connect: Connect, forwarded: bool) -> None:
    worlds = [World(), World(owns=frozenset())]
    for world in worlds:
        register(world, "..")
    owner, other = [await connect(world) for world in worlds]
    worlds[1].owners = dict.fromkeys(range(12), str(owner.make_url("/")))
    asked = str((other if forwarded else owner).make_url("/"))
    path = URL(f"{asked}api/v1/agencies/%2E%2E/services", encoded=True)
    async with ClientSession() as session, session.get(path) as response:
        assert (response.status, (await response.json())["agency"]) == (200, "..")
