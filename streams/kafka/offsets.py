"""Where a partition ends, asked so that both brokers answer right.

The embedded broker's ListOffsets(latest) is wrong: it gives the base offset of the last *batch*
+ 1, so 1,000 records sent in one batch look like 1, and a reader that trusts it stops early and
says nothing. The high watermark of a Fetch response is right on both brokers. So ListOffsets is
used only as a place to fetch from (it is never past the end), and the fetch's high watermark is
the answer. Always, on either broker: it costs one more small round trip per broker node, and
there is no setting that could be wrong. On Apache Kafka the ListOffsets step also catches a
leader so new that it does not know its own end yet, which it refuses with an error.

The requests go out beside the consumer: its position, its buffers and its fetches are untouched,
so a consumer in full use may be asked about. They take a connection of their own, because on the
consumer's they would queue behind its long poll (half a second). This reaches into the private
``_client`` of aiokafka's consumer, as aiokafka offers no public way to send a request.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    LeaderNotAvailableError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

_READ_UNCOMMITTED = 0
_CONSUMER = -1  # replica_id of a request that comes from a client
_LATEST = -1
_RETRY_SECONDS = 0.1
# The embedded broker answers a fetch that may not wait at all (0 ms) with no partition in it.
_FETCH_WAIT_MS = 20
_FETCH_MIN_BYTES = 0  # answer at once, also when there is nothing
_FETCH_BYTES = 1  # no record is wanted; a broker may still send one batch


async def end_offsets(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition], *, timeout: float = 30.0
) -> dict[TopicPartition, int]:
    """The offset after the last readable record of each partition, as of now.

    Every record acknowledged with ``acks=all`` before the call lies below it. ``consumer`` must be
    started; the partitions need not be assigned to it. Rides over lost connections and moved
    leaders until ``timeout`` (seconds), then raises KafkaTimeoutError; raises other KafkaErrors
    (no authorisation) at once.
    """
    wanted = set(partitions)
    ends: dict[TopicPartition, int] = {}
    problem: KafkaError | None = None
    try:
        async with asyncio.timeout(timeout):
            while missing := wanted - ends.keys():
                if problem is not None:
                    await asyncio.sleep(_RETRY_SECONDS)
                    # The metadata may be what is out of date; a failed update is tried again.
                    await consumer._client.force_metadata_update()
                try:
                    nodes = await _by_leader(consumer._client, missing)
                    for found in await asyncio.gather(
                        *(_ends_on(consumer._client, node, tps) for node, tps in nodes.items())
                    ):
                        ends.update(found)
                    problem = KafkaError("a broker left partitions out of its answer")
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    problem = error
    except TimeoutError as error:
        names = ", ".join(sorted(f"{tp.topic}[{tp.partition}]" for tp in wanted - ends.keys()))
        raise KafkaTimeoutError(
            f"no end offset of {names} within {timeout:g} s: {problem!r}"
        ) from error
    return ends


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
) -> dict[TopicPartition, int]:
    listed = await _list_latest(client, node, partitions)
    marks = await _high_watermarks(client, node, listed)
    return {tp: max(listed[tp], mark) for tp, mark in marks.items()}


async def _list_latest(
    client: AIOKafkaClient, node: int, partitions: list[TopicPartition]
) -> dict[TopicPartition, int]:
    topics: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for tp in partitions:
        topics[tp.topic].append((tp.partition, _LATEST))
    request = OffsetRequest(_CONSUMER, _READ_UNCOMMITTED, list(topics.items()))
    response = await client.send(node, request, group=ConnectionGroup.COORDINATION)
    offsets = {}
    for topic, answers in response.topics:
        for partition, code, _timestamp, offset in answers:
            _raise_for(code, topic, partition)
            offsets[TopicPartition(topic, partition)] = offset
    return offsets


async def _high_watermarks(
    client: AIOKafkaClient, node: int, positions: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    topics: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for tp, position in positions.items():
        topics[tp.topic].append((tp.partition, position, _FETCH_BYTES))
    request = FetchRequest(
        _FETCH_WAIT_MS, _FETCH_MIN_BYTES, _FETCH_BYTES, _READ_UNCOMMITTED, list(topics.items())
    )
    response = await client.send(node, request, group=ConnectionGroup.COORDINATION)
    marks = {}
    for topic, answers in response.topics:
        for partition, code, mark, *_records in answers:
            _raise_for(code, topic, partition)
            marks[TopicPartition(topic, partition)] = mark
    return marks


def _raise_for(code: int, topic: str, partition: int) -> None:
    if code:
        raise for_code(code)(f"{topic}[{partition}]")
