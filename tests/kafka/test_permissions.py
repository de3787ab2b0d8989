"""With Kafka's authorizer: every missing right is named within 15 s, at the start and later."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams import settings
from streams.cli import main
from streams.kafka.broker import free_port
from streams.kafka.permissions import Permissions, Right
from streams.kafka.topics import TopicSpec, create_missing, partition_counts
from streams.runtime.process import worker_needs
from streams.runtime.web import web_needs
from streams.settings import Settings
from tests.conftest import Broker
from tests.kafka.secured import PASSWORDS, SecuredKafka
from tests.runtime.site import WorkerProcess, eventually

pytestmark = pytest.mark.kafka

SECONDS = 15.0


class Office:
    """A user of the secured Kafka, and topics whose rights it has or lacks."""

    def __init__(self, kafka: SecuredKafka, prefix: str, tmp_path: Path) -> None:
        self.kafka = kafka
        self.user = "clerk"
        self.environment = {
            "HOSO_BROKERS": kafka.at("OPEN"),
            "HOSO_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "HOSO_SASL_USERNAME": self.user,
            "HOSO_SASL_PASSWORD": PASSWORDS[self.user],
            "HOSO_TOPIC_PREFIX": prefix,
            "HOSO_APP_ID": prefix.rstrip("."),
            "HOSO_PARTITIONS": "2",
            "HOSO_WEB_PORT": str(free_port()),
            "HOSO_DATA_DIR": str(tmp_path / "data"),
        }
        self.settings: Settings = settings.load(self.environment)

    def create_topics(self) -> None:
        """As somebody who may."""
        from streams.cli.running import topic_specs

        asyncio.run(
            create_missing({"bootstrap_servers": self.kafka.bootstrap}, topic_specs(self.settings))
        )

    def allow_all_but(self, *lacking: tuple[str, str]) -> None:
        """What a worker needs, without some (operation, topic or group)."""
        for topic, rights in worker_needs(self.settings).items():
            for right in rights:
                if (right.acl, topic) not in lacking:
                    self.kafka.allow(self.user, right.acl, "topic", topic)
        if ("Read", self.settings.app_id) not in lacking:
            self.kafka.allow(self.user, "Read", "group", self.settings.app_id)

    def hoso(self, *arguments: object) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments], env=self.environment)


@pytest.fixture(autouse=True)
def _logging_left_as_it_was() -> Iterator[None]:
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture
def office(secured_kafka: SecuredKafka, topic_prefix: str, tmp_path: Path) -> Office:
    return Office(secured_kafka, topic_prefix, tmp_path)


def _refuses(result: Result, *phrases: str) -> None:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for phrase in phrases:
        assert phrase in result.stderr


def test_a_worker_that_may_not_join_its_group_says_so(office: Office) -> None:
    office.create_topics()
    office.allow_all_but(("Read", office.settings.app_id))
    began = time.monotonic()
    result = office.hoso("worker")
    assert time.monotonic() - began < SECONDS
    group = office.settings.app_id
    assert result.exit_code == 2
    assert result.stderr == f"error: not allowed to join group {group!r} (HOSO_APP_ID): ACL Read\n"


@pytest.mark.parametrize("operation", ["Read", "Write"])
@pytest.mark.parametrize("name", ["submissions", "targets", "agency-months", "changelog"])
def test_a_worker_that_may_not_read_or_write_a_topic_names_it(
    office: Office, operation: str, name: str
) -> None:
    office.create_topics()
    topic = (
        office.settings.changelog("dossiers")
        if name == "changelog"
        else office.settings.topic(name)
    )
    office.allow_all_but((operation, topic))
    began = time.monotonic()
    result = office.hoso("worker")
    assert time.monotonic() - began < SECONDS
    verb = {"Read": "read", "Write": "write to"}[operation]
    assert result.exit_code == 2
    assert result.stderr == f"error: not allowed to {verb} topic {topic}: ACL {operation}\n"


def test_everything_that_is_missing_is_named_at_once(office: Office) -> None:
    office.create_topics()
    needs = worker_needs(office.settings)
    _refuses(office.hoso("worker"), "not allowed to join group", *needs, "ACL Read", "ACL Write")


def test_a_worker_that_may_not_create_topics_names_them(office: Office) -> None:
    office.allow_all_but()
    created = office.hoso("topics", "create")
    worked = office.hoso("worker")
    for result in (created, worked):
        assert result.exit_code == 2
        said = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert len(said) == 1
        topic = office.settings.topic("submissions")
        assert f"not allowed to create topic {topic}: ACL Create (HOSO_CREATE_TOPICS)" in said[0]


def test_commands_name_the_right_that_they_lack(office: Office, tmp_path: Path) -> None:
    office.create_topics()
    topic = office.settings.topic
    allow = office.kafka.allow
    _refuses(office.hoso("report"), "not allowed to read topic ", topic("agency-months"))
    _refuses(office.hoso("audit"), "not allowed to read topic ", topic("submissions"))
    _refuses(
        office.hoso("dead-letters", "list"), "not allowed to read topic ", topic("dead-letters")
    )
    data = Path(__file__).parents[2] / "streams" / "data"
    _refuses(office.hoso("reference", "load", data), "not allowed to read topic ", topic("agenc"))
    events = tmp_path / "events.jsonl"
    example = Path(__file__).parents[1] / "data" / "example_events.jsonl"
    lines = example.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if json.loads(line)["topic"].endswith(("agencies", "targets"))]
    events.write_text("\n".join(kept) + "\n", encoding="utf-8")
    # Not "unknown_agency", which would be said of agencies that may not be read.
    _refuses(office.hoso("publish", events), "not allowed to read topic ", topic("agencies"))
    allow(office.user, "Read", "topic", topic("agencies"), topic("targets"))
    _refuses(office.hoso("publish", events), "not allowed to write to topic ", topic("a"))
    allow(office.user, "Write", "topic", topic("agencies"), topic("targets"))
    published = office.hoso("publish", events)
    assert published.exit_code == 0, published.stderr  # what it may not even see is not its matter


@pytest.mark.slow
@pytest.mark.parametrize("what", ["group", "topic"])
async def test_a_right_that_is_taken_away_later_ends_the_worker_with_its_name(
    office: Office, what: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(office.create_topics)
    await asyncio.to_thread(office.allow_all_but)
    worker = WorkerProcess("worker", office.environment, tmp_path)
    try:
        await worker.ready()
        topic, group = office.settings.topic("processing"), office.settings.app_id
        name = group if what == "group" else topic
        await asyncio.to_thread(office.kafka.deny, office.user, "Read", what, name)

        async def over() -> bool:
            return not worker.alive

        await eventually(over, "ended", SECONDS)
        assert worker.process.returncode == 2, worker.log
        said = {
            "group": f"exiting: not allowed to join group {group!r} (HOSO_APP_ID): ACL Read",
            "topic": f"exiting: not allowed to read topic {topic}: ACL Read",
        }
        assert said[what] in worker.log
        assert PASSWORDS[office.user] not in worker.log
    finally:
        worker.kill()
        print(worker.log[-8000:])  # noqa: T201


async def test_who_may_do_everything_lacks_nothing(broker: Broker, topic_prefix: str) -> None:
    """Neither without an authorizer nor on the embedded broker, and asking creates no topic."""
    topics = [f"{topic_prefix}nothing", f"{topic_prefix}there"]
    needs: Mapping[str, tuple[Right, ...]] = dict.fromkeys(topics, tuple(Right))
    await create_missing(broker.client_options, [TopicSpec(topics[1], 1)])
    for _ in range(2):
        async with Permissions(broker.client_options) as permissions:
            assert await permissions.missing(needs, "nobody") == []
            assert await permissions.hidden(needs) == set()
    assert topics[0] not in await partition_counts(broker.client_options)


def test_a_reader_for_the_public_needs_to_read_three_topics_and_to_describe_the_others(
    office: Office, tmp_path: Path
) -> None:
    office.create_topics()
    needs = web_needs(office.settings)
    reads = {topic for topic, rights in needs.items() if rights == (Right.READ,)}
    assert reads == {office.settings.topic(n) for n in ("agency-months", "agencies", "targets")}
    (last, *others) = sorted(needs)
    for topic in others:
        for right in needs[topic]:
            office.kafka.allow(office.user, right.acl, "topic", topic)
    refused = office.hoso("web")
    assert (refused.exit_code, refused.stdout) == (2, "")
    (right,) = needs[last]
    assert refused.stderr == f"error: not allowed to {right.verb} topic {last}: ACL {right.acl}\n"
    office.kafka.allow(office.user, right.acl, "topic", last)

    async def serves() -> None:
        reader = WorkerProcess("web", office.environment, tmp_path, "web")
        try:
            await reader.ready()
            answer = await reader.json("/api/v1/indicators")
            assert answer["behind"] == 0
            assert [row["scope"] for row in answer["rows"]] == [
                "national", "ministries", "provinces"
            ]  # fmt: skip
            assert await reader.stop() == 0
        finally:
            if reader.alive:
                reader.kill()

    asyncio.run(serves())
