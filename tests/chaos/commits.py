"""What is processed is committed within two seconds, looked at while everything fails.

How far a partition is processed stands in the log (contract, section 1): behind its rows, the marks
of ``agency-months``. No worker is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.chaos.portals import EVENTS

COMMITTED_SECONDS = 2.0
SLACK_SECONDS = 5.0
"""For a machine with brokers, workers and portals on two cores, and for the time between looks."""
MARK = b"~taken-in/"

_LOOK_EVERY = 0.5
_ANSWER_SECONDS = 10.0

Owners = Mapping[int, int]
"""Partition → the process that has it, ready, and with nothing done to it or to its network."""


class Commits:
    """Compares what the marks say with what the group has committed, until it is cancelled."""

    def __init__(
        self,
        bootstrap: str,
        prefix: str,
        group: str,
        partitions: int,
        owners: Callable[[], Owners],
    ) -> None:
        self._bootstrap = bootstrap
        self._months = f"{prefix}agency-months"
        self._group = group
        self._partitions = range(partitions)
        self._sources = [
            TopicPartition(prefix + topic, number)
            for topic in EVENTS
            for number in self._partitions
        ]
        self._owners = owners
        self._marks: dict[TopicPartition, int] = {}
        self._known_owners: dict[int, int] = {}
        self._calm_since: dict[int, float] = {}
        self._waiting: dict[TopicPartition, tuple[float, int]] = {}
        """Since when a mark is ahead of the commits, and which."""
        self._accused: set[TopicPartition] = set()
        self.looks = 0
        self.longest = 0.0
        """Seconds, of a partition whose owner nothing was done to meanwhile."""
        self.violations: list[str] = []

    async def run(self) -> None:
        """For ever. While the brokers cannot be asked nothing is known, and nobody accused."""
        while True:
            try:
                await self._look_until_it_fails()
            except (KafkaError, OSError, TimeoutError):
                self._calm_since.clear()
                self._known_owners.clear()
            await asyncio.sleep(_LOOK_EVERY)

    async def _look_until_it_fails(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        reader = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await admin.start()
                await reader.start()
            reader.assign([TopicPartition(self._months, number) for number in self._partitions])
            while True:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._read_marks(reader)
                    # Of all at once, the embedded broker gives none.
                    committed = await admin.list_consumer_group_offsets(
                        self._group, partitions=self._sources
                    )
                known = {tp: at.offset for tp, at in committed.items()}
                self.look(time.monotonic(), self._marks, known, self._owners())
                await asyncio.sleep(_LOOK_EVERY)
        finally:
            for client in (admin.close(), reader.stop()):
                with contextlib.suppress(KafkaError, OSError):
                    await client

    async def _read_marks(self, reader: AIOKafkaConsumer) -> None:
        while fetched := await reader.getmany(timeout_ms=50):
            for tp, records in fetched.items():
                for record in records:
                    if record.key is not None and record.key.startswith(MARK) and record.value:
                        topic = record.key.removeprefix(MARK).decode()
                        self._marks[TopicPartition(topic, tp.partition)] = int(record.value)

    def look(
        self,
        now: float,
        marks: Mapping[TopicPartition, int],
        committed: Mapping[TopicPartition, int],
        owners: Owners,
    ) -> None:
        """What is to be seen at ``now``."""
        self.looks += 1
        for number in self._known_owners.keys() | owners.keys():
            if self._known_owners.get(number) != owners.get(number):
                self._calm_since[number] = now
        self._known_owners = dict(owners)
        for tp, mark in marks.items():
            told = committed.get(tp, 0)
            since, needed = self._waiting.get(tp, (now, mark))
            if told >= needed:
                since, needed = now, mark
                self._accused.discard(tp)
            if told >= needed:
                self._waiting.pop(tp, None)
                continue
            self._waiting[tp] = since, needed
            if tp.partition not in owners:
                continue
            seconds = now - max(since, self._calm_since[tp.partition])
            self.longest = max(self.longest, seconds)
            if seconds > COMMITTED_SECONDS + SLACK_SECONDS and tp not in self._accused:
                self._accused.add(tp)
                self.violations.append(
                    f"processed but not committed: {tp.topic}[{tp.partition}] up to {needed} for "
                    f"{seconds:.1f} s, committed {told}"
                )
