"""aiokafka's ``getmany``, pydantic, and dicts: no durability, no catalogue, no ledger.

The same validation per event as hoso's; what is left of a stream processor without the rest.
"""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.counts import ENDED, TOPICS, tally
from bench.peers.decode import validate_processed, validate_submitted
from bench.peers.process import Clock, Report, main


def run(bootstrap: str, events: int) -> Report:
    """Read both topics from the start until ``events`` records are done."""
    return asyncio.run(_run(bootstrap, events))


async def _run(bootstrap: str, events: int) -> Report:
    submissions, _ = TOPICS
    validate = dict(zip(TOPICS, (validate_submitted, validate_processed), strict=True))
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 * 1024 * 1024,
    )
    await consumer.start()
    channels: dict[tuple[str, str], str | None] = {}
    ended: set[tuple[str, str]] = set()
    services: set[tuple[str, str]] = set()
    clock = Clock()
    try:
        for name in TOPICS:
            await consumer._client.add_topic(name)
        tps = [
            TopicPartition(name, number)
            for name in TOPICS
            for number in consumer.partitions_for_topic(name) or ()
        ]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        done = 0
        while done < events:
            for tp, records in (await consumer.getmany(timeout_ms=1000, max_records=4000)).items():
                clock.start()
                check = validate[tp.topic]
                for record in records:
                    data = check(record.value).data
                    key = data.agency, data.dossier
                    if tp.topic == submissions:
                        channels[key] = data.channel
                        if data.channel == "online":
                            services.add((data.agency, data.service))
                    elif data.status in ENDED:
                        ended.add(key)
                done += len(records)
        report = clock.report(done, {})
    finally:
        await consumer.stop()
    return report._replace(counted=tally(channels, ended, services))


if __name__ == "__main__":
    main(run)
