"""Where a partition ends, asked so that both brokers answer right.

There are two ends. A reader of committed records comes as far as the *last stable offset*: the
first record of the first transaction that is still open, or else the *high watermark*, before
which all that the broker has acknowledged lies.

The embedded broker's ListOffsets(latest) is wrong: it gives the base offset of the last *batch*
+ 1, so 1,000 records sent in one batch look like 1, and a reader that trusts it stops early and
says nothing. Both ends in a Fetch response are right on both brokers (the embedded broker has no
open transactions, its two are one). So ListOffsets is used only as a place to fetch from (it is
never past the end), and the fetch gives the answer. Always, on either broker: it costs one more
small round trip per broker node, and there is no setting that could be wrong. On Apache Kafka the
ListOffsets step also catches a leader so new that it does not know its own end yet, which it
refuses with an error.

The requests go out beside the consumer: its position, its buffers and its fetches are untouched,
so a consumer in full use may be asked about. They take a connection of their own, because on the
consumer's they would queue behind its long poll (half a second).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    LeaderNotAvailableError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from streams.kafka.aiokafka_internals import client_of

_READ_UNCOMMITTED, _READ_COMMITTED = 0, 1
_CONSUMER = -1  # replica_id of a request that comes from a client
_LATEST = -1
_RETRY_SECONDS = 0.1
# The embedded broker answers a fetch that may not wait at all (0 ms) with no partition in it.
_FETCH_WAIT_MS = 20
_FETCH_MIN_BYTES = 0  # answer at once, also when there is nothing
_FETCH_BYTES = 1  # no record is wanted; a broker may still send one batch


class End(NamedTuple):
    """Where a partition ends: offsets, each one after the last record that counts."""

    stable: int
    """The last stable offset: a reader of committed records comes this far."""
    high: int
    """The high watermark: what the broker has, records of open transactions too."""


async def end_offsets(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition], *, timeout: float = 30.0
) -> dict[TopicPartition, int]:
    """The last stable offset of each partition, as of now: where a reader has everything.

    Every record acknowledged with ``acks=all`` before the call lies below it, unless a transaction
    was open then that began before the record; a transaction is open until its marker is in the
    log, which is some milliseconds after its producer was told that it is committed. Otherwise as
    :func:`ends`.
    """
    found = await ends(consumer, partitions, timeout=timeout)
    return {tp: end.stable for tp, end in found.items()}


async def ends(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition], *, timeout: float = 30.0
) -> dict[TopicPartition, End]:
    """Both ends of each partition, as of now.

    ``consumer`` must be started; the partitions need not be assigned to it. Rides over lost
    connections and moved leaders until ``timeout`` (seconds), then raises KafkaTimeoutError; raises
    other KafkaErrors (no authorisation) at once.
    """
    wanted = set(partitions)
    client = client_of(consumer)
    found: dict[TopicPartition, End] = {}
    problem: KafkaError | None = None
    try:
        async with asyncio.timeout(timeout):
            while missing := wanted - found.keys():
                if problem is not None:
                    await asyncio.sleep(_RETRY_SECONDS)
                    # The metadata may be what is out of date; a failed update is tried again.
                    await client.force_metadata_update()
                try:
                    nodes = await _by_leader(client, missing)
                    for answered in await asyncio.gather(
                        *(_ends_on(client, node, tps) for node, tps in nodes.items())
                    ):
                        found.update(answered)
                    problem = KafkaError("a broker left partitions out of its answer")
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    problem = error
    except TimeoutError as error:
        names = ", ".join(sorted(f"{tp.topic}[{tp.partition}]" for tp in wanted - found.keys()))
        raise KafkaTimeoutError(
            f"no end offset of {names} within {timeout:g} s: {problem!r}"
        ) from error
    return found


async def _by_leader(
    client: AIOKafkaClient, partitions: Iterable[TopicPartition]
) -> dict[int, list[TopicPartition]]:
    nodes: dict[int, list[TopicPartition]] = defaultdict(list)
    for tp in partitions:
        node = client.cluster.leader_for_partition(tp)
        if node is None:
            await client.add_topic(tp.topic)
            node = client.cluster.leader_for_partition(tp)
        if node is None:
            raise UnknownTopicOrPartitionError(f"{tp.topic}[{tp.partition}]")
        if node == -1:
            raise LeaderNotAvailableError(f"{tp.topic}[{tp.partition}]")
        nodes[node].append(tp)
    return nodes


async def _ends_on(
    client: AIOKafkaClient, node: int, partitions: list[TopicPartition]
) -> dict[TopicPartition, End]:
    listed = await _list_latest(client, node, partitions)
    try:
        fetched = await _fetch_ends(client, node, listed)
    except TopicAuthorizationFailedError:
        # Whoever may only describe a topic is told both ends by a broker that has rights to give:
        # that is Apache Kafka, whose ListOffsets is right.
        high = await _list_latest(client, node, partitions, _READ_UNCOMMITTED)
        return {tp: End(listed[tp], max(listed[tp], high[tp])) for tp in partitions}
    return {
        tp: End(max(listed[tp], end.stable), max(listed[tp], end.high))
        for tp, end in fetched.items()
    }


async def _list_latest(
    client: AIOKafkaClient,
    node: int,
    partitions: list[TopicPartition],
    isolation: int = _READ_COMMITTED,
) -> dict[TopicPartition, int]:
    topics: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for tp in partitions:
        topics[tp.topic].append((tp.partition, _LATEST))
    request = OffsetRequest(_CONSUMER, isolation, list(topics.items()))
    response = await client.send(node, request, group=ConnectionGroup.COORDINATION)
    offsets = {}
    for topic, answers in response.topics:
        for partition, code, _timestamp, offset in answers:
            _raise_for(code, topic, partition)
            offsets[TopicPartition(topic, partition)] = offset
    return offsets


async def _fetch_ends(
    client: AIOKafkaClient, node: int, positions: Mapping[TopicPartition, int]
) -> dict[TopicPartition, End]:
    topics: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for tp, position in positions.items():
        topics[tp.topic].append((tp.partition, position, _FETCH_BYTES))
    request = FetchRequest(
        _FETCH_WAIT_MS, _FETCH_MIN_BYTES, _FETCH_BYTES, _READ_COMMITTED, list(topics.items())
    )
    response = await client.send(node, request, group=ConnectionGroup.COORDINATION)
    found = {}
    for topic, answers in response.topics:
        # The last stable offset is there since version 4 (Kafka 0.11), as transactions are.
        for partition, code, high, stable, *_records in answers:
            _raise_for(code, topic, partition)
            found[TopicPartition(topic, partition)] = End(stable, high)
    return found


def _raise_for(code: int, topic: str, partition: int) -> None:
    if code:
        raise for_code(code)(f"{topic}[{partition}]")
