"""Keeps what stands on ``hoso.agencies`` and ``hoso.targets`` in their logs (contract, section 1).

The owner of a partition writes to it whatever :meth:`ReferenceData.owed` names: at once when it
meets a refused record, before that record's chunk is acknowledged, and from time to time for what
needs no hurry (a removal that another partition knows nothing of) or was left by a worker that
ended.

What is owed follows from the logs alone, so nothing is remembered: a crash before the write leaves
the debt for the next owner, and one that writes twice, or no longer owns the partition, does no
harm, since a copy counts as of its original.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.kafka.batch_writer import Acknowledged, BatchWriter
from streams.settings import Settings
from streams.views.reference_data import ReferenceData

logger = logging.getLogger(__name__)

WRITE_SECONDS = 60.0
"""What is owed is acknowledged within this time, or the process ends and its successor owes it."""


class ReferenceRepair:
    """Writes what the partitions of this worker owe."""

    def __init__(
        self, settings: Settings, reference: ReferenceData, writer: Callable[[], BatchWriter]
    ) -> None:
        self._settings = settings
        self._reference = reference
        self._writer = writer
        self._lock = asyncio.Lock()
        self._refused = False
        """Whether the broker would not have what was written last."""

    async def make_good(self, partitions: Iterable[int]) -> None:
        """Write what ``partitions`` owe as far as read; the broker has it on return.

        Raises ``KafkaError`` or ``TimeoutError`` when it cannot be reached in time. What the broker
        refuses (the worker may not write to the topic, say) is logged once, and the worker goes on:
        the audit names what stands there.
        """
        async with self._lock:
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    written = await self._write(partitions)
            except KafkaError as error:
                if error.retriable or isinstance(error, KafkaTimeoutError):
                    raise
                if not self._refused:
                    logger.error("a refused record may stay the last of its key: %r", error)
                self._refused = True
                return
            if written:
                self._refused = False
                # Or whoever comes next finds the same owed again, and writes it twice.
                with contextlib.suppress(TimeoutError):
                    await self._reference.refresh()

    async def _write(self, partitions: Iterable[int]) -> int:
        pending: list[Awaitable[Acknowledged]] = []
        for partition in partitions:
            for topic, records in self._reference.owed(partition).items():
                name = self._settings.topic(topic)
                keys = ", ".join(repr(record.key) for record in records)
                logger.info("%s[%d]: written again to stand: %s", name, partition, keys)
                pending += await self._writer().enqueue(name, partition, records)
        return sum(batch.records for batch in await asyncio.gather(*pending))
