"""An unclean leader election drops records that were read and committed, and others come in their
place: they are counted, and the audit names what it can't vouch for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from streams.kafka.partitioner import partition_for
from streams.kafka.topics import SUBMISSIONS, catalogue, create_missing
from tests.conftest import Broker
from tests.domain.events import listed, registered, submitted
from tests.domain.register import Register
from tests.kafka.apache import ApacheKafka
from tests.runtime.site import PARTITIONS, Event, Site, WorkerProcess, eventually
from tests.runtime.test_commits import committed
from tests.runtime.test_lost_records import audit

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.timeout(400)]

REPLICAS = (1, 2)
"""Nodes with the submissions. Node 0 has none, so that the cluster outlives both."""
NUMBER = partition_for(b"H56", PARTITIONS)
UNSAFE = {"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}


class Cluster:
    """Three brokers, with submissions on two of them that may lose records."""

    def __init__(self, kafka: ApacheKafka, site: Site) -> None:
        self.kafka = kafka
        self.site = site
        self.topic = site.topic(SUBMISSIONS)

    async def create_topics(self) -> None:
        changelogs = [self.site.changelog(table) for table in ("dossiers", "services")]
        topics = catalogue(self.site.prefix, PARTITIONS, 3, changelogs)
        (submissions,) = (topic for topic in topics if topic.name == self.topic)
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
        await admin.start()
        try:
            new = NewTopic(
                self.topic,
                -1,
                -1,
                {number: list(REPLICAS) for number in range(PARTITIONS)},
                {**submissions.config, **UNSAFE},
            )
            await admin.create_topics([new])
        finally:
            await admin.close()
        await create_missing({"bootstrap_servers": self.kafka.bootstrap}, topics)

    async def partition(self) -> Any:
        """What the brokers say of the agency's partition of submissions; None while they don't."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap, request_timeout_ms=5000)
        try:
            await admin.start()
            (topic,) = await admin.describe_topics([self.topic])
        except (KafkaError, OSError, TimeoutError):
            return None
        finally:
            await admin.close()
        return next((p for p in topic["partitions"] if p["partition"] == NUMBER), None)

    async def leads(self, node: int, *, alone: bool) -> None:
        """Wait until a node leads the partition, with the other replica or without."""
        replicas = 1 if alone else len(REPLICAS)

        async def so() -> bool:
            found = await self.partition()
            return bool(found) and found["leader"] == node and len(found["isr"]) == replicas

        await eventually(so, f"node {node} leading {'alone' if alone else 'both'}")

    async def leader(self) -> int:
        return int((await self.partition())["leader"])

    async def end(self) -> int:
        return len([r for r in await self.site.read(self.topic) if r.partition == NUMBER])


async def _told(site: Site, end: int) -> None:
    async def told() -> bool:
        found = await committed(site)
        return found.get(TopicPartition(site.topic(SUBMISSIONS), NUMBER)) == end

    await eventually(told, f"{end} committed")


async def _lose_six(cluster: Cluster, worker: WorkerProcess, name: str, *, up: bool) -> list[Event]:
    """Six records that the worker has read and committed are lost, and their brokers are back."""
    site = cluster.site
    leader = await cluster.leader()
    (follower,) = (node for node in REPLICAS if node != leader)
    before = await cluster.end()
    await asyncio.to_thread(cluster.kafka.stop_node, follower)
    await cluster.leads(leader, alone=True)
    lost: list[Event] = [submitted(f"{name}-lost-{n}") for n in range(6)]
    await site.send(lost)
    await _told(site, before + 6)
    if not up:
        await worker.stop()
    await asyncio.to_thread(cluster.kafka.kill_node, leader)
    # Launched here, so that it ends with this process; a thread may wait.
    cluster.kafka._launch(follower)
    await asyncio.to_thread(cluster.kafka.wait_until_ready)
    await cluster.leads(follower, alone=True)
    assert await cluster.end() == before, "the new leader has what it must not have"
    return lost


async def _whole_again(cluster: Cluster) -> None:
    leader = await cluster.leader()
    (follower,) = (node for node in REPLICAS if node != leader)
    cluster.kafka._launch(follower)
    await asyncio.to_thread(cluster.kafka.wait_until_ready)
    await cluster.leads(leader, alone=False)


async def test_records_at_offsets_that_had_others_are_counted_with_the_worker_up_and_down(
    kafka_cluster: ApacheKafka, topic_prefix: str, tmp_path: Path
) -> None:
    site = Site(Broker("kafka", kafka_cluster.bootstrap), topic_prefix, tmp_path)
    cluster = Cluster(kafka_cluster, site)
    await cluster.create_topics()
    async with site:
        try:
            events = [registered(), listed(), *(submitted(f"D{n}") for n in range(20))]
            await site.send(events)
            worker = site.worker()
            await site.settled_on(Register(events))
            for name, up in (("up", True), ("down", False)):
                lost = await _lose_six(cluster, worker, name, up=up)
                new = [submitted(f"{name}-new-{n}") for n in range(4)]
                await site.send([*new, *lost[1:]])
                if not up:
                    worker = site.worker()
                events += [*new, *lost]
                # What is lost for good was counted, and still is.
                await site.settled_on(Register(events))
                await _told(site, await cluster.end())
                code, _, differences = await audit(site)
                assert (code, differences > 0) == (1, True), "it has no record of the first one"
                await site.send(lost[:1])
                await site.settled_on(Register(events))
                assert await audit(site) == (0, [], 0)
                await _whole_again(cluster)
            assert worker.alive
        finally:
            for each in site.workers:
                print(f"---- {each.name}\n{each.log[-6000:]}")  # noqa: T201
