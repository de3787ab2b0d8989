"""The topics of the contract, and their creation. Nothing here knows what the records mean.

Creating is safe to repeat and to run from several processes at once: it only ever adds topics
that are missing. What exists is compared and reported, never changed: a partition count or a
cleanup policy that differs is for a person to decide about.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

SUBMISSIONS = "submissions"
PROCESSING = "processing"
CATALOGUE = "catalogue"
AGENCIES = "agencies"
TARGETS = "targets"
AGENCY_MONTHS = "agency-months"
DEAD_LETTERS = "dead-letters"

EVENT_TOPICS = (SUBMISSIONS, PROCESSING, CATALOGUE)
REFERENCE_TOPICS = (AGENCIES, TARGETS)
SHORT_NAMES = (*EVENT_TOPICS, *REFERENCE_TOPICS, AGENCY_MONTHS, DEAD_LETTERS)

# Kept without limit: real retention goes by the record's timestamp and size.
_KEPT = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
# A record's timestamp is the broker's, so that a replay judges it alike.
_EVENTS = {**_KEPT, "message.timestamp.type": "LogAppendTime"}
_COMPACT = {"cleanup.policy": "compact"}
# Rows of a worker that has lost its partition are noticed within seconds and written over; until
# then compaction must not take the good row away.
_CHANGELOG = {**_COMPACT, "min.compaction.lag.ms": "3600000"}
# A worker writes the good value again behind a refused record, and a removal on the partitions that
# hold something older; compaction must leave it what to go by, even if none runs for days.
_REFERENCE = {
    **_COMPACT,
    "message.timestamp.type": "LogAppendTime",
    "min.compaction.lag.ms": str(7 * 24 * 3_600_000),
}
# What workers write: Kafka refuses producers' timestamps more than an hour ahead
# (message.timestamp.after.max.ms), and a worker whose clock is wrong could write nothing.
_WRITTEN = {"message.timestamp.type": "LogAppendTime"}
# A dead letter is the largest record that any topic takes (1 MiB by default), and its headers.
_LARGE = {"max.message.bytes": "2097152"}

_POLL_SECONDS = 0.05


class TopicError(Exception):
    """Topics could not be created or never got leaders; the message names them and why."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be. ``config`` holds Kafka's topic configuration, cleanup too."""

    name: str
    partitions: int
    replication: int = 1
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """Something of an existing topic that is not as it should be."""

    topic: str
    what: str  # "partitions", or a configuration name
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.actual}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Report:
    """What :func:`create_missing` did and found."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    differences: tuple[Difference, ...]
    unchecked: tuple[str, ...]  # existing topics whose configuration the broker would not tell


def catalogue(
    prefix: str = "hoso.",
    partitions: int = 12,
    replication: int = 1,
    changelogs: Iterable[str] = (),
) -> list[TopicSpec]:
    """Every topic of contract section 1, and the changelogs (full names, compacted) after them.

    All have the same partition count, so that an agency lives whole on one partition number.
    """
    policies = {
        **dict.fromkeys(EVENT_TOPICS, _EVENTS),
        **dict.fromkeys(REFERENCE_TOPICS, _REFERENCE),
        AGENCY_MONTHS: {**_COMPACT, **_WRITTEN},
        DEAD_LETTERS: {**_KEPT, **_WRITTEN, **_LARGE},
    }
    named = [(prefix + short, policies[short]) for short in SHORT_NAMES]
    named += [(changelog, {**_CHANGELOG, **_WRITTEN}) for changelog in changelogs]
    return [TopicSpec(name, partitions, replication, config) for name, config in named]


async def create_missing(
    client_options: Mapping[str, Any], specs: Sequence[TopicSpec], *, timeout: float = 30.0
) -> Report:
    """Create the topics that are missing and return once every partition of all has a leader.

    ``client_options``: keyword arguments for aiokafka (bootstrap_servers, security). Replication
    of existing topics is not compared: moving replicas is an operator's daily business.
    Raises TopicError when a topic is refused or has no leaders within ``timeout`` seconds, and
    KafkaError when no broker answers. A topic that another process creates meanwhile is existing.
    """
    admin = AIOKafkaAdminClient(**client_options)
    try:
        await admin.start()
        before = await _describe(admin)
        missing = [spec for spec in specs if spec.name not in before]
        created = await _create(admin, missing) if missing else []
        now = await _await_leaders(admin, [spec.name for spec in specs], timeout)
        existing = [spec for spec in specs if spec.name not in created]
        differences = [
            Difference(spec.name, "partitions", str(spec.partitions), str(len(now[spec.name])))
            for spec in existing
            if len(now[spec.name]) != spec.partitions
        ]
        configs = await _configs(admin, [spec.name for spec in existing])
        for spec in existing:
            actual = configs.get(spec.name, {})
            differences += [
                Difference(spec.name, name, expected, actual[name])
                for name, expected in spec.config.items()
                if name in actual and actual[name] != expected
            ]
    finally:
        await admin.close()
    return Report(
        created=tuple(created),
        existing=tuple(spec.name for spec in existing),
        differences=tuple(differences),
        unchecked=tuple(
            spec.name
            for spec in existing
            if not spec.config.keys() <= configs.get(spec.name, {}).keys()
        ),
    )


async def partition_counts(client_options: Mapping[str, Any]) -> dict[str, int]:
    """Every topic that exists, with its number of partitions. Creates none.

    Raises KafkaError when no broker answers.
    """
    admin = AIOKafkaAdminClient(**client_options)
    try:
        await admin.start()
        return {name: len(leaders) for name, leaders in (await _describe(admin)).items()}
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> list[str]:
    response = await admin.create_topics(
        [
            NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=dict(spec.config))
            for spec in specs
        ]
    )
    created, refused = [], []
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code == 0:
            created.append(name)
        elif error is TopicAuthorizationFailedError:
            refused.append(f"not allowed to create topic {name}: ACL Create (HOSO_CREATE_TOPICS)")
        elif error is not TopicAlreadyExistsError:
            refused.append(f"{name}: {(message and message[0]) or error.__name__}")
    if refused:
        raise TopicError("cannot create " + "; ".join(refused))
    return created


async def _await_leaders(
    admin: AIOKafkaAdminClient, names: Sequence[str], timeout: float
) -> dict[str, list[int]]:
    """The leader of each partition of each topic, once there are leaders; see create_missing."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            now = await _describe(admin)
        except KafkaError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
            now = {}
        leaderless = [name for name in names if not now.get(name) or -1 in now[name]]
        if not leaderless:
            return now
        if time.monotonic() > deadline:
            raise TopicError(f"no leader within {timeout:g} s for {', '.join(leaderless)}")
        await asyncio.sleep(_POLL_SECONDS)


async def _describe(admin: AIOKafkaAdminClient) -> dict[str, list[int]]:
    """Leaders by topic and partition (-1: none)."""
    # All topics, never by name: the embedded broker creates the topics it is asked about.
    topics = await admin.describe_topics()
    return {
        topic["topic"]: [
            partition["leader"] if partition["error_code"] == 0 else -1
            for partition in topic["partitions"]
        ]
        for topic in topics
        if topic["error_code"] == 0
    }


async def _configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Configuration by topic; topics of which the broker says nothing are left out."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs = {}
    for response in await admin.describe_configs(resources):
        for code, _message, _kind, name, entries in response.resources:
            if code == 0:
                configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs
