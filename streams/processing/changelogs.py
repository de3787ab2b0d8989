"""What a worker writes: rows, and where they stand in their logs.

The only module that writes to a changelog, to ``agency-months`` or to the dead letters. The only
writer of a log finds each batch where its last one ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from aiokafka import TopicPartition

from schemas.topics import Topic
from streams.kafka.batch_writer import Acknowledged, BatchWriter, Outgoing
from streams.kafka.log import Log
from streams.processing.chunk import Writes
from streams.processing.task import Task
from streams.settings import Settings


class Changelogs:
    """The logs that tasks write to, by table: ``dossiers``, ``services`` and ``months``."""

    def __init__(self, settings: Settings, writer: Callable[[], BatchWriter], log: Log) -> None:
        self._settings = settings
        self._writer = writer
        self._log = log
        self.private = {table: settings.changelog(table) for table in ("dossiers", "services")}
        """Table → its changelog."""
        self._logs = {**self.private, "months": settings.topic(Topic.agency_months)}

    async def write(self, task: Task, topic: str, writes: Writes) -> list[Awaitable[Acknowledged]]:
        """Hand over everything a chunk must have written; the caller awaits what is returned.

        Order matters within a topic, where it is kept, and for the checkpoint among the dossier or
        service rows: it speaks of dead letters and forwarded records too, so those are waited for
        before anything else is handed over.
        """
        writer, number = self._writer(), task.number
        elsewhere: list[Awaitable[Acknowledged]] = []
        if writes.dead_letters:
            dead_letters = self._settings.topic(Topic.dead_letters)
            elsewhere += await writer.enqueue(dead_letters, number, writes.dead_letters)
        misrouted: dict[int, list[Outgoing]] = {}
        for right, record in writes.forwards:
            misrouted.setdefault(right, []).append(record)
        for right, records in misrouted.items():
            elsewhere += await writer.enqueue(topic, right, records)
        if elsewhere:
            await asyncio.gather(*elsewhere)
        pending: list[Awaitable[Acknowledged]] = []
        for table, rows in (
            ("dossiers", writes.dossiers),
            ("services", writes.services),
            ("months", writes.months),
        ):
            if rows:
                pending += await writer.enqueue(self._logs[table], number, rows)
        return pending

    def follow(self, task: Task, batch: Acknowledged) -> int | None:
        """Move on past a batch that stands where its log is known to end; where that is."""
        table = next(table for table, log in self._logs.items() if log == batch.topic)
        known = task.changelog_offsets.get(table)
        if known == batch.base_offset:
            task.changelog_offsets[table] = known + batch.records
            if table == "dossiers" and task.running:
                task.partition.dossiers.set_position(known + batch.records)
        return known

    async def ends(self, tasks: Iterable[Task]) -> dict[Task, dict[str, int]]:
        """Where the logs of some tasks end, by table. Raises ``KafkaError``."""
        of = {
            task: {table: TopicPartition(log, task.number) for table, log in self._logs.items()}
            for task in tasks
        }
        ends = (
            await self._log.ends([tp for tps in of.values() for tp in tps.values()]) if of else {}
        )
        return {task: {t: ends[tp] for t, tp in tps.items()} for task, tps in of.items()}
