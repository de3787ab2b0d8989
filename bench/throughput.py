"""``python -m bench.throughput``: events a second of hoso beside named baselines, in one run.

Every round runs every engine once, interleaved, each on a fresh embedded broker that holds the
same events, so that noise of the machine hits all alike. What an engine counted is compared with
what was sent before its speed is quoted. The quotable figures are the ratios of the medians to
the first engine.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from typing import Any

import click
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table

from bench.engines import ENGINES, PREFIX, Run
from bench.workload import Event, Workload, make
from streams.kafka.broker import EmbeddedBroker
from streams.kafka.topics import catalogue, create_missing


async def load(bootstrap: str, workload: Workload, partitions: int = 12) -> None:
    """Create the contract's topics and put the workload into them."""
    await create_missing({"bootstrap_servers": bootstrap}, catalogue(partitions=partitions))
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", linger_ms=20, max_batch_size=500_000
    )
    await producer.start()
    try:
        await _send(producer, workload.reference)
        await _send(producer, workload.events)
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, events: list[Event]) -> None:
    pending = [
        await producer.send(PREFIX + event.topic, value=event.value, key=event.key)
        for event in events
    ]
    await asyncio.gather(*pending)


def measure(engine: str, workload: Workload) -> Run:
    """One run of one engine on a broker of its own. Raises ``ValueError`` for a wrong count."""
    with EmbeddedBroker() as broker:
        asyncio.run(load(broker.bootstrap, workload))
        run = ENGINES[engine](broker.bootstrap, len(workload.events), len(workload.reference))
    if run.counted != workload.expected:
        raise ValueError(f"{engine} counted {run.counted}, expected {workload.expected}")
    return run


@click.command()
@click.option(
    "--engines",
    default="bare-aiokafka,hoso-memory",
    show_default=True,
    help="comma-separated; the first is the baseline",
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--events", default=200_000, show_default=True, type=click.IntRange(1000))
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout")
def main(engines: str, rounds: int, events: int, as_json: bool) -> None:
    """Measure throughput, interleaved, and print ratios to the first engine."""
    names = engines.split(",")
    unknown = [name for name in names if name not in ENGINES]
    if unknown:
        raise click.UsageError(f"unknown engines {unknown}; known: {', '.join(ENGINES)}")
    err = Console(stderr=True)
    err.print(f"making {events:,} events…")
    workload = make(events)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names:
            run = measure(name, workload)
            runs[name].append(run)
            line = f"round {turn + 1} {name}: {run.events / run.seconds:,.0f} events/s, right"
            if run.recovery is not None:
                line += (
                    f"; killed: {run.recovery.rows:,} rows recovered at "
                    f"{run.recovery.rows / max(run.recovery.seconds, 1e-3):,.0f} rows/s, "
                    f"ready after {run.recovery.until_ready:.1f} s"
                )
            err.print(line)
    rates = {name: [run.events / run.seconds for run in done] for name, done in runs.items()}
    medians = {name: statistics.median(found) for name, found in rates.items()}
    ratios = {name: medians[name] / medians[names[0]] for name in names[1:]}
    result: dict[str, Any] = {
        "ratios": {name: round(ratio, 4) for name, ratio in ratios.items()},
        "events_per_second": {
            name: [round(rate) for rate in found] for name, found in rates.items()
        },
        "events": len(workload.events),
        "rounds": rounds,
        "recovery_rows_per_second": {
            name: [
                round(r.recovery.rows / max(r.recovery.seconds, 1e-3)) for r in done if r.recovery
            ]
            for name, done in runs.items()
            if any(r.recovery for r in done)
        },
    }
    if as_json:
        json.dump(result, sys.stdout)
        print()
        return
    table = Table("engine", "median events/s", "min–max", f"ratio to {names[0]}")
    for name in names:
        table.add_row(
            name,
            f"{medians[name]:,.0f}",
            f"{min(rates[name]):,.0f}–{max(rates[name]):,.0f}",
            f"{medians[name] / medians[names[0]]:.3f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
