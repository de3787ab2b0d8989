"""What stands on the compacted reference topics, on real brokers: after refused records, on wrong
partitions, through restarts, a second group and, on Apache Kafka, real compaction."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import REFERENCE_TOPICS
from streams.audit.audit import Audit, Difference
from streams.kafka.partitioner import partition_for
from streams.settings import load
from tests.domain.events import assigned, listed, registered, removed, submitted
from tests.domain.register import Register
from tests.runtime.site import PARTITIONS, Site, WorkerProcess, eventually

Event = dict[str, Any]

FILLER = b"filler"
COMPACTED_AT_ONCE = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",
    "segment.ms": "100",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "100",
}


def refused(event: Event, **data: Any) -> tuple[bytes, bytes]:
    """Key and value of an event with something in it that the contract does not allow."""
    value = {**event["value"], "data": {**event["value"]["data"], **data}}
    return event["key"].encode(), json.dumps(value).encode()


def wrong(key: str) -> int:
    """A partition that is not the key's, as a client with CRC32 would choose."""
    return (partition_for(key.encode(), PARTITIONS) + 1) % PARTITIONS


async def send_astray(site: Site, event: Event) -> None:
    value = None if event["value"] is None else json.dumps(event["value"]).encode()
    await site.send_raw(event["topic"], event["key"].encode(), value, wrong(event["key"]))


async def contents(site: Site, topic: str) -> list[tuple[int, bytes, bytes | None]]:
    """What a topic holds beside the filler, by partition."""
    records = await site.read(site.topic(topic))
    rows = [(r.partition, r.key, r.value) for r in records if r.key != FILLER]
    return sorted(rows, key=lambda row: row[0])


async def at_home(site: Site, topic: str) -> list[tuple[int, bytes, bytes | None]]:
    rows = await contents(site, topic)
    return [row for row in rows if row[0] == partition_for(row[1], PARTITIONS)]


async def compact(site: Site) -> None:
    """Let Kafka compact the reference topics and drop their tombstones; only Kafka can."""
    if site.broker.kind == "embedded":
        return
    admin = AIOKafkaAdminClient(**site.broker.client_options)
    await admin.start()
    try:
        await admin.alter_configs(
            [
                ConfigResource(ConfigResourceType.TOPIC, site.topic(topic), COMPACTED_AT_ONCE)
                for topic in REFERENCE_TOPICS
            ]
        )
    finally:
        await admin.close()

    async def compacted() -> bool:
        done = True
        for topic in REFERENCE_TOPICS:
            # The segment that is written to is never compacted, and only a record begins a new one.
            for partition in range(PARTITIONS):
                await site.send_raw(topic, FILLER, None, partition)
            rows = await contents(site, topic)
            once = Counter((partition, key) for partition, key, _ in rows).values()
            done = done and max(once, default=0) <= 1 and all(value for _, _, value in rows)
        return done

    await eventually(compacted, "compacted")


async def counted(site: Site, worker: WorkerProcess, outcome: str, **expected: int) -> None:
    """Wait until a worker has counted so many records of each topic."""

    async def so_many() -> bool:
        return all(
            [
                await worker.counted(site.topic(topic), outcome) == count
                for topic, count in expected.items()
            ]
        )

    await eventually(so_many, f"{outcome}: {expected}")


async def audited(site: Site) -> list[Difference]:
    settings = load(
        brokers=site.broker.bootstrap,
        topic_prefix=site.prefix,
        app_id=site.app_id,
        partitions=PARTITIONS,
    )
    return (await Audit(settings).run()).differences


async def test_a_refused_record_changes_nothing_now_or_after_compaction_and_a_restart(
    site: Site,
) -> None:
    good = [registered(), listed(), assigned("H56", 0.7)]
    worker = site.worker()
    await worker.ready()
    # Refused before the good one, and after it.
    await site.send_raw("agencies", *refused(good[0], kind="tinh"))
    await site.send_raw("targets", *refused(good[2], ratio=50))
    await counted(site, worker, "rejected", agencies=1, targets=1)
    await site.send(good)
    await site.settled_on(Register(good))
    await site.send_raw("agencies", *refused(good[0], kind="tinh"))
    await site.send_raw("targets", *refused(good[2], ratio=50))
    await counted(site, worker, "rejected", agencies=2, targets=2)
    await compact(site)
    for topic, event in (("agencies", good[0]), ("targets", good[2])):
        last = [value for _, _, value in await contents(site, topic)][-1]
        assert last == json.dumps(event["value"]).encode()

    assert await worker.stop() == 0
    again = site.worker()
    await again.ready()
    events = [submitted()]
    await site.send(events)
    await site.settled_on(Register([*good, *events]))
    assert await audited(site) == []
    assert await again.stop() == 0

    # A second group reads the refused records again, and writes nothing.
    before = {topic: await contents(site, topic) for topic in REFERENCE_TOPICS}
    other = site.worker(app_id=f"{site.app_id}-second")
    await other.ready()
    await site.settled_on(Register([*good, *events]))
    assert {topic: await contents(site, topic) for topic in REFERENCE_TOPICS} == before


async def test_what_a_worker_that_was_down_did_not_see_is_made_good_when_it_is_back(
    site: Site,
) -> None:
    good = [registered(), listed(), submitted()]
    worker = site.worker()
    await worker.ready()
    await site.send(good)
    await site.settled_on(Register(good))
    worker.kill()
    partition, offset = await site.send_raw("agencies", *refused(good[0], kind="tinh"))
    found = [(d.what, d.scope, d.figure) for d in await audited(site)]
    assert found == [("record", f"{site.topic('agencies')}[{partition}]@{offset}", "reference")]
    again = site.worker()
    await again.ready()
    await counted(site, again, "rejected", agencies=1)
    await compact(site)
    await site.settled_on(Register(good))
    assert await audited(site) == []


async def test_registrations_on_wrong_partitions_neither_win_nor_come_back(site: Site) -> None:
    # As a client with CRC32 sends them, and later one that does as the contract says.
    old = [registered("H29"), registered("H56", "ministry"), assigned("H56", 0.2)]
    new = [removed(registered("H29")), registered("H56"), assigned("H56", 0.7)]
    for event in old:
        await send_astray(site, event)
    await asyncio.sleep(0.01)  # of two records of one millisecond neither is the later
    await site.send(new)
    facts = [listed(), submitted()]
    await site.send(facts)
    register = Register([*old, *new, *facts])

    first = site.worker()
    await first.ready()
    await site.settled_on(register)

    async def removed_there_too() -> bool:
        rows = [row for row in await contents(site, "agencies") if row[1] == b"H29"]
        return [value for p, _, value in rows if p == wrong("H29")][-1] is None

    await eventually(removed_there_too, "the removal on every partition that has the agency")
    assert await first.stop() == 0
    second = site.worker(app_id=f"{site.app_id}-second")
    await second.ready()
    await site.settled_on(register)
    for event in old:
        key = event["key"].encode()
        values = [v for _, k, v in await at_home(site, event["topic"]) if k == key]
        assert json.dumps(event["value"]).encode() not in values, "an old value was forwarded"
    assert await second.stop() == 0

    if site.broker.kind == "kafka":
        # Only now: the tombstones go with it, and nothing is left of the agency.
        await compact(site)
        assert [row for row in await contents(site, "agencies") if row[1] == b"H29"] == []
    third = site.worker()
    await third.ready()
    await site.settled_on(register)
    assert await audited(site) == []
