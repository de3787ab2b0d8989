"""What topics are now, asked anew each time and without creating any.

aiokafka's own requests for metadata stop at version 5: they know no topic ids, and a topic that is
asked for by name may be created by it (``allow_auto_topic_creation`` is always true there). The
request here is version 11 (Kafka 2.8 and later, and the embedded broker), which has ids and creates
nothing on either. With an older broker it is version 4, and the identities are None.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    LeaderNotAvailableError,
    NodeNotReadyError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v4
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_NO_ID = uuid.UUID(int=0)


class TopicState(NamedTuple):
    """A topic that exists."""

    partitions: int
    identity: uuid.UUID | None
    """Another one after the topic was deleted and created anew; None if the broker has none."""


class TopicQuestion:
    """Asks the brokers about topics, on a connection of its own that is made when needed."""

    def __init__(self, client_options: Mapping[str, Any]) -> None:
        """``client_options``: keyword arguments for aiokafka (bootstrap_servers, security)."""
        self._options = dict(client_options)
        self._client: AIOKafkaClient | None = None

    async def __call__(self, names: Iterable[str]) -> dict[str, TopicState]:
        """The topics of these that exist, as they are now.

        Raises ``KafkaError``: no broker answers, a topic must not be described, or is being made.
        """
        try:
            if self._client is None:
                self._client = AIOKafkaClient(**self._options)
                await self._client.bootstrap()
            node = self._client.get_random_node()
            if node is None:
                raise NodeNotReadyError("no broker is known")
            answer = await self._client.send(node, _Metadata(sorted(names)))
        except BaseException:
            await self.close()  # the next question finds other brokers
            raise
        return dict(_states(answer))

    async def close(self) -> None:
        """Disconnect; another question connects again."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def _states(answer: Any) -> Iterable[tuple[str, TopicState]]:
    for topic in answer.topics:
        code, name, partitions = topic[0], topic[1], topic[3]
        identity = None
        if answer.API_VERSION >= _MetadataResponse_v11.API_VERSION:
            identity, partitions = topic[2], topic[4]
        error = for_code(code)
        if error is UnknownTopicOrPartitionError:
            continue
        if code and error is not LeaderNotAvailableError:
            raise error(name)
        yield name, TopicState(len(partitions), None if identity == _NO_ID else identity)


class _Uuid(AbstractType[uuid.UUID]):  # type: ignore[misc]  # aiokafka ships no types here
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


_NAME = CompactString("utf-8")


class _MetadataResponse_v11(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY = 3
    API_VERSION = 11
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", _NAME),
                ("port", Int32),
                ("rack", _NAME),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", _NAME),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", _NAME),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequest_v11(RequestStruct):  # type: ignore[misc]  # noqa: N801
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 11
    RESPONSE_TYPE = _MetadataResponse_v11
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _NAME), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Metadata(Request[MetadataRequest_v4 | _MetadataRequest_v11]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(
        self, request_struct_class: type[MetadataRequest_v4 | _MetadataRequest_v11]
    ) -> MetadataRequest_v4 | _MetadataRequest_v11:
        if request_struct_class is MetadataRequest_v4:
            return MetadataRequest_v4(self._names, False)
        return _MetadataRequest_v11([(_NO_ID, name, {}) for name in self._names], False, False, {})
