"""The brokers of a campaign: three nodes of Apache Kafka, or the embedded one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Protocol

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.kafka.broker import EmbeddedBroker
from tests.chaos.schedule import NODES
from tests.kafka.apache import ApacheKafka

_REPLICATED_SECONDS = 180.0


class Brokers(Protocol):
    """Running brokers."""

    kind: str
    ports: list[int]
    replication: int

    @property
    def bootstrap(self) -> str: ...

    async def stop(self) -> None: ...

    async def coordinator(self, group: str) -> int:
        """The number of the node that looks after a group."""

    def kill(self, node: int) -> None:
        """SIGKILL."""

    async def revive(self, node: int, topics: list[str]) -> None:
        """Start it again; return when no partition of ``topics`` lacks a replica."""


class Embedded:
    """One embedded broker. It keeps everything in memory and is not killed."""

    kind = "embedded"
    replication = 1

    def __init__(self) -> None:
        self._broker = EmbeddedBroker().start()
        self.ports = [self._broker.port]

    @property
    def bootstrap(self) -> str:
        return self._broker.bootstrap

    async def stop(self) -> None:
        self._broker.stop()

    async def coordinator(self, group: str) -> int:
        return 0

    def kill(self, node: int) -> None:
        raise RuntimeError("the embedded broker would forget everything")

    async def revive(self, node: int, topics: list[str]) -> None:
        raise RuntimeError("the embedded broker would forget everything")


class Apache:
    """Three nodes, every topic on all, writes acknowledged by two."""

    kind = "apache"
    replication = NODES

    def __init__(self, directory: Path) -> None:
        self._kafka = ApacheKafka(directory, NODES).start()
        self.ports = [int(server.rpartition(":")[2]) for server in self.bootstrap.split(",")]

    @property
    def bootstrap(self) -> str:
        return self._kafka.bootstrap

    async def stop(self) -> None:
        self._kafka.stop()

    async def coordinator(self, group: str) -> int:
        deadline = time.monotonic() + _REPLICATED_SECONDS
        while True:
            client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            try:
                await client.start()
                return int(await client.find_coordinator(group))
            except KafkaError:  # not elected yet
                if time.monotonic() > deadline:
                    raise
            finally:
                await client.close()
            await asyncio.sleep(0.5)

    def kill(self, node: int) -> None:
        self._kafka.kill_node(node)

    async def revive(self, node: int, topics: list[str]) -> None:
        self._kafka._launch(node)  # here, so that it ends with this process; a thread may wait
        deadline = time.monotonic() + _REPLICATED_SECONDS
        while not await self._replicated(topics):
            if time.monotonic() > deadline:
                raise TimeoutError(f"node {node} is back, but replicas are still missing")
            await asyncio.sleep(0.5)

    async def _replicated(self, topics: list[str]) -> bool:
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5000)
        try:
            await client.start()
            described = await client.describe_topics(topics)
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await client.close()
        partitions = [p for topic in described for p in topic["partitions"]]
        return bool(partitions) and all(
            len(partition["isr"]) == self.replication for partition in partitions
        )
