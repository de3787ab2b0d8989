"""Logs that have lost records which were read, and may have others in their place.

After an unclean leader election, or with a broker that lost its disk, a log ends earlier than it
did and grows again: other records come to stand at offsets that were read. A consumer is never
told. What tells is the last record that was processed: the log has it, or has lost it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiokafka import TopicPartition

from streams.kafka.log import Log
from streams.processing.task import Task
from streams.state.codecs import LastRecord, record_digest


async def missing(
    log: Log, records: Mapping[TopicPartition, LastRecord]
) -> dict[TopicPartition, int]:
    """Those of the partitions that have another record, or none, where they had this one.

    With the first offset that each still has; a record that has expired or was deleted on
    purpose is not missing. Raises ``KafkaError`` or ``TimeoutError`` while the brokers
    cannot be asked.
    """
    if not records:
        return {}
    found = await log.first_from({tp: last.offset for tp, last in records.items()})
    doubtful = [
        tp
        for tp, last in records.items()
        if (record := found.get(tp)) is None
        or LastRecord(record.offset, record_digest(record)) != last
    ]
    starts = await log.starts(doubtful) if doubtful else {}
    return {tp: start for tp, start in starts.items() if start <= records[tp].offset}


async def check_sources(
    log: Log, tasks: Iterable[Task], topics: Iterable[str]
) -> dict[tuple[str, int], int]:
    """Notice event topics that have lost records which were read; to be called often.

    With the next record a new leader epoch tells the intake, so only those are asked about in which
    nothing was processed since the last call. Gives the (topic, partition)s, each with the offset
    to read on from; their cursors are told. Raises as :func:`missing`.
    """
    cursors = {
        TopicPartition(topic, task.number): task.cursors[topic]
        for task in tasks
        if task.running
        for topic in topics
    }
    last: dict[TopicPartition, LastRecord] = {}
    for tp, cursor in cursors.items():
        known, cursor.polled = cursor.polled, cursor.processed.last
        if known is not None and known == cursor.polled:
            last[tp] = known
    gone = await missing(log, last)
    for tp in gone:
        cursors[tp].truncated = cursors[tp].processed.last == last[tp]
    return {(tp.topic, tp.partition): start for tp, start in gone.items()}
