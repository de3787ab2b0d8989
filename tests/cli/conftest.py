"""The commands, run in this process or as one of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from streams.cli import main
from tests.conftest import Broker

Hoso = Callable[..., Result]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting from outside, no broker unless a test gives one, and logging left as it was."""
    import os

    for name in os.environ:
        if name.startswith("HOSO_") and name != "HOSO_TEST_BROKERS":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOSO_BROKERS", "127.0.0.1:1")
    # Two demos at a time would both find the usual port free.
    monkeypatch.setenv("HOSO_WEB_PORT", "0")
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture
def hoso() -> Hoso:
    """Run ``hoso`` with these arguments."""

    def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments], input=stdin)

    return run


@pytest.fixture
def on_broker(embedded_broker: Broker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point the settings to the embedded broker, under a prefix of the test's own."""
    monkeypatch.setenv("HOSO_BROKERS", embedded_broker.bootstrap)
    monkeypatch.setenv("HOSO_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("HOSO_APP_ID", topic_prefix.rstrip("."))
    monkeypatch.setenv("HOSO_PARTITIONS", "4")
    return embedded_broker.bootstrap
