"""Records as the client unpacked them, without a copy of each."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition


def _as_unpacked(_: TopicPartition, record: Any) -> Any:
    return record


def leave_as_unpacked(consumer: AIOKafkaConsumer) -> None:
    """Let what has been fetched so far be handed over without copying it record by record.

    To be called before each ``getmany``, where the consumer runs. The records of the answer then
    have offset, timestamp, key, value and headers, but need not have a topic and a partition:
    aiokafka (``consumer/fetcher.py``, ``PartitionRecords``) copies each into a ``ConsumerRecord``,
    which takes twice the time of everything else in a fetch.
    """
    for fetched in consumer._fetcher._records.values():
        unread = getattr(fetched, "_partition_records", None)  # an error has none
        if unread is not None:
            unread._consumer_record = _as_unpacked


def read_committed(consumer: AIOKafkaConsumer) -> AIOKafkaConsumer:
    """Have a consumer that somebody else made, and nobody has started, read committed records only.

    ``streams/kafka/consumers.py`` says so when it makes one; Faust has no setting for it.
    """
    if consumer._fetcher is not None:
        raise RuntimeError("too late: the consumer has been started")
    consumer._isolation_level = "read_committed"
    return consumer
