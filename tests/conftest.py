"""Brokers for the tests.

``embedded_broker`` and ``apache_kafka`` start once per session, when first asked for; ``broker``
runs a test on both. Tests share them and keep apart by ``topic_prefix``. Where Apache Kafka cannot
be run its tests are skipped with the reason, but fail in CI (CI=true). HOSO_TEST_BROKERS, a
bootstrap list, is used instead of an own Apache Kafka; set auto.create.topics.enable=false there.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import pytest

from streams.kafka.broker import EmbeddedBroker
from tests.kafka.apache import ApacheKafka, KafkaUnavailableError
from tests.kafka.secured import SecuredKafka

Kind = Literal["embedded", "kafka"]
K = TypeVar("K", bound=ApacheKafka)


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker of one kind or the other."""

    kind: Kind
    bootstrap: str

    @property
    def client_options(self) -> dict[str, str]:
        """Keyword arguments for aiokafka's clients."""
        return {"bootstrap_servers": self.bootstrap}


_MINUTE = "tests/chaos/test_quick.py::test_every_figure_survives_a_bad_minute"
TOGETHER = (
    (  # the published timeline, played and folded
        "tests/simulator/test_published.py",
        "tests/simulator/test_docs.py",
        "tests/simulator/test_live.py::test_dossiers_and_services_are_not_those_of_the_published",
    ),
    ("tests/grafana/test_queries.py",),  # a register with all of it, and its Prometheus
    ("tests/grafana/look/test_look.py",),  # pictures of one, in one browser
    (f"{_MINUTE}[embedded",),
    (f"{_MINUTE}[apache",),
)
"""What one process runs, where tests run in several: the beginnings of node ids. Because they share
what takes a minute to make, or, of campaigns, because two at a time are enough for two cores."""


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadgroup`` those TOGETHER are groups; marks come to nothing.

    pytest-xdist 3.8 writes the marked group to ``Node._nodeid``, which pytest 9.2 does not read.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class InGroups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return InGroups(config, log)


def group_of(nodeid: str) -> str:
    """The name of the group of a test; its own where it is in none."""
    return next((starts[0] for starts in TOGETHER if nodeid.startswith(starts)), nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Among several processes long tests first: none is left with one when the others are done."""
    if hasattr(config, "workerinput"):
        items.sort(key=_seconds_allowed, reverse=True)


def _seconds_allowed(item: pytest.Item) -> float:
    """What a slow test has as its time limit, 0 for others."""
    if item.get_closest_marker("slow") is None:
        return 0.0
    limit = item.get_closest_marker("timeout")
    return float(limit.args[0] if limit is not None else item.config.getini("timeout"))


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[Broker]:
    """The embedded broker, shared by the session."""
    with EmbeddedBroker() as broker:
        yield Broker("embedded", broker.bootstrap)


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka, shared by the session: one node, or HOSO_TEST_BROKERS."""
    given = os.environ.get("HOSO_TEST_BROKERS")
    if given:
        yield Broker("kafka", given)
        return
    with _apache(tmp_path_factory, 1) as kafka:
        yield Broker("kafka", kafka.bootstrap)


@pytest.fixture(scope="session")
def secured_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """Apache Kafka with TLS, logins and ACLs, shared by the session."""
    with _or_skip(lambda: SecuredKafka(tmp_path_factory.mktemp("secured"))) as kafka:
        yield kafka


@pytest.fixture
def kafka_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """One node of Apache Kafka for this test alone, which may stop and kill it."""
    with _apache(tmp_path_factory, 1) as kafka:
        yield kafka


@pytest.fixture
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """Three nodes of Apache Kafka for this test alone, which may stop and kill them."""
    with _apache(tmp_path_factory, 3) as kafka:
        yield kafka


@pytest.fixture(
    params=[
        pytest.param("embedded", marks=pytest.mark.broker),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn."""
    name = {"embedded": "embedded_broker", "kafka": "apache_kafka"}[request.param]
    found: Broker = request.getfixturevalue(name)
    return found


@pytest.fixture
def topic_prefix(request: pytest.FixtureRequest) -> str:
    """A prefix for this test's topics (and groups) that no other test uses, ending in a dot."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")[:60]
    return f"{name}-{uuid.uuid4().hex[:8]}."


def _apache(factory: pytest.TempPathFactory, brokers: int) -> ApacheKafka:
    return _or_skip(lambda: ApacheKafka(factory.mktemp("kafka"), brokers))


def _or_skip(make: Callable[[], K]) -> K:
    try:
        return make()
    except KafkaUnavailableError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
