"""``python -m bench.freshness``: how long after it was sent an event is seen in /metrics.

A steady stream of events goes to one worker on the embedded broker while a process of its own
scrapes /metrics a few times a second, at random moments. A scrape shows some of the dossiers of an
agency, the first n that were sent (an agency is one partition, so their order holds). So each
scrape tells of every dossier sent before it whether it was seen at that age, which counts from
just before the producer got the event to the scrape's last byte. The p99 is the age from which on
99 of 100 dossiers are seen. That needs no scraping without a pause, which would keep the worker
busy with nothing else, and adds no wait for the next scrape. The resolution is BIN_SECONDS.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import Any

import click
from aiokafka import AIOKafkaProducer
from rich.console import Console

from bench.counts import differences
from bench.engines import counted_by
from bench.loading import PREFIX, fresh_broker, load
from bench.percentiles import milliseconds
from bench.printing import print_measured
from bench.scraping import Scrape, Scraper
from bench.worker import Worker
from bench.workload import Event, Workload, make

WARM_UP_SECONDS = 5.0
"""Events of the first seconds are counted but not timed: connections open, caches fill."""

TICK_SECONDS = 0.005
BIN_SECONDS = 0.005
HORIZON_SECONDS = 4.0
"""Ages are looked at up to here; it is less than the warm-up."""

Sent = dict[str, list[float]]
"""Agency → when each of its dossiers was sent first, in that order."""


def seen_by_age(sent: Sent, scrapes: list[Scrape], since: float) -> list[tuple[int, int]]:
    """(seen, sent) of the dossiers of each age, in steps of BIN_SECONDS up to HORIZON_SECONDS.

    Of the scrapes answered at ``since`` or later; a dossier counts once for each of them.
    """
    bins = [[0, 0] for _ in range(round(HORIZON_SECONDS / BIN_SECONDS))]
    for scrape in scrapes:
        if scrape.answered < since:
            continue
        for agency, times in sent.items():
            shown = scrape.submitted.get(agency, 0)
            first = bisect_right(times, scrape.answered - HORIZON_SECONDS)
            for number in range(first, bisect_left(times, scrape.answered)):
                found = bins[int((scrape.answered - times[number]) / BIN_SECONDS)]
                found[0] += number < shown
                found[1] += 1
    return [(seen, of) for seen, of in bins]


def age_at(bins: list[tuple[int, int]], share: float) -> float:
    """Seconds from which on at least ``share`` of the dossiers of every greater age are seen.

    Raises ValueError when they are not even at the greatest age.
    """
    below = [number for number, (seen, of) in enumerate(bins) if seen < share * of]
    last = max(below, default=-1)
    if last == len(bins) - 1 or not any(of for _, of in bins):
        raise ValueError(f"after {HORIZON_SECONDS:.0f} s not {share:.0%} of the dossiers are seen")
    return (last + 1) * BIN_SECONDS


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
    workload = live(rate, seconds)
    with fresh_broker() as bootstrap:
        asyncio.run(load(bootstrap, workload._replace(events=list[Event]())))
        worker = Worker(bootstrap)
        try:
            worker.wait_ready()
            worker.wait_taken_in(len(workload.reference))
            return measured(bootstrap, worker, workload, rate, pause, len(workload.reference))
        finally:
            worker.stop()


def live(rate: int, seconds: float) -> Workload:
    """What is live is of today: a working day's dossiers, and steps that follow at once."""
    return make(int(rate * (seconds + WARM_UP_SECONDS)), minutes=600, hours=4)


def measured(
    bootstrap: str, worker: Worker, workload: Workload, rate: int, pause: float, before: int
) -> dict[str, Any]:
    """Stream the workload's events to a worker that has processed ``before`` records.

    Raises ValueError when a figure is wrong or the rate was not reached.
    """
    with Scraper(worker.port, pause) as scraper:
        began = time.monotonic()
        sent = asyncio.run(stream(bootstrap, workload, rate))
        took = time.monotonic() - began
        worker.wait_taken_in(len(workload.events) + before)
        scrapes = scraper.stop()
    wrong = differences(counted_by(worker), workload.by_agency)
    if wrong:
        raise ValueError(f"the worker counted wrong: {wrong[0]}")
    reached = len(workload.events) / took
    if reached < 0.95 * rate:
        raise ValueError(f"only {reached:,.0f} events/s could be sent, not {rate:,}")
    timed = [one for one in scrapes if began + WARM_UP_SECONDS <= one.answered <= began + took]
    bins = seen_by_age(sent, timed, began + WARM_UP_SECONDS)
    return {
        "p50_ms": round(age_at(bins, 0.5) * 1000, 1),
        "p99_ms": round(age_at(bins, 0.99) * 1000, 1),
        "resolution_ms": BIN_SECONDS * 1000,
        "events_per_second": round(reached),
        "seconds": round(took - WARM_UP_SECONDS, 1),
        "scrapes": len(timed),
        "scrape": milliseconds([one.answered - one.asked for one in timed]),
    }


def line(result: dict[str, Any]) -> str:
    """The result in one line."""
    return (
        f"sent → seen in /metrics at {result['events_per_second']:,} events/s for "
        f"{result['seconds']:.0f} s: p50 {result['p50_ms']:.0f} ms, p99 {result['p99_ms']:.0f} ms "
        f"(to {result['resolution_ms']:.0f} ms, by {result['scrapes']} scrapes, which took "
        f"{result['scrape']['p50_ms']:.0f} ms themselves)"
    )


@click.command()
@click.option("--rate", default=5000, show_default=True, type=click.IntRange(10))
@click.option("--seconds", default=30.0, show_default=True, type=click.FloatRange(1))
@click.option(
    "--pause", default=0.25, show_default=True, help="seconds between two scrapes, on average"
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout")
def main(rate: int, seconds: float, pause: float, as_json: bool) -> None:
    """Measure how fresh /metrics is."""
    Console(stderr=True).print(f"{rate:,} events/s for {seconds:g} s…")
    print_measured(lambda: freshness(rate, seconds, pause), line, as_json)


if __name__ == "__main__":
    main()
