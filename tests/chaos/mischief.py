"""What portals and officials do that must change nothing: abort, send what is refused, send what no
client should be able to send."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Mapping
from random import Random
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from streams.kafka.partitioner import partition_for
from tests.chaos.portals import BAD_HEADER, Planned, agencies, reference
from tests.kafka.batches import Headers, batch, sealed, send_as_it_is

MIB = 1 << 20
NOW_US = 1_660_000_000_000_000
"""August 2022 in microseconds: as milliseconds the year 54573."""

_AGAIN_SECONDS = 0.3
_COMPACTED_SECONDS = 90.0
_COMPACTED_AT_ONCE = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",
    "segment.ms": "100",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "100",
}

Place = tuple[str, int, int]
"""Topic, partition, offset."""


class Mischief:
    """Sends to the brokers beside the portals, until what it sends is there."""

    def __init__(
        self, bootstrap: str, prefix: str, partitions: int, lately: deque[Planned]
    ) -> None:
        """``lately``: good events that a portal has sent."""
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._partitions = partitions
        self._lately = lately
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", request_timeout_ms=10_000
        )
        self.refused: dict[Place, str] = {}
        """Records of the reference topics that must be refused → the reason."""

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    # Refused

    async def refuse(self, number: int) -> None:
        """Behind good registrations and targets, ones that must be refused."""
        random = Random(number)
        told = reference()
        targets = [event for event in told if event["topic"] == "targets"]
        registrations = [event for event in told if event["topic"] == "agencies"]
        wrong: list[Mapping[str, Any]] = [{"kind": "tinh"}, {"sources": "all"}]
        for event in random.sample(registrations, 3):
            await self._refuse(event, random.choice(wrong))
        await self._refuse(random.choice(targets), {"ratio": 50})

    async def _refuse(self, event: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
        value = {**event["value"], "data": {**event["value"]["data"], **changes}}
        topic, key = self._prefix + event["topic"], event["key"].encode()
        partition = partition_for(key, self._partitions)
        while True:
            try:
                at = await self._producer.send_and_wait(
                    topic,
                    json.dumps(value).encode(),
                    key,
                    partition=partition,
                    headers=[(BAD_HEADER, b"bad_data")],
                )
            except KafkaError:
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                self.refused[topic, partition, at.offset] = "bad_data"
                return

    # Hostile

    async def hostile(self, number: int) -> None:
        """Records that are too large, and events sent already in ways that no client of ours has.

        Each is sent until it is acknowledged: so some may be there twice, as of portals too.
        """
        random = Random(number)
        for raw in self._too_large(random.choice(agencies()).code.encode()):
            await self._send("submissions", raw)
        while not self._lately:  # noqa: ASYNC110 (portals have no event)
            await asyncio.sleep(_AGAIN_SECONDS)
        for form in ("named", "timed", "packed"):
            event = random.choice(self._lately)
            assert event.value is not None
            assert event.key is not None
            values, key = [event.value], event.key
            if form == "named":
                name = b"tr\xe4ger"
                plain = batch(values, key=key, headers=[("N" * len(name), b"x")])
                raw = sealed(plain.replace(b"N" * len(name), name))
            elif form == "timed":
                raw = batch(values, key=key, timestamp=NOW_US)
            else:
                raw = batch(values, key=key, codec=random.choice(("gzip", "lz4", "zstd")))
            await self._send(event.topic, raw, key)
        name = b"ce_\xff"
        headers: Headers = [(BAD_HEADER, b"not_json"), ("N" * len(name), b"x")]
        refused = sealed(batch([b"{"], headers=headers).replace(b"N" * len(name), name))
        await self._send("processing", refused)

    def _too_large(self, key: bytes) -> list[bytes]:
        headers: Headers = [(BAD_HEADER, b"too_large")]
        return [
            batch([b"[" + b"0" * (3 * MIB - 2) + b"]"], codec="gzip", key=key, headers=headers),
            batch([b"x" * 600_000] * 5, codec="zstd", key=key, headers=headers),
            batch([b"y" * 900_000], key=key, headers=headers),
        ]

    async def _send(self, topic: str, raw: bytes, key: bytes = b"H56") -> None:
        partition = partition_for(key, self._partitions)
        while True:
            try:
                await send_as_it_is(self._producer, raw, self._prefix + topic, partition)
            except KafkaError:
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    # Aborted

    async def abort(self, number: int, seconds: float) -> None:
        """Events in a transaction that is open for so long and then aborted.

        Whatever fails on the way, the next producer of that name ends the transaction.
        """
        name = f"mischief-{number}"
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                transactional_id=name,
                transaction_timeout_ms=30_000,
                request_timeout_ms=10_000,
            )
            try:
                await producer.start()
                await producer.begin_transaction()
                for planned in self._ghosts(number):
                    await producer.send_and_wait(
                        self._prefix + planned.topic,
                        planned.value,
                        planned.key,
                        partition=planned.partition,
                    )
                await asyncio.sleep(seconds)
                await producer.abort_transaction()
            except (KafkaError, TimeoutError):
                seconds = 0.0
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return
            finally:
                with contextlib.suppress(KafkaError, TimeoutError):
                    await asyncio.wait_for(producer.stop(), 10)

    def _ghosts(self, number: int) -> list[Planned]:
        """Facts, refused records, registrations and targets that nobody has committed."""
        random = Random(number)
        made = []
        for nth, agency in enumerate(random.sample(agencies(), 6)):
            said = {
                "dossier": f"ghost-{number}-{nth}",
                "agency": agency.code,
                "service": "1.000000",
                "channel": "online",
                "submitted_at": "2022-05-10T09:00:00+07:00",
            }
            step = {
                "dossier": said["dossier"],
                "agency": agency.code,
                "status": 9,
                "at": "2022-05-11T09:00:00+07:00",
            }
            listing = {
                "agency": agency.code,
                "service": "1.000000",
                "level": 2,
                "eligible": False,
                "listed": False,
                "effective_from": "2021-01-01",
                "revision": 9,
            }
            made += [
                self._ghost("submissions", "dossier.submitted", agency.code, said),
                self._ghost("processing", "dossier.processed", agency.code, step),
                self._ghost("catalogue", "service.listed", agency.code, listing),
            ]
            bad = self._ghost("submissions", "dossier.submitted", agency.code, said)
            made.append(bad._replace(value=b"{"))
        other = {"agency": "H56", "name": "Ma", "kind": "ministry", "sources": ["/nobody"]}
        made.append(self._ghost("agencies", "agency.registered", "H56", other))
        key = "national/online_processed/2022"
        told = {"scope": "national", "indicator": "online_processed", "year": 2022, "ratio": 0.99}
        made.append(self._ghost("targets", "target.assigned", key, told))
        return made

    def _ghost(self, topic: str, type_: str, key: str, data: Mapping[str, Any]) -> Planned:
        value = {
            "specversion": "1.0",
            "id": f"ghost-{topic}-{data.get('dossier', key)}",
            "source": f"/portals/{key}",
            "type": f"hoso.{type_}.v1",
            "time": "2022-01-01T00:00:00+07:00",
            "data": data,
        }
        partition = partition_for(key.encode(), self._partitions)
        return Planned(topic, key.encode(), json.dumps(value).encode(), partition, None, None)


async def compact(bootstrap: str, prefix: str, partitions: int) -> None:
    """Let Kafka compact the reference topics; returns when no refused record is left there."""
    topics = [prefix + topic for topic in ("agencies", "targets")]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        resource = ConfigResourceType.TOPIC
        await admin.alter_configs([ConfigResource(resource, t, _COMPACTED_AT_ONCE) for t in topics])
    finally:
        await admin.close()
    tps = [TopicPartition(topic, number) for topic in topics for number in range(partitions)]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        async with asyncio.timeout(_COMPACTED_SECONDS):
            while True:
                # The segment that is written to is never compacted; only a record begins a new one.
                for tp in tps:
                    await producer.send_and_wait(tp.topic, None, b"filler", tp.partition)
                if not await _refused_records(bootstrap, tps):
                    return
                await asyncio.sleep(1)
    finally:
        await producer.stop()


async def _refused_records(bootstrap: str, tps: list[TopicPartition]) -> int:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    found = 0
    try:
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        while behind := [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
            for records in (await consumer.getmany(*behind, timeout_ms=200)).values():
                found += sum(name == BAD_HEADER for r in records for name, _ in r.headers)
    finally:
        await consumer.stop()
    return found
