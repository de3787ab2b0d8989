"""Reading what the audit needs from the broker: logs up to an end, and how far workers have come.

Plain consumers without a group: reading leaves no trace on the broker.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

import streams.kafka.aiokafka_internals  # noqa: F401  # how records are unpacked
from streams.kafka.offsets import end_offsets

_POLL_MS = 500
_READ_RECORDS = 20_000
_TAIL = 6_000
"""Records looked at first for progress marks: a mark follows each chunk, of 4,000 at most."""

Ends = dict[TopicPartition, int]


class Log:
    """Some topics, each read from its beginning on. Remembers how far."""

    def __init__(self, options: Mapping[str, Any], topics: Iterable[str], partitions: int) -> None:
        self._options = options
        self.partitions = [
            TopicPartition(topic, number) for topic in topics for number in range(partitions)
        ]
        self.position: Ends = dict.fromkeys(self.partitions, 0)
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        consumer = AIOKafkaConsumer(
            **self._options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # The audit's own, as in the contract (section 1): records of a transaction that was
            # aborted, or is open, count nowhere.
            isolation_level="read_committed",
            fetch_max_bytes=64 * 1024 * 1024,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        self._consumer = consumer
        consumer.assign(self.partitions)
        consumer.pause(*self.partitions)
        for tp in self.partitions:
            consumer.seek(tp, 0)

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await self._consumer.stop()

    @property
    def consumer(self) -> AIOKafkaConsumer:
        """The started consumer."""
        if self._consumer is None:
            raise RuntimeError("the log is not started")
        return self._consumer

    async def ends(self) -> Ends:
        """Where every partition ends, as of now."""
        return await end_offsets(self.consumer, self.partitions)

    async def read(
        self, ends: Mapping[TopicPartition, int]
    ) -> AsyncIterator[list[ConsumerRecord[Any, Any]]]:
        """The records from where the last reading stopped up to ``ends``, partition by partition.

        Records at or after an end are left for the next reading.
        """
        while behind := [tp for tp in ends if self.position[tp] < ends[tp]]:
            self.consumer.resume(*behind)
            fetched = await self.consumer.getmany(
                *behind, timeout_ms=_POLL_MS, max_records=_READ_RECORDS
            )
            for tp, records in fetched.items():
                end = ends[tp]
                if records and records[-1].offset >= end:
                    yield [record for record in records if record.offset < end]
                else:
                    yield records
            for tp in behind:
                # Not the last record's offset: compaction and transactions leave gaps.
                self.position[tp] = min(await self.consumer.position(tp), ends[tp])
                if self.position[tp] >= ends[tp]:
                    self.consumer.pause(tp)
                    self.consumer.seek(tp, ends[tp])

    async def removed(self) -> dict[TopicPartition, int]:
        """How many offsets are gone from the beginning of each partition that has lost any."""
        first = await self.consumer.beginning_offsets(self.partitions)
        return {tp: offset for tp, offset in sorted(first.items()) if offset}

    async def holes(self, start: Mapping[TopicPartition, int], ends: Ends) -> set[TopicPartition]:
        """The partitions that have no record at all between ``start`` and ``ends``."""
        empty = set()
        for tp, first in start.items():
            found = False
            self.position[tp] = first
            self.consumer.seek(tp, first)
            async for records in self.read({tp: ends[tp]}):
                found = found or bool(records)
            if not found:
                empty.add(tp)
        return empty


class Progress:
    """How far the workers have taken in the event topics, by the marks in their changelogs.

    A mark has the key ``" <topic>"`` and the next offset to take in (docs/adr/0002), and behind
    it the identity of the topic where the broker tells one.
    """

    def __init__(
        self, options: Mapping[str, Any], changelogs: Mapping[str, str], partitions: int
    ) -> None:
        """``changelogs``: event topic (full name) → the changelog that has its marks."""
        self._changelogs = changelogs
        self._log = Log(options, sorted(set(changelogs.values())), partitions)
        self.reached: Ends = {
            TopicPartition(topic, n): 0 for topic in changelogs for n in range(partitions)
        }
        self._searched = False
        self._noted: Ends = {}
        """The offset of the mark that is newest of those seen, by what it speaks of."""

    async def start(self) -> None:
        """Connect."""
        await self._log.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._log.stop()

    async def refresh(self) -> None:
        """Take in every mark there is by now."""
        ends = await self._log.ends()
        if not self._searched:
            await self._search(ends)
            self._searched = True
        async for records in self._log.read(ends):
            self._note(records)

    async def _search(self, ends: Ends) -> None:
        """Find the newest marks from the ends backwards: reading whole changelogs takes long."""
        wanted = {
            tp: {topic for topic, log in self._changelogs.items() if log == tp.topic} for tp in ends
        }
        tail = _TAIL
        last = dict(ends)
        while last:
            first = {tp: max(0, end - tail) for tp, end in last.items()}
            found: dict[TopicPartition, set[str]] = {tp: set() for tp in last}
            for tp, start in first.items():
                self._log.position[tp] = start
                self._log.consumer.seek(tp, start)
            async for records in self._log.read(last):
                for tp, topic in self._note(records):
                    found[tp].add(topic)
            for tp in first:
                wanted[tp] -= found[tp]
            last = {tp: start for tp, start in first.items() if start and wanted[tp]}
            tail *= 4
        for tp, end in ends.items():
            self._log.position[tp] = end
            self._log.consumer.seek(tp, end)

    def _note(self, records: list[ConsumerRecord[Any, Any]]) -> list[tuple[TopicPartition, str]]:
        found = []
        for record in records:
            key, value = record.key, record.value
            if key is None or value is None or not key.startswith(b" "):
                continue
            topic = key[1:].decode()
            tp = TopicPartition(topic, record.partition)
            if tp in self.reached:
                # The newest mark and not the greatest: it begins anew with a topic that was made
                # anew (its identity stands behind the offset). The search goes backwards.
                if record.offset > self._noted.get(tp, -1):
                    self._noted[tp] = record.offset
                    self.reached[tp] = int(value.split()[0])
                found.append((TopicPartition(record.topic, record.partition), topic))
        return found
