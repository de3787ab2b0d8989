"""Topics, portals and the broker from the command line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice

import pytest

from streams.cli.playing import play
from streams.cli.sending import Outbox
from streams.domain.calendar import ZONE
from streams.kafka.broker import brokers_at, free_port
from streams.kafka.topics import TopicSpec, create_missing, partition_counts
from streams.settings import load
from streams.simulator import SCENARIOS, Check, Live, Record
from tests.cli.conftest import Hoso
from tests.cli.example import Example
from tests.cli.test_events import records_of


@pytest.mark.broker
def test_topics_are_created_once_and_then_exist(
    hoso: Hoso, on_broker: str, topic_prefix: str
) -> None:
    first, second = hoso("topics", "create"), hoso("topics", "create")
    assert (first.exit_code, second.exit_code) == (0, 0)
    app = topic_prefix.rstrip(".")
    names = [
        *(f"{topic_prefix}{name}" for name in (
            "submissions", "processing", "catalogue", "agencies", "targets", "agency-months",
            "dead-letters",
        )),
        f"{app}-dossiers-changelog",
        f"{app}-services-changelog",
    ]  # fmt: skip
    for result, word in ((first, "created"), (second, "exists")):
        told = [line.replace(",", "").split()[:2] for line in result.stdout.splitlines()]
        assert told == [[name, word] for name in names]
    counts = asyncio.run(partition_counts({"bootstrap_servers": on_broker}))
    assert [counts[name] for name in names] == [4] * 9


@pytest.mark.broker
def test_what_differs_is_said_and_left_alone(hoso: Hoso, on_broker: str, topic_prefix: str) -> None:
    options, name = {"bootstrap_servers": on_broker}, f"{topic_prefix}targets"
    asyncio.run(create_missing(options, [TopicSpec(name, 3, 1, {"cleanup.policy": "delete"})]))
    result = hoso("topics", "create")
    told = [line for line in result.stdout.splitlines() if line.startswith(name)]
    assert told[0].endswith("  differs: partitions is 3, expected 4")
    assert told[1].endswith("  differs: cleanup.policy is delete, expected compact")
    assert result.exit_code == 1
    assert asyncio.run(partition_counts(options))[name] == 3


@pytest.mark.broker
def test_figures_of_a_part_of_a_topic_are_not_reported(
    hoso: Hoso, on_broker: str, topic_prefix: str
) -> None:
    options, name = {"bootstrap_servers": on_broker}, f"{topic_prefix}submissions"
    asyncio.run(create_missing(options, [TopicSpec(name, 3)]))
    hoso("topics", "create")
    for command in (("report",), ("audit",)):
        result = hoso(*command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{name} 3" in result.stderr


@pytest.mark.broker
def test_another_policy_alone_is_said_but_is_no_failure(
    hoso: Hoso, on_broker: str, topic_prefix: str
) -> None:
    options, name = {"bootstrap_servers": on_broker}, f"{topic_prefix}targets"
    asyncio.run(create_missing(options, [TopicSpec(name, 4, 1, {"cleanup.policy": "delete"})]))
    result = hoso("topics", "create")
    assert "differs: cleanup.policy is delete, expected compact" in result.stdout
    assert result.exit_code == 0


@pytest.mark.broker
def test_simulate_sends_every_record_of_a_scenario(
    hoso: Hoso, on_broker: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCENARIOS, "example", Example)
    result = hoso("simulate", "--scenario", "example")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].split() == ["878", "sent"]
    for topic in ("agencies", "submissions"):
        sent = sorted(
            (r.key.decode(), r.value) for r in records_of(on_broker, topic_prefix + topic)
        )
        expected = sorted(r[1:] for r in Example().records() if r.topic == topic)
        assert sent == expected


@pytest.mark.broker
def test_a_rate_is_kept(hoso: Hoso, on_broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(Example):
        def records(self) -> Iterator[Record]:
            return islice(super().records(), 60)

    monkeypatch.setitem(SCENARIOS, "short", Short)
    assert hoso("topics", "create").exit_code == 0
    started = time.monotonic()
    assert hoso("simulate", "--scenario", "short", "--rate", "60").exit_code == 0
    assert time.monotonic() - started >= 59 / 60


@pytest.mark.broker
def test_an_endless_scenario_catches_up_at_full_speed_and_then_keeps_the_rate(
    hoso: Hoso, on_broker: str, topic_prefix: str
) -> None:
    assert hoso("topics", "create").exit_code == 0

    class Days:
        """2,000 records of the past, then records of now, and the clock with every tenth."""

        name = "days"
        description = "Two thousand and on"
        total = None
        checks: tuple[Check, ...] = ()

        def records(self) -> Iterator[Record]:
            number = 0
            while True:
                time_ = "2021-01-01T00:00:00+07:00" if number < 2000 else now
                value = json.dumps({"time": time_, "number": number}).encode()
                yield Record("submissions", f"H{number % 9}", value)
                number += 1

    now = datetime.now(ZONE).isoformat()
    done: list[tuple[float, int]] = []

    async def watch() -> None:
        async with Outbox(load()) as outbox:
            started = time.monotonic()

            def advance(count: int) -> None:
                done.append((time.monotonic() - started, (done[-1][1] if done else 0) + count))

            task = asyncio.create_task(play(Days(), outbox, 50, advance))
            while not (done and done[-1][1] >= 2050):
                await asyncio.wait({task}, timeout=0.02)
                assert not task.done()
                assert time.monotonic() - started < 20
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(watch())
    past = next(at for at, count in done if count >= 2000)
    assert done[-1][0] - past >= 0.9  # fifty more at fifty a second
    assert done[-1][1] < 2060
    numbers: dict[bytes, list[int]] = {}
    for record in records_of(on_broker, f"{topic_prefix}submissions"):
        numbers.setdefault(record.key, []).append(json.loads(record.value)["number"])
    assert sum(map(len, numbers.values())) >= 2050
    assert all(found == sorted(found) for found in numbers.values())


def test_the_past_of_the_scenario_live_is_dated_before_today() -> None:
    clock = datetime(2022, 3, 3, 9, 0, tzinfo=ZONE)
    records = Live(lambda: clock).records()
    times = [json.loads(record.value)["time"] for record in islice(records, 20_000)]
    first = next(n for n, text in enumerate(times) if text >= "2022-03-03")
    assert first > 1000
    assert all(text < "2022-03-03" for text in times[:first])
    assert all(text.startswith("2022-03-03") for text in times[first:])


@pytest.mark.broker
@pytest.mark.skipif(sys.platform == "win32", reason="no signals to send on Windows")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_broker_runs_until_it_is_told_to_stop(number: signal.Signals) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "streams", "broker", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert f"127.0.0.1:{port}" in process.stdout.readline()
        assert "forgets" in process.stdout.readline()
        assert brokers_at("127.0.0.1", port) == 1
        os.kill(process.pid, number)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, said.count("\n")) == (0, 1)
    assert brokers_at("127.0.0.1", port) == 0


@pytest.mark.broker
@pytest.mark.skipif(sys.platform == "win32", reason="no signals to send on Windows")
def test_simulate_ends_cleanly_on_ctrl_c(on_broker: str, topic_prefix: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "streams", "simulate", "--scenario", "live"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 20
        name = f"{topic_prefix}agencies"
        while name not in asyncio.run(partition_counts({"bootstrap_servers": on_broker})):
            assert time.monotonic() < deadline
        while not records_of(on_broker, f"{topic_prefix}agencies"):
            assert time.monotonic() < deadline
        os.kill(process.pid, signal.SIGINT)
        told, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, said) == (0, "stopped\n")
    assert told.splitlines()[-1].endswith("  sent")
