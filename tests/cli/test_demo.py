"""The demo from end to end, and that nothing of it stays behind; the report beside the API."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from streams.cli.demo_worker import Intake, WorkerProcess
from streams.domain.calendar import ZONE
from streams.kafka.broker import free_port
from streams.settings import load
from streams.simulator import SCENARIOS
from tests.cli.conftest import Hoso
from tests.cli.example import EVENTS, FIGURES, Example, Wrong

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="no signals to send on Windows"),
]

HOSO = [sys.executable, "-m", "tests.cli.example"]


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """What ``condition`` gives once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


# The comparison


def test_the_demo_measures_the_published_figures_and_exits_0(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCENARIOS, "example", Example)
    before = children()
    result = hoso("demo", "--scenario", "example", "--headless", "--format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert sorted(answer) == ["checks", "events", "seconds"]
    assert answer["events"] == 878
    assert answer["seconds"] > 0
    assert len(answer["checks"]) == len(Example.checks) > 50
    for check, found in zip(Example.checks, answer["checks"], strict=True):
        assert found == {
            "as_of": check.as_of.isoformat(),
            "scope": check.scope,
            "period": check.period,
            "indicator": check.indicator,
            "published": float(check.published),
            "measured": pytest.approx(float(check.published), abs=0.005),
            "ok": True,
        }
    assert children() == before


def children() -> set[int]:
    """The processes started by this one that still run."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_a_figure_that_differs_is_shown_and_exits_1(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCENARIOS, "wrong", Wrong)
    result = hoso("demo", "--scenario", "wrong", "--headless")
    assert (result.exit_code, result.stderr) == (1, "")
    assert "1 of 2 figures agree; 878 events in " in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if "differs" in line]
    assert "99,999" in line
    assert Wrong.checks[1].as_of.isoformat() in line


# Nothing stays behind


@contextmanager
def demo_process(*arguments: str, **popen: Any) -> Iterator[tuple[Any, list[psutil.Process]]]:
    """A demo that has started its broker and its worker; afterwards both must be gone."""
    process = subprocess.Popen([*HOSO, "demo", *arguments], text=True, **popen)
    children: list[psutil.Process] = []
    try:
        own = psutil.Process(process.pid)

        def both() -> bool:
            children[:] = own.children()
            return len(children) == 2 and any("worker" in c.cmdline() for c in children)

        wait_for(both)
        yield process, children
        _, alive = psutil.wait_procs(children, timeout=20)
        assert alive == []
    finally:
        process.kill()
        process.wait()
        for child in children:
            if child.is_running():
                child.kill()


SLOWLY = ("--scenario", "example", "--headless", "--rate", "5")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_demo_its_broker_and_its_worker(
    number: signal.Signals, code: int
) -> None:
    with demo_process(*SLOWLY, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as (process, _):
        os.kill(process.pid, number)
        told, said = process.communicate(timeout=30)
        assert (process.returncode, told, said) == (code, "", "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_killed_demo_takes_broker_and_worker_with_it() -> None:
    with demo_process(*SLOWLY, stdout=subprocess.DEVNULL) as (process, _):
        process.kill()


def test_a_dead_worker_is_reported_with_the_end_of_its_log() -> None:
    with demo_process(*SLOWLY, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as (process, found):
        (worker,) = [child for child in found if "worker" in child.cmdline()]
        worker.kill()
        told, said = process.communicate(timeout=30)
        assert (process.returncode, told) == (2, "")
        first, *log = said.splitlines()
        assert first == "error: the worker ended by itself with code -9; the end of its log:"
        assert all(line.startswith("error:   ") for line in log)
        assert log


def test_on_a_terminal_the_demo_goes_on_live_until_ctrl_c() -> None:
    import pty

    control, terminal = pty.openpty()
    os.set_blocking(control, False)
    shown = b""

    def shows(text: bytes) -> bool:
        nonlocal shown
        try:
            while part := os.read(control, 65536):
                shown += part
        except OSError:
            pass
        return text in shown

    environment = os.environ | {"TERM": "xterm", "COLUMNS": "160", "LINES": "50"}
    try:
        with demo_process(
            "--scenario", "example", "--no-browser",
            stdin=terminal, stdout=terminal, stderr=terminal, env=environment,
        ) as (process, _):  # fmt: skip
            wait_for(lambda: shows(b"The figures, as they move"), 60)
            wait_for(lambda: shows(b"figures agree"), 60)
            wait_for(lambda: shows(b"The figures, live"))
            wait_for(lambda: shows(b"year to "))
            wait_for(lambda: shows("Cả nước".encode()))
            wait_for(lambda: shows(b"/metrics"))
            os.kill(process.pid, signal.SIGINT)
            wait_for(lambda: shows(b"stopped"))
            assert process.wait(20) == 0
    finally:
        os.close(control)
        os.close(terminal)


def test_the_page_is_opened_and_shows_the_record_and_then_the_live_day(tmp_path: Path) -> None:
    """Also where nobody looks at a terminal: it streams until it is told to end."""
    port, opened = free_port(), tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\necho $1 >> {opened}\n")
    browser.chmod(0o755)
    environment = os.environ | {"HOSO_WEB_PORT": str(port), "BROWSER": f"{browser} %s &"}
    address = f"http://127.0.0.1:{port}/"
    said = tmp_path / "said"

    def get(path: str) -> str:
        try:
            with urllib.request.urlopen(f"{address}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            assert process.poll() is None
            return ""

    def as_of() -> str:
        return str(json.loads(get("api/v1/indicators") or "{}").get("as_of"))

    with (
        said.open("w") as errors,
        demo_process(
            "--scenario", "example", stdout=subprocess.PIPE, stderr=errors, env=environment
        ) as (process, _),
    ):
        wait_for(lambda: "Cơ quan H26" in get(""))
        wait_for(lambda: f"The figures, live: {address}\n" in said.read_text())
        wait_for(lambda: as_of() == datetime.now(ZONE).date().isoformat())
        wait_for(opened.exists)
        os.kill(process.pid, signal.SIGINT)
        told, _ = process.communicate(timeout=30)
        assert process.returncode == 0
    assert opened.read_text() == f"{address}\n"
    assert "figures agree" in told
    assert f"The figures, as they move: {address}\n" in said.read_text()


def test_a_taken_port_that_was_asked_for_is_named(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("HOSO_WEB_PORT", str(port))
        result = hoso("demo", "--headless")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: cannot listen on 127.0.0.1:{port} (HOSO_WEB_HOST")


# The report


def test_the_report_is_what_the_api_answers_with_and_without_a_worker(
    hoso: Hoso, on_broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSO_WEB_PORT", str(free_port()))
    settings = load()
    assert hoso("publish", EVENTS).exit_code == 0

    async def everything_is_in() -> bool:
        async with Intake(settings) as intake:
            ends, committed = await intake.ends(), await intake.committed()
            return all(committed.get(tp, 0) >= end for tp, end in ends.items())

    questions = [(f["as_of"], f["period"], f["definition"]) for f in FIGURES]

    def report(question: tuple[str, str, str], form: str = "json") -> str:
        as_of, period, definition = question
        result = hoso(
            "report", "--as-of", as_of, "--period", period, "--definition", definition,
            "--format", form,
        )  # fmt: skip
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    with WorkerProcess(settings) as worker:
        wait_for(lambda: asyncio.run(everything_is_in()))
        as_of, period, definition = questions[0]
        url = (
            f"{worker.url}/api/v1/indicators?as_of={as_of}&period={period}&definition={definition}"
        )

        def api() -> Any:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)

        own = json.loads(report(questions[0]))
        wait_for(lambda: api() == own)
    for question, figures in list(zip(questions, FIGURES, strict=True))[::4]:
        rows = {row["scope"]: row for row in json.loads(report(question))["rows"]}
        for expected in figures["rows"]:
            row = rows[expected["scope"]]
            for name in (
                "services_listed", "services_with_dossiers", "dossiers_processed",
                "dossiers_processed_online", "dossiers_submitted",
            ):  # fmt: skip
                assert row[name] == expected[name], (question, expected["scope"], name)

    answer = json.loads(report(questions[0]))
    flat = list(csv.DictReader(io.StringIO(report(questions[0], "csv"))))
    assert [row["scope"] for row in flat] == [row["scope"] for row in answer["rows"]]
    for row, found in zip(answer["rows"], flat, strict=True):
        assert found["as_of"] == questions[0][0]
        assert found["name"] == row["name"]
        ratio = row["services_with_dossiers_ratio"]
        assert found["services_with_dossiers_ratio"] == ("" if ratio is None else str(ratio))
        assert found["dossiers_submitted_online"] == str(row["dossiers_submitted"]["online"])
    table = report(questions[0], "table")
    national = answer["rows"][0]
    assert f"{national['services_with_dossiers']:,} / {national['services_listed']:,}" in table
    assert f"{100 * national['services_with_dossiers_ratio']:.2f}" in table
    assert [row["scope"] in table for row in answer["rows"]] == [True] * len(answer["rows"])
