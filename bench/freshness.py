"""``python -m bench.freshness``: how long after it was sent an event is seen in /metrics.

A steady stream of events goes to one worker on the embedded broker while a process of its own
scrapes /metrics over and over. The n-th dossier of an agency that was sent is seen at the first
scrape that shows n or more of them (an agency is one partition, so their order holds); the time
counts from just before the producer got the event to the scrape's last byte. So the figure holds
the producer's batching, the broker, the worker and the scrape itself, and a wait for the next
scrape: what lies between two scrapes is printed as the resolution. No other load than the scraper.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from itertools import pairwise
from typing import Any

import click
from aiokafka import AIOKafkaProducer
from rich.console import Console

from bench.counts import differences
from bench.engines import counted_by
from bench.loading import PREFIX, fresh_broker, load
from bench.percentiles import milliseconds
from bench.scraping import Scrape, Scraper
from bench.worker import Worker
from bench.workload import Event, Workload, make

WARM_UP_SECONDS = 5.0
"""Events of the first seconds are counted but not timed: connections open, caches fill."""

TICK_SECONDS = 0.005

Sent = dict[str, list[float]]
"""Agency → when each of its dossiers was sent first, in that order."""


def latencies(sent: Sent, scrapes: list[Scrape], since: float) -> list[float]:
    """Seconds from sent to seen, of each dossier sent at ``since`` or later.

    Raises ValueError if one was never seen.
    """
    found = []
    for agency, times in sent.items():
        seen = 0
        for scrape in scrapes:
            shown = scrape.submitted.get(agency, 0)
            found += [scrape.answered - at for at in times[seen:shown] if at >= since]
            seen = max(seen, shown)
        if seen < len(times):
            raise ValueError(f"{agency}: {len(times) - seen} dossiers were never seen")
    return found


async def stream(bootstrap: str, workload: Workload, rate: int) -> Sent:
    """Send the events at ``rate`` a second, evenly, whatever the broker does."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    sent: Sent = defaultdict(list)
    known: set[bytes] = set()
    pending = []
    started = time.monotonic()
    try:
        for number, event in enumerate(workload.events):
            ahead = started + number / rate - time.monotonic()
            if ahead > TICK_SECONDS:
                await asyncio.sleep(TICK_SECONDS)
            if event.topic == "submissions" and event.value not in known:
                known.add(event.value)
                sent[event.key.decode()].append(time.monotonic())
            pending.append(
                await producer.send(PREFIX + event.topic, value=event.value, key=event.key)
            )
        await asyncio.gather(*pending)
    finally:
        await producer.stop()
    return dict(sent)


def freshness(rate: int, seconds: float, pause: float) -> dict[str, Any]:
    """Measure; raises ValueError when a figure is wrong or the rate was not reached."""
    workload = make(int(rate * (seconds + WARM_UP_SECONDS)))
    nothing: list[Event] = []
    with fresh_broker() as bootstrap:
        asyncio.run(load(bootstrap, workload._replace(events=nothing)))
        worker = Worker(bootstrap)
        try:
            worker.wait_ready()
            worker.wait_taken_in(len(workload.reference))
            with Scraper(worker.port, pause) as scraper:
                began = time.monotonic()
                sent = asyncio.run(stream(bootstrap, workload, rate))
                took = time.monotonic() - began
                worker.wait_taken_in(len(workload.events) + len(workload.reference))
                scrapes = scraper.stop()
            wrong = differences(counted_by(worker), workload.by_agency)
        finally:
            worker.stop()
    if wrong:
        raise ValueError(f"the worker counted wrong: {wrong[0]}")
    reached = len(workload.events) / took
    if reached < 0.95 * rate:
        raise ValueError(f"only {reached:,.0f} events/s could be sent, not {rate:,}")
    gaps = [after.answered - one.answered for one, after in pairwise(scrapes)]
    return {
        **milliseconds(latencies(sent, scrapes, began + WARM_UP_SECONDS)),
        "events_per_second": round(reached),
        "seconds": round(took - WARM_UP_SECONDS, 1),
        "between_scrapes": milliseconds(gaps),
        "scrape": milliseconds([scrape.answered - scrape.asked for scrape in scrapes]),
    }


def line(result: dict[str, Any]) -> str:
    """The result in one line."""
    return (
        f"sent → seen in /metrics at {result['events_per_second']:,} events/s for "
        f"{result['seconds']:.0f} s: p50 {result['p50_ms']:.0f} ms, p99 {result['p99_ms']:.0f} ms, "
        f"max {result['max_ms']:.0f} ms (resolution: a scrape every "
        f"{result['between_scrapes']['p50_ms']:.0f} ms, p99 "
        f"{result['between_scrapes']['p99_ms']:.0f} ms)"
    )


@click.command()
@click.option("--rate", default=5000, show_default=True, type=click.IntRange(10))
@click.option("--seconds", default=30.0, show_default=True, type=click.FloatRange(1))
@click.option(
    "--pause", default=0.01, show_default=True, help="seconds between two scrapes (they cost time)"
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout")
def main(rate: int, seconds: float, pause: float, as_json: bool) -> None:
    """Measure how fresh /metrics is."""
    Console(stderr=True).print(f"{rate:,} events/s for {seconds:g} s…")
    try:
        result = freshness(rate, seconds, pause)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        json.dump(result, sys.stdout)
        print()
    else:
        print(line(result))


if __name__ == "__main__":
    main()
