"""``python -m bench.reads``: how fast figures are read, and what reading does to a worker.

One worker on the embedded broker holds three years of months of all 91 agencies. First one reader
at a time asks /metrics, and /api/v1/indicators for random days, periods and definitions. Then
several readers ask for figures without a pause while another process asks for the cheap /readyz:
what that takes is how long the worker's event loop, which also takes in events, is blocked.
"""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import random
import time
from datetime import date, datetime, timedelta
from multiprocessing.synchronize import Event
from typing import Any

import click
from rich.console import Console

from bench.engines import counted_by
from bench.loading import fresh_broker, load
from bench.percentiles import milliseconds
from bench.printing import print_measured
from bench.worker import Worker
from bench.workload import ICT, agencies, make

START = datetime(2020, 1, 1, 8, tzinfo=ICT)
DAYS = 3 * 365 + 1
YEARS = (2020, 2021, 2022, 2023)
DEFINITIONS = ("mic-2022", "qd766", "emc-2024")
PERIODS = ("month", "quarter", "half", "year")


def random_paths(count: int, seed: int) -> list[str]:
    """Paths of /api/v1/indicators for random days of the three years."""
    rng = random.Random(seed)
    return [
        f"/api/v1/indicators?period={rng.choice(PERIODS)}"
        f"&as_of={date(2020, 1, 1) + timedelta(days=rng.randrange(DAYS))}"
        f"&definition={rng.choice(DEFINITIONS)}"
        for _ in range(count)
    ]


def ask(port: int, paths: list[str], pause: float = 0.0) -> list[float]:
    """Seconds of each request, one after the other. Raises ValueError for any but a 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    took = []
    for path in paths:
        asked = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        took.append(time.perf_counter() - asked)
        if answer.status != 200:
            raise ValueError(f"{path}: {answer.status}")
        time.sleep(pause)
    connection.close()
    return took


def _read_on(port: int, seed: int, until: Event) -> None:
    paths = random_paths(20, seed)
    while not until.is_set():
        ask(port, ["/metrics", *paths])


def blocked(port: int, readers: int, seconds: float) -> list[float]:
    """Seconds of each /readyz during ``seconds`` in which ``readers`` read without a pause.

    Measured here, while the readers are processes of their own. Raises RuntimeError if one died.
    """
    context = multiprocessing.get_context("spawn")
    until = context.Event()
    processes = [
        context.Process(target=_read_on, args=(port, seed, until), daemon=True)
        for seed in range(readers)
    ]
    for process in processes:
        process.start()
    try:
        took: list[float] = []
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            took += ask(port, ["/readyz"], pause=0.005)
        if not all(process.is_alive() for process in processes):
            raise RuntimeError("a reader died")
    finally:
        until.set()
        for process in processes:
            process.join(60)
    return took


def reads(events: int, requests: int, readers: int, seconds: float) -> dict[str, Any]:
    """Measure; raises ValueError when the worker counted wrong."""
    workload = make(events, start=START, minutes=DAYS * 24 * 60 - 12 * 60)
    expected = {agency: row[:3] for agency, row in workload.by_agency.items()}
    with fresh_broker() as bootstrap:
        asyncio.run(load(bootstrap, workload))
        worker = Worker(bootstrap)
        try:
            worker.wait_ready()
            worker.wait_taken_in(len(workload.events) + len(workload.reference))
            counted = {agency: row[:3] for agency, row in counted_by(worker, YEARS).items()}
            if counted != expected:
                raise ValueError("the worker counted wrong")
            return {
                "metrics": milliseconds(ask(worker.port, ["/metrics"] * requests)),
                "indicators": milliseconds(ask(worker.port, random_paths(requests, seed=2022))),
                "readyz_idle": milliseconds(ask(worker.port, ["/readyz"] * requests, pause=0.005)),
                "readyz_under_reads": milliseconds(blocked(worker.port, readers, seconds)),
                "readers": readers,
                "agencies": len(agencies()),
                "days": DAYS,
                "events": len(workload.events),
            }
        finally:
            worker.stop()


def lines(result: dict[str, Any]) -> list[str]:
    """The result, a line for each figure."""
    shown = {
        "metrics": f"GET /metrics, {result['agencies']} agencies",
        "indicators": f"GET /api/v1/indicators, random days of {result['days']}",
        "readyz_idle": "GET /readyz, nothing else going on",
        "readyz_under_reads": f"GET /readyz while {result['readers']} readers read (loop lag)",
    }
    return [
        f"{name}: p50 {result[key]['p50_ms']:.1f} ms, p99 {result[key]['p99_ms']:.1f} ms, "
        f"max {result[key]['max_ms']:.1f} ms of {result[key]['n']:,}"
        for key, name in shown.items()
    ]


@click.command()
@click.option("--events", default=200_000, show_default=True, type=click.IntRange(1000))
@click.option("--requests", default=300, show_default=True, type=click.IntRange(10))
@click.option("--readers", default=4, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=15.0, show_default=True, type=click.FloatRange(1))
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout")
def main(events: int, requests: int, readers: int, seconds: float, as_json: bool) -> None:
    """Measure reads of figures, and how long they block the event loop."""
    Console(stderr=True).print(f"three years of months from {events:,} events…")
    print_measured(
        lambda: reads(events, requests, readers, seconds),
        lambda found: "\n".join(lines(found)),
        as_json,
    )


if __name__ == "__main__":
    main()
