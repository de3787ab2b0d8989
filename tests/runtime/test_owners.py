"""Who owns a partition: what workers announce, as far as they say themselves that it holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from schemas.topics import Topic
from streams.runtime.owners import Owners
from streams.settings import load
from streams.state.codecs import SERVED_AT_KEY
from streams.views.published_months import PublishedMonths
from tests.api.world import Record

Serve = Callable[[Any], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve a body at /readyz; the address."""
    servers = []

    async def start(body: Any) -> str:
        async def readyz(_: web.Request) -> web.Response:
            return web.json_response(body, status=503)

        application = web.Application()
        application.router.add_get("/readyz", readyz)
        servers.append(server := TestServer(application))
        await server.start_server()
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in servers:
        await server.close()


def state(*partitions: int, recovering: tuple[int, ...] = ()) -> dict[str, Any]:
    return {"partitions": list(partitions), "recovering": list(recovering)}


async def asked(announced: dict[int, str]) -> dict[int, str | None]:
    owners = Owners(announced)
    async with aiohttp.ClientSession() as session:
        await owners.ask(session)
    return {number: owners.url(number) for number in range(4)}


async def test_a_partition_is_its_workers_while_that_shows_it(serve: Serve) -> None:
    one, other = await serve(state(0, 2, recovering=(2,))), await serve(state(1))
    found = await asked({0: one, 1: other, 2: one, 3: other})
    assert found == {0: one, 1: other, 2: None, 3: None}


async def test_who_took_over_is_found_before_it_has_announced_itself_there(serve: Serve) -> None:
    left = await serve(state(0, 1))
    assert await asked({0: left, 1: "http://127.0.0.1:1"}) == {0: left, 1: left, 2: None, 3: None}


async def test_of_two_that_show_a_partition_the_one_that_announced_it_last_has_it(
    serve: Serve,
) -> None:
    late, stale = await serve(state(0, 1)), await serve(state(1, 0))
    found = await asked({0: late, 1: stale})
    assert (found[0], found[1]) == (late, stale)


@pytest.mark.parametrize("body", [None, [], {}, {"partitions": 1}, {"partitions": [1]}, "ready"])
async def test_who_says_no_such_thing_owns_nothing(serve: Serve, body: Any) -> None:
    at = await serve(body)
    for address in (at, "http://127.0.0.1:1", "nowhere", "ftp://host", "\udcff"):
        assert set((await asked({1: address})).values()) == {None}


def test_the_last_address_announced_in_a_partition_stands_and_is_no_row() -> None:
    months = PublishedMonths(load({}))
    topic = load({}).topic(Topic.agency_months)

    def announce(partition: int, value: bytes | None) -> None:
        months.view._apply([Record(topic, partition, 0, 0, SERVED_AT_KEY, value)])

    announce(0, b"http://a:6066")
    announce(1, b"http://a:6066")
    announce(1, b"http://b:6066")
    assert months.served_at == {0: "http://a:6066", 1: "http://b:6066"}
    announce(0, None)
    assert months.served_at == {1: "http://b:6066"}
    assert months.months() == {}
    assert not months.rows[1]
