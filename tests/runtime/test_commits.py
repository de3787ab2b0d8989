"""What is committed is what is processed: within two seconds, and all of it at a clean stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.kafka.partitioner import partition_for
from tests.domain.events import registered, submitted
from tests.runtime.site import PARTITIONS, Site, WorkerProcess, eventually

LAG_SECONDS = 2.0
"""How long a processed record may stay uncommitted (issue: commits follow our books)."""
SLACK_SECONDS = 3.0
"""For a machine that does other things too: a scrape and a question take their time."""


async def committed(site: Site) -> Mapping[TopicPartition, int]:
    """What the group has been told of submissions."""
    tps = [TopicPartition(site.topic("submissions"), number) for number in range(PARTITIONS)]
    client = AIOKafkaConsumer(
        **site.broker.client_options, group_id=site.app_id, enable_auto_commit=False
    )
    await client.start()
    try:
        client.assign(tps)
        found = {tp: await client.committed(tp) for tp in tps}
    finally:
        await client.stop()
    return {tp: offset for tp, offset in found.items() if offset is not None}


async def processed(worker: WorkerProcess) -> float:
    """Records of submissions that this process has finished with."""
    series = await worker.metrics()
    return sum(
        value
        for (name, labels), value in series.items()
        if name == "hoso_events_total" and any(v.endswith("submissions") for _, v in labels)
    )


async def committed_submissions(site: Site) -> int:
    return sum((await committed(site)).values())


@pytest.mark.parametrize(
    ("together", "pause"), [(1, 0.02), (40, 0.1)], ids=["single records", "chunks"]
)
async def test_processed_records_are_committed_within_seconds_and_all_at_a_clean_stop(
    site: Site, together: int, pause: float
) -> None:
    codes = [f"A{number}" for number in range(16)]
    await site.send([registered(code) for code in codes])
    worker = site.worker()
    await worker.ready()
    sent = 0
    seen: list[tuple[float, float]] = []
    until = time.monotonic() + 10
    while time.monotonic() < until:
        events = [
            submitted(agency=codes[(sent + n) % len(codes)], dossier=f"D{sent + n}")
            for n in range(together)
        ]
        await site.send(events)
        sent += together
        await asyncio.sleep(pause)
        if not seen or time.monotonic() - seen[-1][0] > 1:
            seen.append((time.monotonic(), await processed(worker)))
            known = await committed_submissions(site)
            old = [n for at, n in seen if at <= time.monotonic() - LAG_SECONDS - SLACK_SECONDS]
            assert known >= max(old, default=0), "processed long ago, and not committed"
    await site.send_raw("submissions", codes[0].encode(), b"{")
    sent += 1

    async def all_processed() -> bool:
        return await processed(worker) == sent

    await eventually(all_processed, "everything processed")
    assert await worker.stop() == 0
    assert await committed_submissions(site) == sent
    letters = len(await site.read(site.topic("dead-letters")))
    again = site.worker()
    await again.ready()
    await site.caught_up()
    assert await processed(again) == 0, "records were read again after a clean stop"
    assert len(await site.read(site.topic("dead-letters"))) == letters == 1


async def test_the_first_record_of_a_partition_that_comes_alone_is_committed(site: Site) -> None:
    await site.send([registered()])
    worker = site.worker()
    await worker.ready()
    tp = TopicPartition(site.topic("submissions"), partition_for(b"H56", PARTITIONS))
    for number in (1, 2, 3):
        await site.send([submitted(dossier=f"D{number}")])

        async def told(number: int = number) -> bool:
            return (await committed(site)).get(tp) == number

        await eventually(told, f"{number} committed", LAG_SECONDS + SLACK_SECONDS)


async def test_what_a_killed_worker_had_processed_is_not_dead_lettered_again(site: Site) -> None:
    """The state says how far it goes, also where the group was not told in time."""
    await site.send([registered()])
    worker = site.worker(store="rocksdb")
    await worker.ready()
    for number in range(30):
        await site.send_raw("submissions", b"H56", b"{%d" % number)
    await eventually(lambda: _is(worker, 30), "everything processed")
    worker.kill()
    again = site.worker(store="rocksdb", data_dir=str(site.directory / worker.name))
    await again.ready()
    await site.caught_up()
    letters = await site.read(site.topic("dead-letters"))
    assert len(letters) == 30


async def _is(worker: WorkerProcess, records: int) -> bool:
    return await processed(worker) == records
