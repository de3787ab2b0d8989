"""``python -m bench.readers``: the public reads while events come in.

One worker takes in a steady stream and holds two years of months before it; two ``hoso web`` serve
readers. Each reader asks for one thing after another, with a random pause like a person's: a page,
the API or CSV, of a random day, period and definition. Measured are their answers, by kind, and how
fresh the worker's /metrics is, with the readers and without them, each on a broker of its own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
import click
from rich.console import Console

from bench.freshness import live, measured
from bench.loading import fresh_broker, load
from bench.percentiles import milliseconds
from bench.printing import print_measured
from bench.reads import DAYS, DEFINITIONS, PERIODS, START
from bench.worker import Worker
from bench.workload import agencies, make

HISTORY_DAYS = 690
"""All of it ends before the year of the live events."""
_FIRST_OF_HISTORY = 10_000_000
"""The number of the first dossier of history: live ones have others."""

KINDS = ("page", "csv", "api")


def random_path(rng: random.Random, codes: list[str]) -> tuple[str, str]:
    """What a reader asks for: its kind and its path."""
    day = date(START.year, 1, 1) + timedelta(days=rng.randrange(DAYS))
    query = f"period={rng.choice(PERIODS)}&as_of={day}&definition={rng.choice(DEFINITIONS)}"
    kind = rng.choices(KINDS, (6, 1, 3))[0]
    page = rng.choice(("/", f"/agencies/{rng.choice(codes)}", "/why"))
    path = {
        "page": f"{page}?{query}&lang={rng.choice(('vi', 'en'))}",
        "csv": f"/?{query}&format=csv",
        "api": f"/api/v1/indicators?{query}",
    }[kind]
    return kind, path


async def _read(ports: list[int], readers: int, pause: float, until: asyncio.Event) -> Any:
    """(Kind → seconds of each answer, what went wrong → how often)."""
    codes = [code for code, _, _ in agencies()]
    took: defaultdict[str, list[float]] = defaultdict(list)
    wrong: Counter[str] = Counter()

    async def reader(session: aiohttp.ClientSession, number: int) -> None:
        rng = random.Random(number)
        port = ports[number % len(ports)]
        while not until.is_set():
            try:
                async with asyncio.timeout(rng.uniform(0, 2 * pause)):
                    await until.wait()
            except TimeoutError:
                pass
            kind, path = random_path(rng, codes)
            asked = time.perf_counter()
            try:
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    await answer.read()
                    if answer.status != 200:
                        wrong[f"{answer.status} {path.partition('?')[0]}"] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                wrong[type(error).__name__] += 1
            took[kind].append(time.perf_counter() - asked)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=60)
    ) as session:
        await asyncio.gather(*(reader(session, number) for number in range(readers)))
    return dict(took), dict(wrong)


def _reading(ports: list[int], readers: int, pause: float, pipe: Connection) -> None:
    async def run() -> None:
        until = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), until.set)
        reading = asyncio.create_task(_read(ports, readers, pause, until))
        await until.wait()
        asyncio.get_running_loop().remove_reader(pipe.fileno())
        pipe.send(await reading)

    asyncio.run(run())


@contextmanager
def public(ports: list[int], readers: int, pause: float) -> Iterator[dict[str, Any]]:
    """Readers in a process of its own; what they found is there when it ends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_reading, args=(ports, readers, pause, there), daemon=True)
    process.start()
    found: dict[str, Any] = {}
    try:
        yield found
        here.send(None)
        if not here.poll(120):
            raise TimeoutError("the readers did not stop")
        took, found["wrong"] = here.recv()
        found |= {kind: milliseconds(took[kind]) for kind in KINDS if took.get(kind)}
    finally:
        process.kill()
        process.join()


def readers(rate: int, seconds: float, many: int, webs: int, pause: float) -> dict[str, Any]:
    """Measure; raises ValueError when a figure is wrong or the rate was not reached."""
    found: dict[str, Any] = {
        "readers": many, "webs": webs, "pause_seconds": pause, "load_before": os.getloadavg()[0]
    }  # fmt: skip
    for name, crowd in (("without", 0), ("with", many)):
        workload = live(rate, seconds)
        history = make(
            60_000, start=START, minutes=HISTORY_DAYS * 1440, first=_FIRST_OF_HISTORY, hours=4
        )
        before = len(workload.reference) + len(history.events)
        with fresh_broker() as bootstrap:
            asyncio.run(load(bootstrap, workload._replace(events=history.events)))
            serving = [Worker(bootstrap)]
            try:
                serving[0].wait_ready()
                serving[0].wait_taken_in(before)
                serving += [Worker(bootstrap, command="web") for _ in range(webs)]
                for web in serving[1:]:
                    web.wait_ready()
                with public([web.port for web in serving[1:]], crowd, pause) as answers:
                    fresh = measured(bootstrap, serving[0], workload, rate, 0.25, before)
            finally:
                for process in serving:
                    process.stop()
        found[name] = {"freshness": fresh, **answers}
    return found


def lines(result: dict[str, Any]) -> list[str]:
    """The result, a line for each figure."""
    fresh, found = (result[name]["freshness"] for name in ("without", "with")), result["with"]
    without, with_ = fresh
    said = [
        f"{result['readers']} readers on {result['webs']} hoso web, one question each every "
        f"{result['pause_seconds']:g} s, at {with_['events_per_second']:,} events/s for "
        f"{with_['seconds']:.0f} s (load before: {result['load_before']:.1f})"
    ]
    for kind in KINDS:
        if kind in found:
            one = found[kind]
            said.append(
                f"{kind}: p50 {one['p50_ms']:.0f} ms, p99 {one['p99_ms']:.0f} ms, max "
                f"{one['max_ms']:.0f} ms of {one['n']:,}"
            )
    said.append(f"refused or failed: {found['wrong'] or 'none'}")
    said.append(
        f"sent → seen in the worker's /metrics: p50 {with_['p50_ms']:.0f} ms, p99 "
        f"{with_['p99_ms']:.0f} ms; without readers {without['p50_ms']:.0f} and "
        f"{without['p99_ms']:.0f} ms"
    )
    return said


@click.command()
@click.option("--rate", default=5000, show_default=True, type=click.IntRange(10))
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(1))
@click.option("--readers", "many", default=200, show_default=True, type=click.IntRange(1))
@click.option("--webs", default=2, show_default=True, type=click.IntRange(1))
@click.option("--pause", default=10.0, show_default=True, help="seconds between two questions")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout")
def main(rate: int, seconds: float, many: int, webs: int, pause: float, as_json: bool) -> None:
    """Measure what the public is answered, and what it does to the worker."""
    Console(stderr=True).print(f"{rate:,} events/s for {seconds:g} s, twice…")
    print_measured(
        lambda: readers(rate, seconds, many, webs, pause),
        lambda found: "\n".join(lines(found)),
        as_json,
    )


if __name__ == "__main__":
    main()
