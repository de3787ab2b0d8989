"""A producer whose batches land, and are acknowledged, when the test says so.

A broker appends a batch whole or not at all, so a batch of one row lets a crash cut a table's rows
anywhere.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP


@dataclass(eq=False)
class Batch:
    """Rows on their way from a producer to a log."""

    topic: str
    partition: int
    rows: list[tuple[bytes | None, bytes | None, Any]]
    delivery: asyncio.Future[Any]
    base: int | None = None
    """Where it landed."""
    left: asyncio.Event = field(default_factory=asyncio.Event)


class Builder:
    """aiokafka's BatchBuilder, full after ``room`` rows."""

    def __init__(self, room: int) -> None:
        self.rows: list[tuple[bytes | None, bytes | None, Any]] = []
        self.room = room
        self._builder = self
        """The compiled builder inside, which rows are handed to."""

    def append(
        self, offset: int, timestamp: int, key: bytes | None, value: bytes | None, headers: Any
    ) -> object:
        assert offset == len(self.rows)
        if len(self.rows) >= self.room:
            return None
        self.rows.append((key, value, headers))
        return object()

    def close(self) -> None:
        pass


class Producer:
    """aiokafka's producer: one batch of a partition under way, one waiting, the rest held back."""

    def __init__(self, room: Callable[[], int]) -> None:
        self.underway: dict[TP, deque[Batch]] = defaultdict(deque)
        self.landed: dict[TP, deque[Batch]] = defaultdict(deque)
        self.room = room

    def create_batch(self) -> Builder:
        return Builder(self.room())

    async def send_batch(
        self, builder: Builder, topic: str, *, partition: int
    ) -> asyncio.Future[Any]:
        queue = self.underway[TP(topic, partition)]
        while len(queue) > 1:
            await queue[-1].left.wait()
        delivery: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        queue.append(Batch(topic, partition, builder.rows, delivery))
        return delivery
