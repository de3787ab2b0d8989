"""What a client may do, asked of Kafka's authorizer before it is missed.

Without a right aiokafka waits, tries again without end or leaves a topic out, in silence: a group
that may not be joined, a topic that is not described. Kafka tells what a client may do with a topic
(:mod:`streams.kafka.topic_metadata`), and refuses a heartbeat of a member that does not exist with
another error where the group may not be joined. Nothing is changed by asking. The embedded broker
has no authorizer and says so by leaving the answer out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any

from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from aiokafka.protocol.group import HeartbeatRequest

from streams.kafka.topic_metadata import MetadataClient


class NotAllowedError(Exception):
    """Rights are missing; the message names each, in one line."""


class Right(Enum):
    """What may be done with a topic: Kafka's name, its bit, and how people say it."""

    READ = ("Read", 1 << 3, "read")
    WRITE = ("Write", 1 << 4, "write to")
    DESCRIBE = ("Describe", 1 << 8, "describe")

    def __init__(self, acl: str, bit: int, verb: str) -> None:
        self.acl, self.bit, self.verb = acl, bit, verb


Needs = Mapping[str, Collection[Right]]
"""Topic → what a client has to do with it."""


def may_not_join(group: str) -> str:
    """The phrase for a consumer group that may not be joined."""
    return f"not allowed to join group {group!r} (HOSO_APP_ID): ACL Read"


class Permissions(MetadataClient):
    """Asks what is not allowed. An asynchronous context manager.

    Asking raises ``KafkaError`` when no broker answers within ``timeout`` seconds for each request.
    """

    def __init__(self, client_options: Mapping[str, Any], *, timeout: float = 5.0) -> None:
        super().__init__({**client_options, "request_timeout_ms": int(1000 * timeout)})

    async def __aenter__(self) -> Permissions:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def missing(self, needs: Needs, group: str | None = None) -> list[str]:
        """What is not allowed, a phrase each; empty where the broker has no authorizer.

        A topic that does not exist is no matter of rights, and in no phrase.
        """
        allowed = await self._operations(needs)
        if allowed is None:
            return []
        phrases = []
        if group is not None:
            beat = await self.send(HeartbeatRequest(group, -1, ""))
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
        answer = await self.metadata(None)
        if not answer.tells_rights:
            return None
        allowed = {topic.name: topic.operations for topic in answer.topics}
        unlisted = [topic for topic in topics if topic not in allowed]
        if unlisted:
            for topic in (await self.metadata(unlisted)).topics:
                if topic.error is TopicAuthorizationFailedError:
                    allowed[topic.name] = 0
        return allowed


async def require(
    client_options: Mapping[str, Any], needs: Needs, group: str | None = None
) -> None:
    """Raises ``NotAllowedError`` if something of it is not allowed, KafkaError as Permissions."""
    async with Permissions(client_options) as permissions:
        missing = await permissions.missing(needs, group)
    if missing:
        raise NotAllowedError("; ".join(missing))
