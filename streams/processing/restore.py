"""A restore: from what the logs have to a task that may run. One idempotent function.

Whatever interrupts it, another one does it all again; what survives a crash is what the logs have.

The steps of a restore, and what follows when one fails, is overtaken, or the process ends in it.
The table is in docs/architecture.md too, and a test holds both against each other.

1. Wait for the chunks in flight (``Restore.run``): they end within 60 s, or the process does.
2. Take saved ledgers (``Partition.restore``): what cannot be believed is dropped, and the ledgers
   are rebuilt in step 4.
3. Read the changelogs (``Restore._read_changelogs``): rows are merged, so what was read twice
   changes nothing. A log that is shorter than known is read from its beginning; rows that cannot be
   read send the cursors to the beginning of the event topics; brokers that fail end the process.
4. Make the ledgers those of the rows (``Partition.rebuild_ledgers``): they are derived, and are
   derived again.
5. Read the public rows (``Restore._refresh_published``): tried again until it succeeds; nothing is
   shown meanwhile.
6. Set the cursors (``Restore._resume_cursors``): nothing is written. The next restore finds the
   same.
7. Write what the logs lack (``Restore._repair``): what was written is right and stays, the rest is
   found to differ again. Rows of somebody else in between fence the task: another restore.
8. Run (``Tasks._run``): nothing is left to write. The store has just learned how far the changelog
   is in it; an end before that reads the same tail once more.
9. Seek (``Tasks._seek``): a consumer that goes on elsewhere is noticed with its next chunk, which
   is put in order.

Damage to the local store, in any step: it is set aside, and the task is restored from the beginning
of its changelogs (``Tasks.rebuild``); damaged again before it ran, the process ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from aiokafka import TopicPartition

from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, Topic
from streams.kafka.batch_writer import Outgoing
from streams.kafka.log import Log
from streams.processing.changelogs import Changelogs
from streams.processing.chunk import Writes, checkpoint_row, marks, month_rows
from streams.processing.source_cursor import SourceCursor
from streams.processing.task import Phase, Task
from streams.settings import Settings
from streams.state.codecs import SERVED_AT_KEY, Checkpoint
from streams.views.published_months import PublishedMonths

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class RestoreReport:
    """The restores since the last assignment, taken together."""

    started: float
    """When the assignment came, on the monotonic clock."""
    rows: int = 0
    """Changelog rows read."""
    repaired: int = 0
    """Rows written because the log lacked facts that were known, or the public row differed."""
    seconds: float = 0.0
    """From the assignment to the last task running so far."""


class OvertakenError(Exception):
    """A newer restore of the task has begun, or the task is suspended or closed.

    Cancelling alone does not end a restore surely: aiokafka swallows a cancellation here and there
    (``NoGroupCoordinator.close``). So each step asks whether the generation is still its own.
    """


class FencedError(Exception):
    """Another worker writes to the logs that are being repaired; the message says where."""


class Restore:
    """Restores tasks of one worker."""

    def __init__(
        self,
        settings: Settings,
        changelogs: Changelogs,
        log: Log,
        published: PublishedMonths,
        identities: Mapping[str, str],
        address: str,
    ) -> None:
        """``identities``: source topic → which topic of that name it is, where the broker tells.

        ``address``: where this worker is asked over HTTP; empty: nobody is told.
        """
        self._address = address
        self._changelogs = changelogs
        self._log = log
        self._published = published
        self._identities = identities
        self._catalogue = settings.topic(Topic.catalogue)
        self._events = [settings.topic(topic) for topic in EVENT_TOPICS]
        self.sources = [*self._events, *map(settings.topic, REFERENCE_TOPICS)]
        """The topics that tasks have cursors of, by full name."""
        self._one_at_a_time = asyncio.Lock()
        self.report = RestoreReport(time.monotonic())
        self.last_progress = time.monotonic()
        """When rows were last read or folded, on the monotonic clock."""

    async def run(self, task: Task, generation: int) -> tuple[int, int]:
        """Restore ``task``; the changelog rows read, and the rows repaired.

        Raises :class:`OvertakenError`, :class:`FencedError`, ``KafkaError``, and what a damaged
        store raises.
        """
        if task.in_flight:
            await asyncio.wait(set(task.in_flight))
        task.stop_verification()
        partition = task.partition
        await self._in_slices(task, generation, partition.restore())
        rows = await self._read_changelogs(task, generation)
        # One at a time: the first are ready sooner, and others on the loop wait for one slice.
        async with self._one_at_a_time:
            await self._in_slices(task, generation, partition.rebuild_ledgers())
            repaired = await self._repair(task, generation)
        # Only now: what the log lacks is known from the rows after this position alone.
        partition.dossiers.set_position(task.changelog_offsets["dossiers"])
        return rows, repaired

    async def _read_changelogs(self, task: Task, generation: int) -> int:
        """Read the changelogs on to their ends; the number of rows."""
        partition = task.partition
        absorb = {
            "dossiers": partition.absorb_dossiers,
            "services": partition.absorb_services,
        }
        tables = {
            TopicPartition(log, task.number): t for t, log in self._changelogs.private.items()
        }
        rows = 0

        def take(tp: TopicPartition, records: list[tuple[bytes, bytes]]) -> None:
            nonlocal rows
            self._check(task, generation)
            rows += len(records)
            self.last_progress = time.monotonic()
            absorb[tables[tp]](records)

        known = {"dossiers": partition.dossiers.position, **task.changelog_offsets}
        positions = {tp: known.get(table, 0) for tp, table in tables.items()}
        ends = await self._log.read(positions, take, partition.lacks.append)
        self._check(task, generation)
        if any(ends[tp] < position for tp, position in positions.items()):
            # Not the log that this state was built from (another cluster, a broker that lost its
            # disk): what the log says counts.
            task.changelog_offsets.clear()
            task.cursors.clear()
            partition.set_aside("a changelog is shorter than known")
            ends = await self._log.read(dict.fromkeys(positions, 0), take, partition.lacks.append)
            self._check(task, generation)
        task.changelog_offsets |= {tables[tp]: end for tp, end in ends.items()}
        return rows

    async def _repair(self, task: Task, generation: int) -> int:
        """Write rows that the logs lack, and public rows that differ from the ledgers."""
        partition = task.partition
        await self._refresh_published()
        self._check(task, generation)
        task.changelog_offsets["months"] = self._published.position(task.number)
        if partition.incomplete:
            logger.error(
                "partition %d: its changelogs can't be read whole (%s): reading the event topics "
                "again from their beginnings",
                task.number,
                "; ".join(partition.incomplete),
            )
            task.cursors.clear()
            for topic in self._events:
                partition.advance(topic, Checkpoint(0, identity=self._identities.get(topic, "")))
        self._resume_cursors(task)
        differing = await self._in_slices(
            task,
            generation,
            partition.unpublished(
                self._published.rows[task.number], self._published.ever_seen[task.number]
            ),
        )
        dossiers, services = partition.unmerged()
        writes = Writes(
            dossiers=[Outgoing(key, row) for key, row in dossiers.items()],
            services=[Outgoing(key, row) for key, row in services.items()],
            months=month_rows(partition, differing),
        )
        repaired = len(writes.dossiers) + len(writes.services) + len(writes.months)
        if partition.incomplete:
            for topic in self._events:
                of_catalogue = topic == self._catalogue
                rows = writes.services if of_catalogue else writes.dossiers
                rows.append(checkpoint_row(topic, task.cursors[topic].checkpoint))
        known_marks = self._published.marks[task.number]
        reached = {topic: task.cursors[topic].checkpoint.next for topic in self._events}
        reached = {topic: at for topic, at in reached.items() if at or topic in known_marks}
        if writes.months or reached != known_marks:
            # Rows that a mark is to speak of stand before it; another's mark is not to be trusted.
            writes.months += marks(reached)
        if self._address and self._published.served_at.get(task.number) != self._address:
            writes.months.append(Outgoing(SERVED_AT_KEY, self._address.encode()))
        batches = await asyncio.gather(*await self._changelogs.write(task, "", writes))
        self._check(task, generation)
        known = [self._changelogs.follow(task, batch) for batch in batches]
        if known != [batch.base_offset for batch in batches]:
            raise FencedError(f"partition {task.number}: not all rows stand where its logs ended")
        partition.published()
        return repaired

    async def _refresh_published(self) -> None:
        while True:
            try:
                await self._published.refresh()
            except TimeoutError:
                logger.warning("agency-months cannot be read, trying again")
            else:
                return

    def _resume_cursors(self, task: Task) -> None:
        """Go on where changelog and public rows both are: a crash may have left either behind."""
        marks = self._published.marks[task.number]
        for topic in self.sources:
            identity = self._identities.get(topic, "")
            begin = Checkpoint(0, identity=identity)
            cursor = task.cursors.setdefault(topic, SourceCursor(begin, begin))
            checkpoint = task.partition.checkpoints.get(topic)
            if checkpoint is None:
                continue
            if identity and checkpoint.identity not in ("", identity):
                logger.error(
                    "%s[%d] is another topic than the one that was read up to offset %d: reading "
                    "it from its beginning",
                    topic,
                    task.number,
                    checkpoint.next,
                )
                task.partition.advance(topic, begin)
                continue
            checkpoint = checkpoint._replace(identity=identity or checkpoint.identity)
            if topic in self._events and checkpoint.last is not None:  # else from before the marks
                known = min(marks.get(topic, 0), checkpoint.next)
                checkpoint = checkpoint._replace(next=known)
            cursor.resume(checkpoint)

    async def _in_slices(
        self, task: Task, generation: int, slices: Generator[object, None, T]
    ) -> T:
        while True:
            try:
                next(slices)
            except StopIteration as end:
                result: T = end.value
                return result
            self.last_progress = time.monotonic()
            await asyncio.sleep(0)
            self._check(task, generation)

    def _check(self, task: Task, generation: int) -> None:
        """Raises :class:`OvertakenError`."""
        if not newest(task, generation):
            raise OvertakenError


def newest(task: Task, generation: int) -> bool:
    """Whether a restore of this generation may go on."""
    return task.phase is Phase.RESTORING and task.generation == generation
