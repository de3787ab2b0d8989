"""The parts of aiokafka that hoso reaches into: how records are unpacked and handed over, where a
consumer is, leader epochs, the client of a consumer, a batch's builder, heartbeats.

Here and in ``streams/runtime/faust_driver.py`` alone, which a test holds
(``tests/runtime/test_library_internals.py``): a new version of aiokafka is tried against these two
files, and then named in ``streams/runtime/tested_versions.py``.

Importing this module makes every consumer of the process unpack with
:mod:`streams.kafka.unpacking`. Whoever builds one imports it (``tests/kafka/test_unpacking.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer import fetcher
from aiokafka.protocol.fetch import FetchRequest

from streams.kafka.unpacking import Batches


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's walk through the batches of a partition, which nothing in them ends."""

    _check_crcs: bool
    _records: Batches
    next_fetch_offset: int
    _records_iterator: Any

    def __init__(self, tp: TopicPartition, records: Batches, *args: Any, **kwargs: Any) -> None:
        super().__init__(tp, records, *args, **kwargs)
        self._check_crcs = False  # Batches has
        records.tp = tp
        records.position = self.next_fetch_offset
        self._records_iterator = self._walk()

    def __iter__(self) -> Any:
        return self._records_iterator

    def _walk(self) -> Any:
        # What aiokafka's walk does for such batches, without its questions about transactions.
        for batch in self._records.plain():
            try:
                for record in batch:
                    if record.offset >= self.next_fetch_offset:
                        self.next_fetch_offset = record.offset + 1
                        yield self._consumer_record(self._tp, record)
            except Exception:
                self._records.again()
                break
            self.next_fetch_offset = batch.next_offset
        while True:
            try:
                yield from self._unpack_records()
                return
            except Exception:
                # A header name that is not UTF-8, or worse. Where the walk is it keeps in itself,
                # so it can begin again there, with a reader that gives what can be read.
                if not self._records.again():
                    raise


# ``Fetcher._proc_fetch_request`` looks both up in its module for every answer.
fetcher.MemoryRecords = Batches
fetcher.PartitionRecords = _PartitionRecords


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


_EPOCH_AT, _MAGIC_AT = slice(12, 16), 16
"""Where a record batch has its leader epoch, and its version: 2 since Kafka 0.11."""


def note_leader_epochs(consumer: AIOKafkaConsumer) -> dict[tuple[str, int], int]:
    """(topic, partition) → the leader epoch of the first batch fetched last; kept up to date.

    A batch says under which leader it was written, and aiokafka drops it. For a consumer that has
    not been started.
    """
    epochs: dict[tuple[str, int], int] = {}
    send = consumer._client.send

    async def noting(node_id: Any, request: Any, **options: Any) -> Any:
        response = await send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            for topic, partitions in response.topics:
                for number, *_, batches in partitions:
                    if batches and len(batches) > _MAGIC_AT and batches[_MAGIC_AT] == 2:
                        epoch = int.from_bytes(batches[_EPOCH_AT], signed=True)
                        epochs[topic, number] = epoch
        return response

    consumer._client.send = noting
    return epochs


def positions(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """Where a consumer goes on in each assigned partition that it has found its place in.

    Its own ``position`` waits for those that it has not. To be called where the consumer runs.
    """
    subscription = consumer._subscription.subscription
    assignment = subscription.assignment if subscription is not None else None
    if assignment is None:
        return {}
    states = ((tp, assignment.state_value(tp)) for tp in assignment.tps)
    return {tp: state.position for tp, state in states if state and state.has_valid_position}


def client_of(consumer: AIOKafkaConsumer) -> AIOKafkaClient:
    """What sends a consumer's requests: aiokafka offers no public way to send another one."""
    return consumer._client


def append_to(batch: Any) -> Any:
    """``append(offset in the batch, timestamp in ms, key, value, headers)``; None when it is full.

    The compiled builder itself. aiokafka's ``BatchBuilder.append`` around it, which also counts the
    records, takes three times as long and reads the clock for each. End with :func:`close_with`.
    """
    return batch._builder.append


def close_with(batch: Any, records: int) -> None:
    """Close a batch that was filled by :func:`append_to`, or its producer may add records to it."""
    batch._relative_offset = records
    batch.close()


def note_heartbeats(
    coordinator: Any, now: Callable[[], float], answered: Callable[[float], None]
) -> None:
    """Have ``answered`` called with the time at which each heartbeat was sent that was answered.

    ``coordinator`` is aiokafka's GroupCoordinator, which offers no hook; it may run in another
    thread, where ``answered`` is called then.
    """
    heartbeat = coordinator._do_heartbeat

    async def noted() -> bool:
        # The coordinator counts the session from when the request reaches it, or later.
        sent = now()
        in_touch = bool(await heartbeat())
        if in_touch:
            answered(sent)
        return in_touch

    coordinator._do_heartbeat = noted
