"""With the brokers away a worker says so, ends when it is told to, and loses nothing."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streams.kafka.broker import free_port
from tests.conftest import Broker
from tests.kafka.apache import ApacheKafka
from tests.runtime.site import Site, WorkerProcess, eventually

SECONDS = 15.0


def _ends(worker: WorkerProcess, *signals: int) -> float:
    """Send signals, and the seconds until the process is over, with exit code 0."""
    began = time.monotonic()
    for number in signals:
        worker.process.send_signal(number)
        time.sleep(0.2)
    assert worker.process.wait(SECONDS) == 0, worker.log
    return time.monotonic() - began


def _lines(worker: WorkerProcess, text: str) -> list[str]:
    return [line for line in worker.log.splitlines() if text in line]


@pytest.fixture
def node(kafka_node: ApacheKafka) -> tuple[ApacheKafka, Broker]:
    return kafka_node, Broker("kafka", kafka_node.bootstrap)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("store", ["memory", "rocksdb"])
async def test_a_worker_whose_only_broker_is_gone_ends_on_sigterm(
    node: tuple[ApacheKafka, Broker], topic_prefix: str, tmp_path: Path, store: str
) -> None:
    kafka, broker = node
    async with Site(broker, topic_prefix, tmp_path) as site:
        worker = site.worker(HOSO_STORE=store, HOSO_LOG_LEVEL="info")
        await worker.ready()
        kafka.kill_node(0)

        async def said() -> bool:
            return bool(_lines(worker, "no broker answers at "))

        await eventually(said, "said that the broker is away", SECONDS)
        line = _lines(worker, "no broker answers at ")[0]
        assert re.search(
            r" since \d\d:\d\d:\d\d \(\d+ s\): connection refused \(HOSO_BROKERS\)", line
        )
        await asyncio.sleep(20)  # the outage itself: this is what is counted
        assert len(_lines(worker, "ERROR")) + len(_lines(worker, "WARNING")) < 25, worker.log
        assert len(_lines(worker, "no broker answers at ")) == 1
        await asyncio.to_thread(_ends, worker, signal.SIGTERM)
        assert "Traceback" not in worker.log
        kafka.start_node(0)


@pytest.mark.kafka
@pytest.mark.slow
async def test_an_outage_is_said_to_be_over_and_the_worker_goes_on(
    node: tuple[ApacheKafka, Broker], topic_prefix: str, tmp_path: Path
) -> None:
    kafka, broker = node
    async with Site(broker, topic_prefix, tmp_path) as site:
        worker = site.worker(HOSO_LOG_LEVEL="info")
        await worker.ready()
        kafka.kill_node(0)

        async def away() -> bool:
            return bool(_lines(worker, "no broker answers at "))

        async def back() -> bool:
            return bool(_lines(worker, "a broker answers again, after "))

        await eventually(away, "said that the broker is away", SECONDS)
        assert not await back()
        kafka.start_node(0)
        await eventually(back, "said that the broker is back", SECONDS)
        await worker.ready()
        # Told twice, and by Ctrl-C: the same end.
        await asyncio.to_thread(_ends, worker, signal.SIGINT, signal.SIGTERM)


@pytest.mark.kafka
@pytest.mark.slow
async def test_a_worker_that_is_starting_ends_on_sigterm_when_the_broker_goes_away(
    node: tuple[ApacheKafka, Broker], topic_prefix: str, tmp_path: Path
) -> None:
    """Views are loading, or the group is being joined: a start waits for what does not come."""
    kafka, broker = node
    async with Site(broker, topic_prefix, tmp_path) as site:
        worker = site.worker(HOSO_LOG_LEVEL="info")

        async def starting() -> bool:
            return "Starting..." in worker.log

        await eventually(starting, "started")
        kafka.kill_node(0)
        await asyncio.sleep(1)  # into the outage
        await asyncio.to_thread(_ends, worker, signal.SIGTERM)
        kafka.start_node(0)


_STUCK = """
import sys, threading, time
from streams.runtime.deadline import end_within
end_within(0.3, int(sys.argv[1]), "told to")
lock = threading.Lock()
lock.acquire()
lock.acquire()
"""


@pytest.mark.parametrize("code", [0, 2, 143])
def test_a_process_that_waits_for_ever_ends_at_its_deadline_with_its_code(code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _STUCK, str(code)], timeout=30, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (
        code,
        "not ended within 0.3 s, ending now: told to\n",
    )


def test_the_ports_of_a_worker_may_be_ipv6(embedded_broker: Broker, tmp_path: Path) -> None:
    port = free_port()
    worker = WorkerProcess(
        "six",
        {
            **os.environ,
            "HOSO_BROKERS": embedded_broker.bootstrap,
            "HOSO_TOPIC_PREFIX": f"six-{port}.",
            "HOSO_APP_ID": f"six-{port}",
            "HOSO_PARTITIONS": "1",
            "HOSO_WEB_HOST": "::1",
            "HOSO_WEB_PORT": str(port),
        },
        tmp_path,
    )
    try:
        deadline = time.monotonic() + 30
        while f"serving http://[::1]:{port}/" not in worker.log:
            assert worker.alive, worker.log
            assert time.monotonic() < deadline, worker.log
            time.sleep(0.1)
        _ends(worker, signal.SIGTERM)
    finally:
        worker.kill()
