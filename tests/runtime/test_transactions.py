"""Portals and officials that write in transactions: what is aborted or open counts nowhere.

Contract, section 1. One producer sends outside any transaction, others inside one, interleaved on
the same partitions; the worker, its API and metrics, ``hoso report`` and ``hoso audit`` must give
the figures of what is committed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition

from streams.kafka.offsets import ends
from streams.kafka.partitioner import partition_for
from tests.audit.conftest import Hoso, hoso
from tests.conftest import Broker
from tests.domain.events import Event, assigned, listed, processed, registered, submitted
from tests.domain.register import Register
from tests.kafka.clients import consumer, transaction
from tests.runtime.site import PARTITIONS, Site, WorkerProcess, eventually

__all__ = ["hoso"]  # a fixture
pytestmark = [pytest.mark.kafka, pytest.mark.slow]

AS_OF = "2022-08-25"
ASK = {"period": "year", "as_of": AS_OF, "definition": "mic-2022"}


@pytest_asyncio.fixture
async def site(apache_kafka: Broker, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Everything a test needs, on the broker that has transactions."""
    async with Site(apache_kafka, topic_prefix, tmp_path) as found:
        yield found
        for worker in found.workers:
            print(f"---- {worker.name}\n{worker.log[-8000:]}")  # noqa: T201


async def _send(client: AIOKafkaProducer, site: Site, events: Iterable[Event]) -> None:
    for event in events:
        key = event["key"].encode()
        value = None if event["value"] is None else json.dumps(event["value"]).encode()
        number = partition_for(key, PARTITIONS)
        await client.send_and_wait(site.topic(event["topic"]), value, key=key, partition=number)


async def _ended(site: Site) -> None:
    """Wait until no transaction is open: Kafka says so before the markers are in the logs."""
    topics = ("submissions", "processing", "catalogue", "agencies", "targets")
    tps = [TopicPartition(site.topic(topic), n) for topic in topics for n in range(PARTITIONS)]
    async with consumer(site.broker) as asking:

        async def nothing_open() -> bool:
            return all(end.stable == end.high for end in (await ends(asking, tps)).values())

        await eventually(nothing_open, "every transaction ended")


async def _behind(worker: WorkerProcess) -> tuple[object, object]:
    """What the API and the metrics say."""
    told = (await worker.json("/api/v1/indicators", **ASK))["behind"]
    return told, (await worker.metrics()).get(("hoso_behind_records", frozenset()))


async def _report(hoso: Hoso) -> dict[str, Any]:
    ended = await hoso("report", "--as-of", AS_OF, "--format", "json")
    assert ended.code == 0, ended
    found: dict[str, Any] = json.loads(ended.out)
    return found


async def test_only_what_is_committed_counts_whoever_asks(site: Site, hoso: Hoso) -> None:
    target = assigned("national", 0.5)
    outside = [registered(), registered("H26"), target, listed(), submitted("A")]
    aborted = [
        registered("H99"),
        registered(kind="ministry"),
        assigned("national", 0.9),
        assigned("H56", 1.0),
        listed(level=1, revision=7),
        listed("T"),
        submitted("A", channel="postal", revision=7),
        submitted("X"),
        processed(9, dossier="X"),
        processed(3, dossier="A"),
        submitted("Y", agency="H99"),
    ]
    committed = [listed("U"), submitted("C", service="U"), processed(9, dossier="C")]
    own = assigned("H56", 0.6)
    last = [registered(), registered("H26"), target, own, listed("V"), submitted("B"), processed(2)]
    producers = site.producer, f"{site.prefix}aborting", f"{site.prefix}committing"

    worker = site.worker(as_of=AS_OF)
    await worker.ready()
    async with (
        transaction(site.broker, producers[1]) as aborting,
        transaction(site.broker, producers[2]) as committing,
    ):
        for n in range(max(map(len, (outside, aborted, committed)))):
            await _send(site.producer, site, outside[n : n + 1])
            await _send(aborting, site, aborted[n : n + 1])
            await _send(committing, site, committed[n : n + 1])
        await aborting.abort_transaction()
        await committing.commit_transaction()
    await _ended(site)
    await _send(site.producer, site, last)

    register = Register([*outside, *committed, *last])
    await site.settled_on(register)
    assert await _behind(worker) == (0, 0.0)
    counted = {"submissions": 3, "processing": 2, "catalogue": 3, "agencies": 4, "targets": 3}
    for topic, records in counted.items():
        assert await worker.counted(site.topic(topic), "applied") == records, topic
        assert await worker.counted(site.topic(topic), "rejected") == 0, topic

    report = await _report(hoso)
    answer = await worker.json("/api/v1/indicators", **ASK)
    assert report == answer
    assert "H99" not in {row["scope"] for row in report["rows"]}

    ended = await hoso("audit", "--format", "json", "--url", f"http://127.0.0.1:{worker.port}")
    assert ended.code == 0, ended
    audit = json.loads(ended.out)
    assert audit["differences"] == []
    assert (audit["records"], audit["agencies"]) == (8, 2)

    # A restart reads all of it again.
    await worker.stop()
    await site.worker(as_of=AS_OF).ready()
    await site.settled_on(register)


async def test_an_open_transaction_holds_its_partition_back_and_is_seen_until_kafka_ends_it(
    site: Site, hoso: Hoso
) -> None:
    before = [registered(), listed(), submitted("A"), processed(9, dossier="A")]
    worker = site.worker(as_of=AS_OF)
    await worker.ready()
    await _send(site.producer, site, before)
    await site.settled_on(Register(before))
    assert await _behind(worker) == (0, 0.0)

    held, free = [submitted("P"), submitted("Q")], [processed(9, dossier="P")]
    async with transaction(site.broker, f"{site.prefix}hanging", timeout_ms=30_000) as hanging:
        await _send(hanging, site, [submitted("H")])
        await _send(site.producer, site, [*held, *free])
        # Before that Kafka has all three, and the figures have none of them.
        register = Register([*before, *free])
        await site.settled_on(register)
        assert await _behind(worker) == (3, 3.0)
        assert (await _report(hoso))["behind"] == 3
        assert await worker.is_ready()
        assert (await worker.get("/healthz"))[0] == 200
        # Its producer goes away without a word.

    await _ended(site)
    last = [submitted("R")]
    await _send(site.producer, site, last)
    await site.settled_on(Register([*before, *held, *free, *last]))
    assert await _behind(worker) == (0, 0.0)
    assert (await _report(hoso))["behind"] == 0


async def test_markers_at_the_end_of_a_partition_do_not_leave_the_figures_behind(
    site: Site, hoso: Hoso
) -> None:
    """Neither for the worker nor for who reads its marks: the offset of a marker is no record."""
    worker = site.worker(as_of=AS_OF)
    await worker.ready()
    sent = [registered(), listed(), submitted("A")]
    await _send(site.producer, site, sent)
    async with transaction(site.broker, f"{site.prefix}portal") as portal:
        await _send(portal, site, [submitted("X"), processed(9, dossier="X")])
        await portal.abort_transaction()
        await portal.begin_transaction()
        await _send(portal, site, [submitted("B")])
        await portal.commit_transaction()
    await _ended(site)
    await site.settled_on(Register([*sent, submitted("B")]))

    async def nothing_behind() -> bool:
        return await _behind(worker) == (0, 0.0) and (await _report(hoso))["behind"] == 0

    await eventually(nothing_behind, "all marks moved past the markers")


async def test_a_report_right_after_the_events_were_sent_is_complete_or_says_that_it_is_not(
    site: Site, hoso: Hoso
) -> None:
    await _send(site.producer, site, [registered(), listed(), submitted("A")])
    assert (await _report(hoso))["behind"] == 2, "no worker has ever run"
    table = await hoso("report", "--as-of", AS_OF)
    assert "2 records behind" in table.out
    rows = (await hoso("report", "--as-of", AS_OF, "--format", "csv")).out.splitlines()
    assert rows[0].startswith("as_of,period,period_start,definition,behind,release,scope,")
    assert rows[1].split(",")[4:7] == ["2", "", "national"]
    worker = site.worker(as_of=AS_OF)
    await worker.ready()
    expected: list[Event] = []
    for n in range(5):
        expected = [submitted(f"D{n}-{m}") for m in range(200)]
        await site.send(expected)
        report = await _report(hoso)
        (nation,) = (row for row in report["rows"] if row["scope"] == "national")
        missing = 1 + 200 * (n + 1) - nation["dossiers_submitted"]["online"]
        assert report["behind"] == missing
