"""A row that cannot be written ends the process; nothing is acknowledged on trust."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from faust.types import TP
from orjson import dumps

from streams.kafka.batch_writer import Acknowledged
from streams.kafka.partitioner import partition_for
from streams.processing.source_cursor import Fetched
from tests.api.world import World, register
from tests.domain.events import submitted

HOME = partition_for(b"H56", 12)


@dataclass
class Record:
    """As much of a consumed record as the pipeline reads."""

    key: bytes
    value: bytes
    offset: int = 0
    timestamp: int = 1_700_000_000_000
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class Message:
    topic: str
    partition: int
    value: Fetched

    @property
    def tp(self) -> TP:
        return TP(self.topic, self.partition)


@dataclass
class Chunk:
    """A Faust event that notes whether it was acknowledged."""

    message: Message
    acks: list[float] = field(default_factory=list)

    def ack(self) -> None:
        self.acks.append(time.monotonic())


async def _seek(*_: Any) -> None:
    raise AssertionError("nothing was skipped")


async def _only(chunk: Chunk) -> Any:
    yield chunk


@pytest.mark.parametrize("when", ["handed over", "acknowledged"])
async def test_a_row_that_cannot_be_written_ends_the_process_and_is_not_acknowledged(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(owns=frozenset({HOME}))
    register(world, "H56")
    task = world.tasks.tasks[HOME]

    async def refused() -> Acknowledged:
        raise KafkaTimeoutError("no answer")

    async def write(*_: Any) -> Any:
        if when == "handed over":
            raise KafkaTimeoutError("no answer")
        return [refused()]

    monkeypatch.setattr(world.tasks.changelogs, "write", write)
    event = submitted("H56.14-220105-0001", "2022-01-05")
    chunk = Chunk(
        Message("hoso.submissions", HOME, Fetched(0, 1, [Record(b"H56", dumps(event["value"]))]))
    )
    await world.intake.run(_only(chunk), _seek)
    await asyncio.wait(set(task.in_flight), timeout=5)
    assert chunk.acks == []
    assert len(world.fatal) == 1
    assert "no answer" in world.fatal[0]
