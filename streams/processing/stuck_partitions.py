"""Notices source partitions whose backlog does not move, and says what stands in the way.

Either the log has no record there (transaction markers, expired records): then there is nothing to
take in, and the worker moves on. Or it has one that this process was never handed. Then the
consumer began after it, because too much had been committed, and is sent back; if that does not
help it is stuck, and a restart does, which loses nothing. All were seen: markers after every
transactional portal, a commit too far in one crash schedule of some thousands, a stuck client once
after a network cut.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiokafka import TopicPartition

from streams.kafka.consumers import plain_consumer
from streams.processing.lost_records import LostRecords
from streams.processing.task import Owned
from streams.processing.tasks import Tables

logger = logging.getLogger(__name__)

LOOKS = 5
"""So many looks in a row at the same place make a standstill. Looks and not seconds, so that a
process that was stopped for a while is not found guilty of it."""
_ASK_SECONDS = 20.0

At = tuple[str, int]
"""(topic, partition)."""


class Standstill:
    """Looks at the backlog from time to time. Survives nothing, and nothing is lost with it."""

    def __init__(
        self,
        client_options: Mapping[str, Any],
        tables: Tables,
        lag: Callable[[], Mapping[At, int]],
        seek: Callable[[At, int], Awaitable[None]],
        fatal: Callable[[str], None],
        record_at: Callable[[At, int, int], Awaitable[bool]] | None = None,
        lost: LostRecords | None = None,
    ) -> None:
        """``lag`` gives the records left by (topic, partition); ``seek`` makes the consumer read on
        from an offset. ``record_at`` says whether a log has a record within offsets [from, to); it
        asks the broker unless a test gives another."""
        self._options = dict(client_options)
        self._tables = tables
        self._lag = lag
        self._seek = seek
        self._fatal = fatal
        self._record_at = record_at or self._ask
        self._lost = lost
        self._standing: dict[At, tuple[int, int]] = {}
        """Where each partition with a backlog stands, and how many looks have found it there."""
        self._sent_back: dict[At, int] = {}
        """Where the consumer was sent back to."""

    async def look(self) -> None:
        """To be called often. Raises ``KafkaError`` or ``TimeoutError`` if the log cannot be asked.

        Where a record has been waiting and its partition was ready all the time, sends the consumer
        back to it; calls ``fatal`` when it is still waiting after as many looks again.
        """
        standing: dict[At, tuple[int, int]] = {}
        lag = dict(self._lag())
        for at, left in lag.items():
            owned = self._tables.owned.get(at[1])
            if left and owned is not None and owned.ready and not owned.in_flight:
                next_offset = owned.next.get(at[0], 0)
                known, looks = self._standing.get(at, (next_offset, 0))
                standing[at] = next_offset, looks + 1 if known == next_offset else 1
        self._standing = standing
        for at, (next_offset, looks) in list(standing.items()):
            if looks >= LOOKS:
                await self._settle(at, next_offset, next_offset + lag[at])

    async def _settle(self, at: At, next_offset: int, end: int) -> None:
        topic, number = at
        owned = self._tables.owned.get(number)
        present = await self._record_at(at, next_offset, end)
        if not _untouched(owned, topic, next_offset) or self._tables.owned.get(number) is not owned:
            return
        assert owned is not None
        if present and self._sent_back.get(at) != next_offset:
            logger.warning(
                "%s[%d] stands still at offset %d, where there is a record: reading on from there",
                topic,
                number,
                next_offset,
            )
            self._sent_back[at] = next_offset
            del self._standing[at]
            await self._seek(at, next_offset)
            return
        if present:
            self._fatal(
                f"{topic}[{number}] stands still at offset {next_offset}, where there is a record: "
                "the consumer is stuck"
            )
            return
        logger.info("%s[%d]: the log has no records from %d on", topic, number, next_offset)
        owned.next[topic] = end
        if self._lost is not None:
            await self._lost.note(at, next_offset, end)

    async def _ask(self, at: At, start: int, end: int) -> bool:
        consumer = plain_consumer(self._options)
        tp = TopicPartition(*at)
        async with asyncio.timeout(_ASK_SECONDS):
            try:
                await consumer.start()
                consumer.assign([tp])
                consumer.seek(tp, start)
                while await consumer.position(tp) < end:
                    records = await consumer.getmany(tp, timeout_ms=500, max_records=1)
                    for record in records.get(tp, ()):
                        return bool(record.offset < end)
                return False
            finally:
                await consumer.stop()


def _untouched(owned: Owned | None, topic: str, next_offset: int) -> bool:
    """Whether nothing of the partition was begun or taken away meanwhile."""
    return (
        owned is not None
        and owned.ready
        and not owned.in_flight
        and owned.next.get(topic, 0) == next_offset
    )
