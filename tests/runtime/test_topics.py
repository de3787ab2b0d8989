"""A topic that is not what it was, or not what it must be: a worker is not ready and says why.

Faults 12 and 13, and the contract's section 1. Workers are processes on real brokers; whatever they
go through, the process that was started is the one that is right again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from streams.kafka.topics import TopicSpec, catalogue, create_missing
from tests.domain.events import listed, registered, submitted
from tests.domain.register import Register
from tests.runtime.site import ASKS, PARTITIONS, Site, WorkerProcess, eventually

NOTICED = 30.0
"""Seconds that the contract gives."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EVENTS = [listed(), *(submitted(f"D{n}") for n in range(30))]


@asynccontextmanager
async def admin(site: Site) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**site.broker.client_options)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def delete(site: Site, *names: str) -> None:
    async with admin(site) as client:
        await client.delete_topics(list(names))


async def create(site: Site, name: str, partitions: int) -> None:
    """As an operator does, or a broker that creates what a portal sends to."""

    async def gone_and_made() -> bool:
        report = await create_missing(site.broker.client_options, [TopicSpec(name, partitions)])
        return bool(report.created)

    await eventually(gone_and_made, f"{name} created")


async def create_as_it_should_be(site: Site) -> None:
    """``hoso topics create``."""
    changelogs = [site.changelog("dossiers"), site.changelog("services")]
    await create_missing(
        site.broker.client_options, catalogue(site.prefix, PARTITIONS, 1, changelogs)
    )


async def says(worker: WorkerProcess, problem: str, seconds: float = NOTICED) -> None:
    """Wait until it is not ready for a reason that begins so, and shows nothing else."""
    body: object = None

    async def told() -> bool:
        nonlocal body
        status, answer = await worker.get("/readyz")
        body = json.loads(answer) if answer else None
        return status == 503 and any(p.startswith(problem) for p in json.loads(answer)["problems"])

    try:
        await eventually(told, f"{problem!r} said", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}: {body}") from None
    assert (await worker.get("/healthz"))[0] == 200
    status, answer = await worker.get("/api/v1/indicators", **ASKS[0])
    assert status == 503
    assert problem in json.loads(answer)["error"]
    names = {name for name, _ in await worker.metrics()}
    assert (await worker.metrics())["hoso_ready", frozenset()] == 0
    assert not any(name.startswith(("hoso_services", "hoso_dossiers")) for name in names)


async def running(site: Site) -> WorkerProcess:
    """A worker that has taken in the events."""
    await site.send([registered(), *EVENTS])
    worker = site.worker()
    await worker.ready()
    await site.settled_on(Register([registered(), *EVENTS]))
    return worker


async def right_again(site: Site, worker: WorkerProcess, resent: Sequence[str]) -> None:
    """The events of these topics are sent again, and one that is new."""
    more = submitted("NEW")
    await site.send([event for event in EVENTS if event["topic"] in resent])
    await site.send([more])
    await worker.ready()
    await site.settled_on(Register([registered(), *EVENTS, more]))
    assert worker.log.count("the topics have changed") == 1
    assert worker.log.count("the topics are right again") == 1


async def test_a_topic_that_came_back_with_one_partition_is_named_until_it_is_made_right(
    site: Site,
) -> None:
    worker = await running(site)
    name = site.topic("submissions")
    await delete(site, name)
    await create(site, name, 1)
    await says(worker, f"{name}: 1 partition, expected {PARTITIONS}")
    await delete(site, name)
    await says(worker, f"{name}: missing")
    await create_as_it_should_be(site)
    await right_again(site, worker, ["submissions"])


async def test_a_topic_made_anew_with_the_same_partitions_between_two_looks_is_noticed(
    site: Site,
) -> None:
    worker = await running(site)
    name = site.topic("submissions")
    await delete(site, name)
    await create(site, name, PARTITIONS)
    await says(worker, f"{name}: deleted and created anew")
    await right_again(site, worker, ["submissions"])


@pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_more_partitions_under_a_running_worker_are_noticed(site: Site) -> None:
    """The embedded broker cannot add any."""
    worker = await running(site)
    name = site.topic("processing")
    async with admin(site) as client:
        await client.create_partitions({name: NewPartitions(2 * PARTITIONS)})
    await says(worker, f"{name}: {2 * PARTITIONS} partitions, expected {PARTITIONS}")
    await delete(site, name)
    await says(worker, f"{name}: missing")
    await create_as_it_should_be(site)
    await right_again(site, worker, ["processing"])


async def test_a_topic_made_anew_while_no_worker_ran_is_read_from_its_beginning(
    site: Site,
) -> None:
    """Though it has more records than the old one had: offsets alone do not tell them apart."""
    worker = await running(site)
    await worker.stop()
    name = site.topic("submissions")
    await delete(site, name)
    await create(site, name, PARTITIONS)
    others = [submitted(f"OTHER{n}") for n in range(50)]
    await site.send(others)
    worker = site.worker()
    await worker.ready()
    await site.settled_on(Register([registered(), *EVENTS, *others]))
    assert "is another topic than the one that was read up to offset 30" in worker.log
    await worker.stop()
    worker = site.worker()
    await worker.ready()
    await site.settled_on(Register([registered(), *EVENTS, *others]))
    assert "is another topic" not in worker.log


@pytest.mark.parametrize("topic", ["catalogue", "agency-months", "dossiers", "services"])
async def test_whichever_topic_is_deleted_the_figures_come_back(site: Site, topic: str) -> None:
    worker = await running(site)
    name = site.changelog(topic) if topic in ("dossiers", "services") else site.topic(topic)
    await delete(site, name)
    # Missing, or what a client that asked for it made the embedded broker create.
    await says(worker, f"{name}: ")
    await create_as_it_should_be(site)
    await right_again(site, worker, [topic])


async def test_a_start_with_wrong_topics_waits_and_says_why(site: Site) -> None:
    name = site.topic("catalogue")
    await delete(site, name)
    await create(site, name, 1)
    await site.send([registered()])
    worker = site.worker()
    await says(worker, f"{name}: 1 partition, expected {PARTITIONS}")
    await delete(site, name)  # it creates what is missing at the start by itself
    await worker.ready()
    await site.send(EVENTS)
    await site.settled_on(Register([registered(), *EVENTS]))
    assert worker.log.count("not ready, waiting for the topics") == 1


async def test_a_start_that_may_not_create_waits_for_a_missing_topic(site: Site) -> None:
    name = site.topic("dead-letters")
    await delete(site, name)
    worker = site.worker(create_topics="false")
    await says(worker, f"{name}: missing")
    assert await worker.stop() == 0
