"""Records that are removed before a worker has read them: fault 14."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from streams.kafka.partitioner import partition_for
from tests.domain.events import listed, registered, submitted
from tests.domain.register import Register
from tests.runtime.site import PARTITIONS, Site, WorkerProcess, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ON_APACHE_KAFKA = pytest.mark.parametrize(
    "broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True
)
"""The embedded broker cannot delete records."""
NUMBER = partition_for(b"H56", PARTITIONS)


async def remove(site: Site, topic: str, before: int) -> None:
    """Delete the records of the agency's partition before an offset."""
    admin = AIOKafkaAdminClient(**site.broker.client_options)
    await admin.start()
    try:
        at = TopicPartition(site.topic(topic), NUMBER)
        await admin.delete_records({at: RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


async def lost(site: Site, worker: WorkerProcess) -> dict[tuple[str, int], float]:
    """What the worker says was lost, zeros too."""
    found = {}
    for (name, labels), value in (await worker.metrics()).items():
        if name == "hoso_records_lost_total":
            by = dict(labels)
            found[by["topic"].removeprefix(site.prefix), int(by["partition"])] = value
    return found


async def audit(site: Site) -> tuple[int, list[str], int]:
    """Exit code, what cannot be vouched for, and how many differences."""
    settings = {
        "HOSO_BROKERS": site.broker.bootstrap,
        "HOSO_TOPIC_PREFIX": site.prefix,
        "HOSO_APP_ID": site.app_id,
        "HOSO_PARTITIONS": str(PARTITIONS),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams", "audit", "--format", "json"),
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    found = json.loads(out)
    assert process.returncode is not None
    return process.returncode, found["unvouched"], len(found["differences"])


def nothing_but(**records: int) -> dict[tuple[str, int], float]:
    topics = ("submissions", "processing", "catalogue")
    zeros = {(topic, number): 0.0 for topic in topics for number in range(PARTITIONS)}
    return zeros | {(topic, NUMBER): float(count) for topic, count in records.items()}


@ON_APACHE_KAFKA
async def test_records_removed_while_the_worker_was_down_are_counted(site: Site) -> None:
    read, unread = ([submitted(f"{kind}{n}") for n in range(10)] for kind in "AB")
    await site.send([registered(), listed(), *read])
    worker = site.worker()
    await site.caught_up()
    assert await lost(site, worker) == nothing_but()
    await remove(site, "submissions", 4)  # these had been read
    worker.kill()
    await site.send(unread)
    await remove(site, "submissions", 15)
    worker = site.worker()
    await site.settled_on(Register([registered(), listed(), *read, *unread[5:]]))
    assert await lost(site, worker) == nothing_but(submissions=5)


@ON_APACHE_KAFKA
async def test_a_whole_backlog_that_was_removed_is_counted(site: Site) -> None:
    """Nothing is left to read that would show the gap; what had been read shows where it began."""
    read = submitted("A")
    await site.send([registered(), listed(), read])
    worker = site.worker()
    await site.settled_on(Register([registered(), listed(), read]))
    worker.kill()
    await site.send([submitted(f"D{n}") for n in range(7)])
    await remove(site, "submissions", 8)
    worker = site.worker()

    async def counted() -> bool:
        return await lost(site, worker) == nothing_but(submissions=7)

    await eventually(counted, "the loss counted", 120)
    await site.caught_up()


@ON_APACHE_KAFKA
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP on Windows")
async def test_records_removed_under_a_worker_that_lags_are_counted(site: Site) -> None:
    read, unread = ([submitted(f"{kind}{n}") for n in range(10)] for kind in "AB")
    await site.send([registered(), listed(), *read])
    worker = site.worker()
    await site.caught_up()
    worker.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1)  # by then the broker has answered its last fetch, which nobody can see
    await site.send(unread)
    await remove(site, "submissions", 13)
    worker.process.send_signal(signal.SIGCONT)
    await worker.ready()
    await site.settled_on(Register([registered(), listed(), *read, *unread[3:]]))
    assert await lost(site, worker) == nothing_but(submissions=3)


@ON_APACHE_KAFKA
async def test_the_audit_names_what_it_cannot_vouch_for_and_what_differs(site: Site) -> None:
    events = [submitted(f"D{n}") for n in range(10)]
    await site.send([registered(), listed(), *events])
    site.worker()
    await site.caught_up()
    assert await audit(site) == (0, [], 0)
    await remove(site, "submissions", 4)
    code, unvouched, differences = await audit(site)
    at = f"{site.topic('submissions')}[{NUMBER}]"
    assert (code, unvouched) == (1, [f"{at} begins at offset 4: 4 records are gone"])
    assert differences > 0, "what was read before it was removed stays in the figures"
