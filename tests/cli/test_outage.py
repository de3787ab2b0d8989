"""A command at work does not wait without end, nor without a word, for brokers that went away."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from streams import settings
from streams.cli import running
from streams.cli.errors import Failure, StoppedError
from streams.cli.running import run
from tests.conftest import Broker


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(running, "OUTAGE_SECONDS", 0.3)


def test_it_says_that_they_are_away_and_gives_up(capsys: pytest.CaptureFixture[str]) -> None:
    cleaned_up = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.append(True)

    with pytest.raises(Failure) as failed:
        run(waits(), settings.load({"HOSO_BROKERS": "127.0.0.1:1"}))
    assert cleaned_up == [True]
    assert failed.value.message.startswith(
        "no broker answers at 127.0.0.1:1: connection refused (HOSO_BROKERS), for "
    )
    assert capsys.readouterr().err == (
        "warning: no broker answers at 127.0.0.1:1: connection refused (HOSO_BROKERS); "
        "waiting 0.3 s for it\n"
    )


@pytest.mark.broker
def test_it_works_on_while_they_answer(
    embedded_broker: Broker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "ANSWER_SECONDS", 0.5)

    async def works() -> str:
        await asyncio.sleep(2)  # four times as long as an answer may take
        return "done"

    found = settings.load({"HOSO_BROKERS": embedded_broker.bootstrap})
    assert run(works(), found) == "done"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, StoppedError), (signal.SIGINT, KeyboardInterrupt)]
)
def test_it_ends_on_a_signal(number: int, raised: type[BaseException]) -> None:
    async def waits() -> None:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    with pytest.raises(raised):
        run(waits())
