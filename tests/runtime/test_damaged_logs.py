"""A batch that is damaged on a broker's disk costs its own records, which are named and counted."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.kafka.partitioner import partition_for
from tests.conftest import Broker
from tests.domain.events import listed, registered, submitted
from tests.domain.register import Register
from tests.kafka.apache import ApacheKafka
from tests.kafka.batches import sealed
from tests.runtime.site import PARTITIONS, Site, eventually
from tests.runtime.test_hostile_records import hoso

HOME = partition_for(b"H56", PARTITIONS)


def _flip_a_bit(batch: bytearray) -> bytes:
    batch[-3] ^= 4
    return bytes(batch)


def _unknown_codec(batch: bytearray) -> bytes:
    batch[22] |= 5
    return sealed(batch)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("damage", "why"),
    [(_flip_a_bit, "its checksum is wrong"), (_unknown_codec, "no codec has the number 5")],
)
async def test_a_damaged_batch_costs_its_records_and_the_audit_cannot_vouch(
    kafka_node: ApacheKafka,
    topic_prefix: str,
    tmp_path: Path,
    damage: Callable[[bytearray], bytes],
    why: str,
) -> None:
    async with Site(Broker("kafka", kafka_node.bootstrap), topic_prefix, tmp_path) as site:
        before = [registered(), listed(), *(submitted(f"A{n}") for n in range(5))]
        after = [submitted(f"C{n}") for n in range(5)]
        await site.send(before)
        await site.send([submitted(f"B{n}") for n in range(3)])
        await site.send(after)
        topic = site.topic("submissions")
        _rewrite(kafka_node, topic, 5, damage)

        register = Register([*before, *after])
        for _ in range(2):
            worker = site.worker()
            await worker.ready()
            await site.settled_on(register)
            await worker.stop()
            if worker is site.workers[0]:
                line = f"{topic}[{HOME}]: records from 5 to 7 can't be read and are lost: {why}"
                assert line in worker.log
        if damage is not _flip_a_bit:
            return
        # At the end of a log no later record tells that these are missing.
        await site.send([submitted(f"D{n}") for n in range(2)])
        _rewrite(kafka_node, topic, 13, damage)
        worker = site.worker()
        await worker.ready()
        lost = frozenset({("topic", topic), ("partition", str(HOME))})

        async def counted() -> bool:
            return (await worker.metrics()).get(("hoso_records_lost_total", lost)) == 2

        await eventually(counted, "counted as lost", 120)
        await site.settled_on(register)
        code, said = await hoso(site, "audit")
        assert code == 1
        assert "0 differences" in said or "no differences" in said, said
        for first, last in ((5, 7), (13, 14)):
            line = f"{topic}[{HOME}]: records from {first} to {last} can't be read: {why}"
            assert f"cannot be vouched for: {line}" in said.replace("\n", " ")


def _rewrite(
    kafka: ApacheKafka, topic: str, base: int, damage: Callable[[bytearray], bytes]
) -> None:
    """Change the batch with this base offset in the broker's segment."""
    (segment,) = kafka.segments(topic, HOME)
    data = bytearray(segment.read_bytes())
    start = 0
    while struct.unpack_from(">q", data, start)[0] != base:
        start += 12 + struct.unpack_from(">i", data, start + 8)[0]
    end = start + 12 + struct.unpack_from(">i", data, start + 8)[0]
    with segment.open("r+b") as file:
        file.seek(start)
        file.write(damage(data[start:end]))
