"""The OpenAPI document: valid, of everything that is served, and true of the answers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from streams.api.openapi import document
from streams.api.queries import IndicatorsQuery, ServicesQuery
from streams.settings import load
from tests.api.conftest import Connect
from tests.api.world import World
from tests.runtime.conftest import site  # noqa: F401  # a worker on a broker
from tests.runtime.site import Site

EVENTS = Path(__file__).parents[1] / "data" / "example_events.jsonl"
ASK = {"as_of": "2022-08-25"}


async def served(world: World, connect: Connect) -> dict[str, Any]:
    answer = await (await connect(world)).get("/api/v1/openapi.json")
    assert (answer.status, answer.content_type) == (200, "application/json")
    found: dict[str, Any] = await answer.json()
    return found


async def test_the_document_is_valid_openapi_3_1(connect: Connect, example: World) -> None:
    found = await served(example, connect)
    assert found["openapi"] == "3.1.0"
    validate(found)


async def test_it_describes_every_path_that_is_served_and_no_other(connect: Connect) -> None:
    for settings in ({}, {"web_pages": False}):
        world = World(load({}, **settings))
        routes = {
            route.resource.canonical
            for route in world.application().router.routes()
            if route.resource is not None
        }
        described = set((await served(world, connect))["paths"])
        assert described == {path for path in routes if not path.startswith("/static/")}
    assert "/metrics" not in document(metrics=False)["paths"]


def test_parameters_are_those_of_the_models() -> None:
    paths = document()["paths"]
    for path, model in (
        ("/api/v1/indicators", IndicatorsQuery),
        ("/api/v1/agencies/{code}/services", ServicesQuery),
    ):
        parameters = {p["name"]: p["schema"] for p in paths[path]["get"]["parameters"]}
        assert parameters.keys() == model.model_fields.keys()
    assert parameters["as_of"] == {"type": "string", "format": "date"}
    assert parameters["definition"]["enum"] == ["mic-2022", "qd766", "emc-2024"]
    assert parameters["period"]["default"] == "year"
    assert parameters["with_dossiers"]["enum"] == ["true", "false"]


@pytest.mark.parametrize(
    ("path", "described", "status"),
    [
        ("/api/v1/indicators", "/api/v1/indicators", 200),
        ("/api/v1/agencies/H56/services", "/api/v1/agencies/{code}/services", 200),
        ("/api/v1/agencies/H56/rejected", "/api/v1/agencies/{code}/rejected", 200),
        ("/api/v1/agencies/H98/services", "/api/v1/agencies/{code}/services", 404),
        ("/api/v1/indicators?as_of=2022-13-01", "/api/v1/indicators", 400),
    ],
)
async def test_answers_are_as_described_to_the_last_field(
    connect: Connect, example: World, path: str, described: str, status: int
) -> None:
    found = await served(example, connect)
    answer = await (await connect(example)).get(path)
    assert answer.status == status
    response = found["paths"][described]["get"]["responses"][str(status)]
    schema = response["content"]["application/json"]["schema"]
    whole = schema | {"components": found["components"]}
    errors = [*Draft202012Validator(whole).iter_errors(await answer.json())]
    assert errors == []


async def test_a_field_too_many_is_not_as_described(connect: Connect, example: World) -> None:
    found = await served(example, connect)
    answer = await (await (await connect(example)).get("/api/v1/indicators")).json()
    schema = {"$ref": "#/components/schemas/IndicatorsAnswer", "components": found["components"]}
    assert Draft202012Validator(schema).is_valid(answer)
    assert not Draft202012Validator(schema).is_valid({**answer, "more": 1})
    answer["rows"][3]["rank"].pop("online_processed")
    assert not Draft202012Validator(schema).is_valid(answer)


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
async def test_a_running_worker_keeps_to_the_document_whatever_it_is_asked(
    site: Site,  # noqa: F811
    tmp_path: Path,
) -> None:
    """By schemathesis: every boundary of every parameter, and random questions, good and bad."""
    worker = site.worker(**ASK)
    await worker.ready()
    await site.send([json.loads(line) for line in EVENTS.open(encoding="utf-8")])
    await site.caught_up()
    seed = os.environ.get("HOSO_TEST_SEED", "20220825")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis as run; run()", "run"),
        f"http://127.0.0.1:{worker.port}/api/v1/openapi.json",
        *("--checks", "all", "--phases", "examples,coverage,fuzzing", "--no-color"),
        *("--max-examples", "40", "--seed", seed, "--continue-on-failure"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        said = (await asyncio.wait_for(process.communicate(), 240))[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, f"HOSO_TEST_SEED={seed}\n{said}"
    assert "9 selected / 9 total" in said
    assert (await worker.get("/readyz"))[0] == 200
