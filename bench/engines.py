"""The engines under measurement. Each takes in the same topics and says what it counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.counts import Counted, Expected
from bench.worker import Worker
from streams.kafka.broker import die_with_parent

ROOT = Path(__file__).parent.parent
LIMIT_SECONDS = 600.0
"""A run that takes longer is ended, and its engine left out."""


class UnavailableError(Exception):
    """An engine cannot be run here; the message says why, in one line."""


class FailedError(Exception):
    """An engine was run and broke, or took too long; the message says how, in one line."""


class Recovery(NamedTuple):
    """What a restart after a kill took."""

    rows: int
    seconds: float
    """Reading, merging and folding, from the assignment on."""
    until_ready: float
    """From starting the process; most of it is the broker missing the killed one."""


class Run(NamedTuple):
    """One measured run."""

    seconds: float
    """From the first record taken in to the last one done (start-up left out)."""
    events: int
    counted: Counted
    rss_before: int
    rss_after: int
    recovery: Recovery | None = None


class Engine(NamedTuple):
    """An engine by name."""

    run: Callable[[str, int, int], Run]
    """(bootstrap servers, events in the topics, reference records beside them) → a run."""
    check: Callable[[], None]
    """Raises UnavailableError when it cannot be run here."""
    what: str
    """What it is and does, in a few words, for the tables."""
    cap: int | None = None
    """It gets no more events than this, because it is slow."""


def peers_python() -> str:
    """The interpreter of the peers whose pins differ from hoso's.

    HOSO_BENCH_PEERS names it; else ``.venv-peers``, which ``make bench`` sets up; else this one.
    """
    given = os.environ.get("HOSO_BENCH_PEERS")
    own = ROOT / ".venv-peers" / "bin" / "python"
    return given or (str(own) if own.exists() else sys.executable)


def peer(
    module: str, needs: str, what: str, *, apart: bool = False, cap: int | None = None
) -> Engine:
    """The engine ``bench.peers.<module>``, which imports ``needs``.

    ``apart``: under the interpreter of :func:`peers_python` instead of this one.
    """

    def python() -> str:
        return peers_python() if apart else sys.executable

    def check() -> None:
        found = subprocess.run(
            [python(), "-c", f"import psutil, pydantic, {needs}"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        if found.returncode:
            lines = found.stderr.strip().splitlines() or ["it ended without a word"]
            raise UnavailableError(f"{lines[-1]} (make bench installs what the engines need)")

    def run(bootstrap: str, events: int, reference: int) -> Run:
        return read_report([python(), "-m", f"bench.peers.{module}", bootstrap, str(events)])

    return Engine(run, check, what, cap)


def read_report(command: list[str], limit: float = LIMIT_SECONDS) -> Run:
    """Run a peer, which gets a file's name as its last argument, and read its report there.

    Raises FailedError if there is none, or none after ``limit`` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="hoso-bench-") as directory:
        report, log = Path(directory) / "report.json", Path(directory) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, str(report)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired as error:
            raise FailedError(f"it was not done after {limit:.0f} s") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code != 0 or not report.exists():
            raise FailedError(f"it ended with code {code}: {_last_line(log.read_text())}")
        found = json.loads(report.read_text())
        found["counted"] = {agency: Expected(*row) for agency, row in found["counted"].items()}
        return Run(**found)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def hoso(store: str) -> Engine:
    """A hoso worker with everything on; then it is killed, and another one takes over."""

    def check() -> None:
        if store == "rocksdb":
            try:
                import rocksdict  # noqa: F401
            except ImportError as error:
                raise UnavailableError(str(error)) from error

    def run(bootstrap: str, events: int, reference: int) -> Run:
        worker = Worker(bootstrap, store)
        try:
            worker.wait_ready()
            before = worker.rss
            # From its first chunk on: joining the group takes seconds on any broker, once.
            first = worker.wait_taken_in(1)
            started = time.perf_counter()
            taken_in = worker.wait_taken_in(events + reference)
            seconds = time.perf_counter() - started
            run = Run(seconds, taken_in - first, counted_by(worker), before, worker.rss)
        except BaseException:
            worker.stop(signal.SIGKILL)
            raise
        worker.stop(signal.SIGKILL)
        return run._replace(recovery=recovered(bootstrap, store, worker))

    return Engine(run, check, f"a worker with everything on, rows in {store}")


def recovered(
    bootstrap: str, store: str, killed: Worker, check: Callable[[Worker], None] = lambda _: None
) -> Recovery:
    """What a worker that takes over from ``killed``, on its data, needs to be ready.

    ``check`` is called with it while it runs, and raises when it is not as it should be.
    """
    started = time.perf_counter()
    worker = Worker(bootstrap, store, app_id=killed.app_id, directory=killed.directory)
    try:
        worker.wait_ready()
        ready = time.perf_counter() - started
        took = json.loads(worker.get("/readyz"))["recovery"]
        check(worker)
        return Recovery(took["rows"], took["seconds"], ready)
    finally:
        worker.stop(signal.SIGKILL)


def counted_by(worker: Worker, years: Sequence[int] = (2022, 2023)) -> Counted:
    """The workload's figures of each agency, from the worker's API, over some years together.

    ``services`` are those of 2022 alone, in which all dossiers of the usual workload are submitted.
    """
    groups = {"national", "ministries", "provinces"}
    figures: dict[str, list[int]] = {}
    for year in years:
        answer = worker.get(f"/api/v1/indicators?period=year&as_of={year}-12-31")
        for row in json.loads(answer)["rows"]:
            if row["scope"] in groups:
                continue
            found = figures.setdefault(row["scope"], [0, 0, 0, 0])
            found[0] += sum(row["dossiers_submitted"].values())
            found[1] += row["dossiers_processed"]
            found[2] += row["dossiers_processed_online"]
            if year == 2022:
                found[3] = row["services_with_dossiers"]
    return {agency: Expected(*row) for agency, row in figures.items() if any(row)}


ENGINES: dict[str, Engine] = {
    "bare-aiokafka": peer("bare_aiokafka", "aiokafka", "a loop and dicts, nothing durable"),
    "bare-confluent": peer(
        "bare_confluent", "confluent_kafka", "a loop and dicts, nothing durable"
    ),
    "pathway": peer("pathway_streaming", "pathway", "streaming, state in memory", apart=True),
    "bytewax": peer(
        "bytewax_recovery", "bytewax, confluent_kafka", "recovery on, snapshots", apart=True
    ),
    "quix": peer("quix_changelog", "quixstreams", "RocksDB and changelog", apart=True),
    "faust": peer("faust_stock", "faust", "stock, tables with changelogs", cap=20_000),
    "hoso-memory": hoso("memory"),
    "hoso-rocksdb": hoso("rocksdb"),
}
