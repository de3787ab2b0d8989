"""Offsets that no record has are passed, and nothing is left waiting for them."""

from __future__ import annotations

import json

import pytest
from aiokafka import AIOKafkaProducer

from streams.kafka.partitioner import partition_for
from tests.domain.events import listed, registered, submitted
from tests.domain.register import Register
from tests.runtime.site import PARTITIONS, Site


@pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_markers_of_transactions_are_passed(site: Site) -> None:
    """A portal that sends in transactions leaves offsets in the log that no record has.

    The embedded broker has no transactions.
    """
    events = [listed(), *(submitted(f"D{n}") for n in range(30))]
    await site.send([registered()])
    worker = site.worker()
    await worker.ready()
    portal = AIOKafkaProducer(**site.broker.client_options, transactional_id=site.app_id)
    await portal.start()
    try:
        for event in events:
            async with portal.transaction():
                await portal.send(
                    site.topic(event["topic"]),
                    key=event["key"].encode(),
                    value=json.dumps(event["value"]).encode(),
                    partition=partition_for(event["key"].encode(), PARTITIONS),
                )
    finally:
        await portal.stop()
    await site.send(events[:2])
    register = Register([registered(), *events])
    for worker_ in (worker, None):
        if worker_ is None:
            worker.kill()
            worker_ = site.worker()
            await worker_.ready()
        await site.settled_on(register)
    assert "were skipped, seeking back" not in worker.log
    metrics = await worker_.metrics()
    lost = [v for (name, _), v in metrics.items() if name.startswith("hoso_records_lost")]
    assert lost == [0.0] * (3 * PARTITIONS), "a marker is no loss"
