"""What a client may do, asked of Kafka's authorizer before it is missed.

Without a right aiokafka waits, tries again without end or leaves a topic out, in silence: a group
that may not be joined, a topic that is not described. Kafka tells what a client may do with a topic
(Metadata, version 8), and refuses a heartbeat of a member that does not exist with another error
where the group may not be joined. Nothing is changed by asking. The embedded broker has no
authorizer and says so by leaving the answer out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.metadata import MetadataResponse_v5
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String


class NotAllowedError(Exception):
    """Rights are missing; the message names each, in one line."""


class Right(Enum):
    """What may be done with a topic: Kafka's name, its bit, and how people say it."""

    READ = ("Read", 1 << 3, "read")
    WRITE = ("Write", 1 << 4, "write to")

    def __init__(self, acl: str, bit: int, verb: str) -> None:
        self.acl, self.bit, self.verb = acl, bit, verb


Needs = Mapping[str, Collection[Right]]
"""Topic → what a client has to do with it."""


def may_not_join(group: str) -> str:
    """The phrase for a consumer group that may not be joined."""
    return f"not allowed to join group {group!r} (HOSO_APP_ID): ACL Read"


class _Response(Response):  # type: ignore[misc]  # aiokafka ships no types
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
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
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


class _RequestStruct(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION, RESPONSE_TYPE = 3, 8, _Response
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
    )


class _Request(Request[_RequestStruct]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: list[str] | None) -> None:
        self._topics = topics

    def build(self, struct: type[_RequestStruct]) -> _RequestStruct:
        return struct(self._topics, False, True, True)


class Permissions:
    """Asks over a connection of its own what is not allowed. An asynchronous context manager.

    Entering and :meth:`missing` raise ``KafkaError`` when no broker answers within
    ``timeout`` seconds for each request.
    """

    def __init__(self, client_options: Mapping[str, Any], *, timeout: float = 5.0) -> None:
        self._client = AIOKafkaClient(
            **{**client_options, "request_timeout_ms": int(1000 * timeout)}
        )

    async def __aenter__(self) -> Permissions:
        try:
            await self._client.bootstrap()
        except BaseException:
            await self._client.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def missing(self, needs: Needs, group: str | None = None) -> list[str]:
        """What is not allowed, a phrase each; empty where the broker has no authorizer.

        A topic that does not exist is no matter of rights, and in no phrase.
        """
        allowed = await self._operations(needs)
        if allowed is None:
            return []
        phrases = []
        if group is not None:
            beat = await self._send(HeartbeatRequest(group, -1, ""))
            if beat.error_code == GroupAuthorizationFailedError.errno:
                phrases.append(may_not_join(group))
        for right in Right:
            lacking = [
                topic
                for topic, rights in sorted(needs.items())
                if right in rights and not allowed.get(topic, right.bit) & right.bit
            ]
            if lacking:
                phrases.append(
                    f"not allowed to {right.verb} topic {', '.join(lacking)}: ACL {right.acl}"
                )
        return phrases

    async def hidden(self, topics: Collection[str]) -> set[str]:
        """Those that may not even be described, whether they exist or not."""
        allowed = await self._operations(topics) or {}
        return {topic for topic in topics if allowed.get(topic) == 0}

    async def _operations(self, topics: Collection[str]) -> dict[str, int] | None:
        """Topic → bits of what is allowed, of those that exist; None where nobody would know."""
        try:
            answer = await self._send(_Request(None))
        except NotImplementedError:  # a broker older than Kafka 2.3, or one that is none
            return None
        if answer.cluster_operations < 0:  # no bits, but that they are not told
            return None
        allowed = {topic: operations for _, topic, _, _, operations in answer.topics}
        unlisted = [topic for topic in topics if topic not in allowed]
        if unlisted:
            for code, topic, _, _, _ in (await self._send(_Request(unlisted))).topics:
                if code == TopicAuthorizationFailedError.errno:
                    allowed[topic] = 0
        return allowed

    async def _send(self, request: Any) -> Any:
        node = self._client.get_random_node()
        if node is None:
            raise KafkaConnectionError("no broker is known")
        return await self._client.send(node, request)


async def require(
    client_options: Mapping[str, Any], needs: Needs, group: str | None = None
) -> None:
    """Raises ``NotAllowedError`` if something of it is not allowed, KafkaError as Permissions."""
    async with Permissions(client_options) as permissions:
        missing = await permissions.missing(needs, group)
    if missing:
        raise NotAllowedError("; ".join(missing))
