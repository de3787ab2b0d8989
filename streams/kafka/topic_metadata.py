"""What topics are now, and what may be done with them: asked anew each time, and creating none.

aiokafka's own requests for metadata stop at version 5: they know neither topic ids nor rights, and
a topic that is asked for by name may be created by it (``allow_auto_topic_creation`` is always true
there). The request here is version 10 (Kafka 2.8 and later, and the embedded broker), or 8 without
ids (Kafka 2.3), or 4 with neither.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v4, MetadataResponse_v5
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

_NO_ID = uuid.UUID(int=0)


class Described(NamedTuple):
    """What a broker says of a topic."""

    name: str
    error: type[KafkaError]
    """``NoError`` if there is none."""
    partitions: int
    identity: uuid.UUID | None
    """Another one after the topic was deleted and created anew; None if the broker has none."""
    operations: int
    """Bits of what the client may do with it."""


class Metadata(NamedTuple):
    """What a broker says of topics."""

    topics: list[Described]
    tells_rights: bool
    """Whether it knows what clients may do: it has an authorizer, and is new enough."""


class TopicState(NamedTuple):
    """A topic that exists; see :class:`Described`."""

    partitions: int
    identity: uuid.UUID | None


class MetadataClient:
    """Asks the brokers, on a connection of its own that is made when needed."""

    def __init__(self, client_options: Mapping[str, Any]) -> None:
        """``client_options``: keyword arguments for aiokafka (bootstrap_servers, security)."""
        self._options = dict(client_options)
        self._client: AIOKafkaClient | None = None

    async def metadata(self, names: Iterable[str] | None) -> Metadata:
        """What a broker says of these topics, or of all. Raises ``KafkaError`` if none answers."""
        request = _Metadata(None if names is None else sorted(names))
        return _as_metadata(await self.send(request))

    async def send(self, request: Any) -> Any:
        """What any broker answers. Raises ``KafkaError`` if none does."""
        try:
            if self._client is None:
                self._client = AIOKafkaClient(**self._options)
                await self._client.bootstrap()
            node = self._client.get_random_node()
            if node is None:
                raise KafkaConnectionError("no broker is known")
            return await self._client.send(node, request)
        except BaseException:
            await self.close()  # the next question finds other brokers
            raise

    async def close(self) -> None:
        """Disconnect; another question connects again."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


class TopicQuestion(MetadataClient):
    """Asks the brokers which topics there are."""

    async def __call__(self, names: Iterable[str]) -> dict[str, TopicState]:
        """The topics of these that exist, as they are now.

        Raises ``KafkaError``: no broker answers, a topic must not be described, or is being made.
        """
        found = {}
        for topic in (await self.metadata(names)).topics:
            if topic.error is UnknownTopicOrPartitionError:
                continue
            if topic.error.errno and topic.error is not LeaderNotAvailableError:
                raise topic.error(topic.name)
            found[topic.name] = TopicState(topic.partitions, topic.identity)
        return found


def _as_metadata(answer: Any) -> Metadata:
    topics = []
    for code, name, *more in answer.topics:
        identity = more.pop(0) if answer.API_VERSION == 10 else _NO_ID
        _internal, partitions, *rights = more
        topics.append(
            Described(
                name,
                for_code(code),
                len(partitions),
                None if identity == _NO_ID else identity,
                rights[0] if rights else 0,
            )
        )
    # Without an authorizer a broker gives no bits, but a number below 0.
    return Metadata(topics, getattr(answer, "cluster_operations", -1) >= 0)


class _Uuid(AbstractType[uuid.UUID]):  # type: ignore[misc]  # aiokafka ships no types here
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


_NAME = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)
_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
)
_ASKED = (
    ("allow_auto_topic_creation", Boolean),
    ("include_cluster_operations", Boolean),
    ("include_topic_operations", Boolean),
)


class _MetadataResponse_v8(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION = 3, 8
    SCHEMA = Schema(
        *zip(
            MetadataResponse_v5.SCHEMA.names[:-1],
            MetadataResponse_v5.SCHEMA.fields[:-1],
            strict=True,
        ),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        *_PARTITION,
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
        ("cluster_operations", Int32),
    )


class _MetadataResponse_v10(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION = 3, 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32), ("host", _NAME), ("port", Int32), ("rack", _NAME), _TAGS
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
                        *_PARTITION,
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        _TAGS,
                    ),
                ),
                ("operations", Int32),
                _TAGS,
            ),
        ),
        ("cluster_operations", Int32),
        _TAGS,
    )


class _MetadataRequest_v8(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION, RESPONSE_TYPE = 3, 8, _MetadataResponse_v8
    SCHEMA = Schema(("topics", Array(String("utf-8"))), *_ASKED)


class _MetadataRequest_v10(RequestStruct):  # type: ignore[misc]  # noqa: N801
    FLEXIBLE_VERSION = True
    API_KEY, API_VERSION, RESPONSE_TYPE = 3, 10, _MetadataResponse_v10
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _NAME), _TAGS)), *_ASKED, _TAGS
    )


class _Metadata(Request[MetadataRequest_v4 | _MetadataRequest_v8 | _MetadataRequest_v10]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: list[str] | None) -> None:
        self._names = names

    def build(self, struct: Any) -> Any:
        if struct is MetadataRequest_v4:
            return struct(self._names, False)
        if struct is _MetadataRequest_v8:
            return struct(self._names, False, True, True)
        names: Any = None if self._names is None else [(_NO_ID, name, {}) for name in self._names]
        return struct(names, False, True, True, {})
