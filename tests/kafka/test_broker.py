"""The embedded broker as a process: started, refused, stopped, orphaned."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from streams.kafka.broker import HOST, BrokerError, EmbeddedBroker, brokers_at, free_port

pytestmark = pytest.mark.broker


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"broker {pid} is still alive"
        time.sleep(0.02)


def test_it_answers_once_started_and_is_gone_once_stopped() -> None:
    with EmbeddedBroker() as broker:
        host, port = broker.bootstrap.split(":")
        assert brokers_at(host, int(port)) == 1
        pid = broker.pid
    assert pid is not None
    wait_until_gone(pid)
    assert brokers_at(host, int(port)) == 0
    assert not broker.running


def test_it_listens_on_the_port_asked_for_and_can_start_there_again() -> None:
    port = free_port()
    broker = EmbeddedBroker(port)
    for _ in range(2):
        with broker:
            assert broker.bootstrap == f"127.0.0.1:{port}"
            assert brokers_at(HOST, port) == 1


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"127.0.0.1:{port}: .*in use"):
            EmbeddedBroker(port).start()


def test_a_missing_binary_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", "/nowhere/tansu")
    with pytest.raises(BrokerError, match=r"binary is missing.*/nowhere/tansu"):
        EmbeddedBroker().start()


@pytest.mark.skipif(sys.platform == "win32", reason="needs an executable script")
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no memory left; exit 3", "ended at once with code 3: no memory left"),
        ("exec sleep 60", "did not answer on .* within 0.3 s"),
    ],
)
def test_a_broker_that_does_not_come_up_is_an_error_and_leaves_no_process(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "tansu"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(binary))
    before = set(psutil.Process().children())
    broker = EmbeddedBroker(start_timeout=0.3)
    with pytest.raises(BrokerError, match=message):
        broker.start()
    assert set(psutil.Process().children()) <= before


def test_it_has_no_address_before_it_is_started() -> None:
    with pytest.raises(BrokerError, match="not been started"):
        _ = EmbeddedBroker(9092).bootstrap


def test_settings_of_the_environment_do_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_ENGINE", "s3://nowhere/")
    monkeypatch.setenv("SCHEMA_REGISTRY", "file:///nowhere")
    with EmbeddedBroker() as broker:
        assert brokers_at(HOST, broker.port) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of a killed parent")
def test_it_dies_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from streams.kafka.broker import EmbeddedBroker\n"
            "broker = EmbeddedBroker().start()\n"
            "print(broker.pid, flush=True)\n"
            "input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    wait_until_gone(pid)


def test_it_outlives_the_thread_that_started_it() -> None:
    broker = EmbeddedBroker()
    thread = threading.Thread(target=broker.start)
    thread.start()
    thread.join()
    try:
        assert broker.wait(0.3) is None
        assert brokers_at(HOST, broker.port) == 1
    finally:
        broker.stop()
