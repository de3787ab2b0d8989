"""Records that were removed from a log before this worker had read them, or that can't be read.

Retention, DeleteRecords, a disk that was lost: the log begins later than it did, and what lay
before is gone for good. Offsets within the log that no record has are none of that: transaction
markers, records of aborted transactions. Only the beginning of the log tells one from the other.

A damaged batch, or one of an unknown codec, is passed where it is unpacked
(:mod:`streams.kafka.unpacking`), which names it; its records are counted here.

The count is of this process. Durably, the audit says what an event topic has lost (docs/audit.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiokafka import TopicPartition

from streams.kafka.consumers import plain_consumer
from streams.kafka.unpacking import unreadable_offsets

logger = logging.getLogger(__name__)

_ASK_SECONDS = 20.0

At = tuple[str, int]
"""(topic, partition)."""


def removed(start: int, end: int, log_start: int) -> int:
    """How many of the offsets [start, end), of which the log has none, were removed from it.

    At most: some may have been markers.
    """
    return max(0, min(end, log_start) - start)


class LostRecords:
    """Counts what was removed or can't be read, each offset once."""

    def __init__(
        self, log_start: Callable[[At], Awaitable[int]], count: Callable[[At, int], None]
    ) -> None:
        """``log_start`` asks where a log begins now; ``count`` is told of each loss."""
        self._log_start = log_start
        self._count = count
        self._counted_to: dict[At, int] = {}

    async def note(self, at: At, start: int, end: int) -> None:
        """The log has no record in [start, end), and this worker has read none there.

        Raises ``KafkaError`` or ``TimeoutError`` if the log cannot be asked.
        """
        start = max(start, self._counted_to.get(at, 0))
        if start >= end:
            return
        begins = await self._log_start(at)
        lost = removed(start, end, begins)
        damaged = unreadable_offsets(TopicPartition(*at), max(start, begins), end)
        self._counted_to[at] = end
        if damaged:
            self._count(at, damaged)
        if lost:
            logger.error(
                "%s[%d]: %d records from offset %d on were removed before they were read",
                *at,
                lost,
                start,
            )
            self._count(at, lost)


def log_start(client_options: Mapping[str, Any]) -> Callable[[At], Awaitable[int]]:
    """Asks the broker where a log begins; see :class:`LostRecords`."""

    async def ask(at: At) -> int:
        tp = TopicPartition(*at)
        consumer = plain_consumer(client_options)
        async with asyncio.timeout(_ASK_SECONDS):
            try:
                await consumer.start()
                return int((await consumer.beginning_offsets([tp]))[tp])
            finally:
                await consumer.stop()

    return ask
