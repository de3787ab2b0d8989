"""``python -m bench.scale``: one worker and two on the same backlog; ever more dossiers.

``workers``: a worker, then two, each time on a fresh broker with the same backlog. Timed is the
stretch in which all workers take part: from when each of them is ready and has taken something in,
to when nothing is left. Broker and workers share the machine's cores, so two workers can at most
be as much faster as there are cores left for them.

``dossiers``: one worker with RocksDB takes in a backlog of one submission per dossier; events a
second and resident bytes are noted at every million.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import Any

import click
from rich.console import Console

from bench.counts import differences
from bench.engines import counted_by
from bench.loading import fresh_broker, load, send
from bench.printing import print_measured
from bench.worker import Worker
from bench.workload import make

_POLL_SECONDS = 0.05


def left(workers: list[Worker]) -> int:
    """Records that the broker has and the workers have not taken in."""
    return sum(int(json.loads(worker.get("/healthz"))["lag"]) for worker in workers)


def rate_of(workers: list[Worker]) -> float:
    """Events a second of all workers together, which are ready, until nothing is left.

    A partition whose end a worker has not been told yet is not in its lag, so the stretch begins
    where most was left, which is when they know of all. Raises ValueError if nothing ever was.
    """
    samples: list[tuple[float, int]] = []
    until = time.monotonic() + 900
    while not samples or samples[-1][1]:
        if time.monotonic() > until:
            raise TimeoutError("the workers were not done after 900 s")
        samples.append((time.perf_counter(), left(workers)))
        time.sleep(_POLL_SECONDS)
    started, backlog = max(samples, key=lambda sample: sample[1])
    if not backlog:
        raise ValueError("nothing was left when all workers took part: more events are needed")
    return backlog / (samples[-1][0] - started)


def two_workers(events: int) -> dict[str, Any]:
    """Rates of one and of two workers, and their ratio. Raises ValueError for a wrong count."""
    workload = make(events)
    rates = {}
    for count in (1, 2):
        app_id = f"bench-scale-{os.getpid()}-{count}"
        workers: list[Worker] = []
        with fresh_broker() as bootstrap:
            asyncio.run(load(bootstrap, workload))
            try:
                for _ in range(count):
                    workers.append(Worker(bootstrap, app_id=app_id))
                    workers[-1].wait_ready()  # the embedded broker wants one at a time to join
                for worker in workers:
                    worker.wait_ready()
                    worker.wait_taken_in(1, deadline=60)
                rates[count] = rate_of(workers)
                wrong = differences(counted_by(workers[0]), workload.by_agency)
            finally:
                for worker in workers:
                    worker.stop(signal.SIGKILL)
        if wrong:
            raise ValueError(f"{count} workers counted wrong: {wrong[0]}")
    return {
        "one": round(rates[1]),
        "two": round(rates[2]),
        "ratio": round(rates[2] / rates[1], 3),
        "events": len(workload.events),
        "cores": os.cpu_count(),
    }


def more_dossiers(millions: int, each: int = 1_000_000) -> list[dict[str, Any]]:
    """Rate and resident bytes at every ``each`` dossiers with RocksDB.

    Raises ValueError for a wrong count.
    """
    expected = 0
    with fresh_broker() as bootstrap:
        reference = 0
        for number in range(millions):
            part = make(
                each, seed=2022 + number, statuses=(), duplicates=0, first=1 + number * each
            )
            if number == 0:
                reference = len(part.reference)
                asyncio.run(load(bootstrap, part))
            else:
                asyncio.run(send(bootstrap, part.events))
            expected += part.expected.dossiers
            del part
        worker = Worker(bootstrap, "rocksdb")
        steps = []
        try:
            worker.wait_ready()
            taken_in = worker.wait_taken_in(1)
            since = time.perf_counter()
            for number in range(1, millions + 1):
                reached = reference + number * each
                last = number == millions
                now = worker.wait_taken_in(reached) if last else _passed(worker, reached)
                at = time.perf_counter()
                steps.append(
                    {
                        "dossiers": number * each,
                        "events_per_second": round((now - taken_in) / (at - since)),
                        "rss_bytes": worker.rss,
                    }
                )
                taken_in, since = now, at
            counted = sum(row.dossiers for row in counted_by(worker).values())
        finally:
            worker.stop()
    if counted != expected:
        raise ValueError(f"counted {counted} dossiers, expected {expected}")
    return steps


def _passed(worker: Worker, records: int) -> int:
    until = time.monotonic() + 900
    while time.monotonic() < until:
        found = worker.taken_in()
        if found >= records:
            return found
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"not {records:,} records after 900 s")


def lines(result: dict[str, Any]) -> list[str]:
    """The result, a line for each figure."""
    workers = result["workers"]
    return [
        f"1 worker {workers['one']:,} events/s, 2 workers {workers['two']:,}: "
        f"{workers['ratio']:.2f} times ({workers['cores']} cores, broker among them)",
        *(
            f"{step['dossiers']:,} dossiers, rocksdb: {step['events_per_second']:,} events/s, "
            f"{step['rss_bytes'] / 1e6:,.0f} MB resident"
            for step in result["dossiers"]
        ),
    ]


def scale(events: int, millions: int, each: int = 1_000_000) -> dict[str, Any]:
    """Both measurements."""
    return {"workers": two_workers(events), "dossiers": more_dossiers(millions, each)}


@click.command()
@click.option("--events", default=1_000_000, show_default=True, type=click.IntRange(1000))
@click.option("--millions", default=3, show_default=True, type=click.IntRange(1))
@click.option("--each", default=1_000_000, hidden=True, type=click.IntRange(1000))
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout")
def main(events: int, millions: int, each: int, as_json: bool) -> None:
    """Measure 1 → 2 workers on a backlog of --events, and 1 to --millions million dossiers."""
    Console(stderr=True).print(f"{events:,} events for one worker, then for two…")
    print_measured(
        lambda: scale(events, millions, each), lambda found: "\n".join(lines(found)), as_json
    )


if __name__ == "__main__":
    main()
