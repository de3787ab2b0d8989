"""Where whole topics end, for who asks again and again: without a topic being created by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from streams.kafka.aiokafka_internals import client_of
from streams.kafka.consumers import plain_consumer
from streams.kafka.offsets import End, ends


class MissingTopicError(Exception):
    """A topic does not exist; the message names it."""


async def partitions_of(consumer: AIOKafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    """Every partition of some topics. Raises :class:`MissingTopicError` and ``KafkaError``."""
    # The list of all topics, because asking for one by name creates it on some brokers.
    try:
        cluster = await client_of(consumer).fetch_all_metadata()
    except KafkaError as error:
        if type(error) is KafkaError:  # what aiokafka calls it when no broker answers any more
            raise KafkaConnectionError(str(error)) from error
        raise
    missing = [topic for topic in topics if not cluster.partitions_for_topic(topic)]
    if missing:
        raise MissingTopicError(f"no such topic: {', '.join(missing)}")
    return [
        TopicPartition(topic, partition)
        for topic in topics
        for partition in sorted(cluster.partitions_for_topic(topic))
    ]


class TopicEnds:
    """Asks where some topics end. One question at a time.

    Its connection is its own: on that of a consumer that reads, questions about topics wait for
    half a second behind the long poll.
    """

    def __init__(self, client_options: Mapping[str, Any], topics: Sequence[str]) -> None:
        """``client_options``: keyword arguments for aiokafka (bootstrap_servers, security)."""
        self._options = dict(client_options)
        self._topics = tuple(topics)
        self._consumer: AIOKafkaConsumer | None = None

    async def ask(self) -> dict[TopicPartition, End]:
        """Both ends of every partition there is, as of now; connects when first called.

        Raises :class:`MissingTopicError` and ``KafkaError``.
        """
        if self._consumer is None:
            consumer = plain_consumer(self._options)
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        return await ends(self._consumer, await partitions_of(self._consumer, self._topics))

    async def stop(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()
