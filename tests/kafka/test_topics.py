"""Creating topics: what is missing is made, what differs is told, nothing is changed."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.kafka.topics import (
    Difference,
    TopicError,
    TopicSpec,
    catalogue,
    create_missing,
)
from tests.conftest import Broker

FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
EVENT = {**FOREVER, "message.timestamp.type": "LogAppendTime"}
COMPACT = {"cleanup.policy": "compact"}
WRITTEN = {"message.timestamp.type": "LogAppendTime"}
REFERENCE = COMPACT | WRITTEN | {"min.compaction.lag.ms": "604800000"}
"""What workers write is stamped by the broker, whatever their clocks say."""


async def actual_topics(broker: Broker, prefix: str) -> dict[str, tuple[int, dict[str, str]]]:
    """Partition count and configuration of each topic, by its name without the prefix."""
    admin = AIOKafkaAdminClient(**broker.client_options)
    await admin.start()
    try:
        counts = {
            topic["topic"]: len(topic["partitions"])
            for topic in await admin.describe_topics()
            if topic["topic"].startswith(prefix)
        }
        (described,) = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name) for name in counts]
        )
    finally:
        await admin.close()
    return {
        name.removeprefix(prefix): (counts[name], {entry[0]: entry[1] for entry in entries})
        for _code, _message, _kind, name, entries in described.resources
    }


def test_the_catalogue_is_the_contracts() -> None:
    specs = catalogue("hoso.", 12, 3, ["hoso-dossiers-changelog"])
    assert {spec.name: dict(spec.config) for spec in specs} == {
        "hoso.submissions": EVENT,
        "hoso.processing": EVENT,
        "hoso.catalogue": EVENT,
        "hoso.agencies": REFERENCE,
        "hoso.targets": REFERENCE,
        "hoso.agency-months": COMPACT | WRITTEN,
        "hoso.dead-letters": FOREVER | WRITTEN | {"max.message.bytes": "2097152"},
        "hoso-dossiers-changelog": COMPACT | WRITTEN | {"min.compaction.lag.ms": "3600000"},
    }
    assert {(spec.partitions, spec.replication) for spec in specs} == {(12, 3)}
    assert [spec.name for spec in specs if spec.config["cleanup.policy"] == "compact"] == [
        "hoso.agencies",
        "hoso.targets",
        "hoso.agency-months",
        "hoso-dossiers-changelog",
    ]


async def test_missing_topics_are_created_with_their_policies(
    broker: Broker, topic_prefix: str
) -> None:
    specs = catalogue(topic_prefix, 3, 1, [f"{topic_prefix}rows-changelog"])
    report = await create_missing(broker.client_options, specs)
    assert report.created == tuple(spec.name for spec in specs)
    assert (report.existing, report.differences, report.unchecked) == ((), (), ())
    actual = await actual_topics(broker, topic_prefix)
    assert len(actual) == 8
    for spec in specs:
        partitions, config = actual[spec.name.removeprefix(topic_prefix)]
        assert partitions == 3
        assert spec.config.items() <= config.items()


async def test_creating_twice_changes_nothing_and_finds_no_difference(
    broker: Broker, topic_prefix: str
) -> None:
    specs = catalogue(topic_prefix, 2)
    await create_missing(broker.client_options, specs)
    before = await actual_topics(broker, topic_prefix)
    report = await create_missing(broker.client_options, specs)
    assert report.created == ()
    assert report.existing == tuple(spec.name for spec in specs)
    assert (report.differences, report.unchecked) == ((), ())
    assert await actual_topics(broker, topic_prefix) == before


async def test_only_what_is_missing_is_created(broker: Broker, topic_prefix: str) -> None:
    specs = catalogue(topic_prefix, 2)
    await create_missing(broker.client_options, specs[:3])
    report = await create_missing(broker.client_options, specs)
    assert report.existing == tuple(spec.name for spec in specs[:3])
    assert set(report.created) == {spec.name for spec in specs[3:]}


async def test_differences_are_told_and_left_alone(broker: Broker, topic_prefix: str) -> None:
    name = f"{topic_prefix}agencies"
    await create_missing(
        broker.client_options, [TopicSpec(name, 5, 1, {"cleanup.policy": "delete"})]
    )
    report = await create_missing(broker.client_options, [TopicSpec(name, 2, 1, COMPACT)])
    assert report.created == ()
    assert set(report.differences) == {
        Difference(name, "partitions", "2", "5"),
        Difference(name, "cleanup.policy", "compact", "delete"),
    }
    assert f"{name}: partitions is 5, expected 2" in map(str, report.differences)
    partitions, config = (await actual_topics(broker, topic_prefix))["agencies"]
    assert (partitions, config["cleanup.policy"]) == (5, "delete")


@pytest.mark.broker
async def test_what_the_broker_does_not_tell_is_reported_as_unchecked(
    embedded_broker: Broker, topic_prefix: str
) -> None:
    # The embedded broker tells only the configuration that was given at creation.
    name = f"{topic_prefix}agencies"
    await create_missing(embedded_broker.client_options, [TopicSpec(name, 1)])
    report = await create_missing(embedded_broker.client_options, [TopicSpec(name, 1, 1, COMPACT)])
    assert (report.differences, report.unchecked) == ((), (name,))


@pytest.mark.kafka
async def test_a_refused_topic_is_named_with_the_brokers_reason(
    apache_kafka: Broker, topic_prefix: str
) -> None:
    spec = TopicSpec(f"{topic_prefix}agencies", 1, replication=99)
    with pytest.raises(TopicError, match=rf"{topic_prefix}agencies: .*[Rr]eplication"):
        await create_missing(apache_kafka.client_options, [spec])
