"""``python -m bench.scale``: one worker and two on the same backlog; ever more dossiers; a restart.

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
from collections import Counter
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console

from bench.counts import differences
from bench.engines import counted_by
from bench.loading import fresh_broker, load, send
from bench.printing import print_measured
from bench.scraping import read_submitted
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


def more_dossiers(
    millions: int, each: int = 1_000_000
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rate and resident bytes at every ``each`` dossiers with RocksDB, and a restart with them all.

    Raises ValueError for a wrong count.
    """
    expected: Counter[str] = Counter()
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
            expected.update({code: row.dossiers for code, row in part.by_agency.items()})
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
            _must_be(_submitted(worker), expected)
        except BaseException:
            worker.stop(signal.SIGKILL)
            raise
        return steps, restart(bootstrap, worker, expected)


def restart(bootstrap: str, worker: Worker, expected: Mapping[str, int]) -> dict[str, Any]:
    """Kill the worker, start another one on its data, and time it until its figures are right.

    Raises ValueError when it is ready with wrong ones.
    """
    killed_at = time.perf_counter()
    worker.stop(signal.SIGKILL)
    successor = Worker(bootstrap, "rocksdb", app_id=worker.app_id, directory=worker.directory)
    try:
        successor.wait_ready(900)
        ready = time.perf_counter() - killed_at
        shown = read_submitted(successor.get("/metrics").encode())
        publishing = time.perf_counter() - killed_at
        _must_be(shown, expected)
        successor.wait_taken_in(0)
        _must_be(_submitted(successor), expected)
        recovery = json.loads(successor.get("/readyz"))["recovery"]
        return {
            "dossiers": sum(expected.values()),
            "ready_seconds": round(ready, 2),
            "publishing_seconds": round(publishing, 2),
            "recovery_seconds": round(recovery["seconds"], 2),
            "recovery_rows": recovery["rows"],
            "rss_bytes": successor.rss,
        }
    finally:
        successor.stop(signal.SIGKILL)


def _submitted(worker: Worker) -> dict[str, int]:
    return {agency: row.dossiers for agency, row in counted_by(worker).items()}


def _must_be(counted: Mapping[str, int], expected: Mapping[str, int]) -> None:
    if counted != expected:
        wrong = sorted(
            code for code in counted.keys() | expected if counted.get(code) != expected.get(code)
        )
        raise ValueError(
            f"dossiers of {len(wrong)} agencies are wrong; {wrong[0]}: "
            f"{counted.get(wrong[0])}, expected {expected.get(wrong[0])}"
        )


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
    workers, restarted = result["workers"], result["restart"]
    return [
        f"1 worker {workers['one']:,} events/s, 2 workers {workers['two']:,}: "
        f"{workers['ratio']:.2f} times ({workers['cores']} cores, broker among them)",
        *(
            f"{step['dossiers']:,} dossiers, rocksdb: {step['events_per_second']:,} events/s, "
            f"{step['rss_bytes'] / 1e6:,.0f} MB resident"
            for step in result["dossiers"]
        ),
        *_drop(result["dossiers"]),
        f"{restarted['dossiers']:,} dossiers, rocksdb, SIGKILL and another worker: ready after "
        f"{restarted['ready_seconds']:.1f} s, every figure in /metrics after "
        f"{restarted['publishing_seconds']:.1f} s; of these recovery "
        f"{restarted['recovery_seconds']:.1f} s ({restarted['recovery_rows']:,} changelog rows); "
        f"{restarted['rss_bytes'] / 1e6:,.0f} MB resident",
    ]


def _drop(steps: list[dict[str, Any]]) -> list[str]:
    if len(steps) < 2:
        return []
    first, last = steps[0], steps[-1]
    ratio = last["events_per_second"] / first["events_per_second"]
    return [
        f"{first['dossiers']:,} → {last['dossiers']:,} dossiers, rocksdb: {ratio:.2f} times the "
        f"events/s, {last['rss_bytes'] / first['rss_bytes']:.2f} times the resident bytes"
    ]


def scale(events: int, millions: int, each: int = 1_000_000) -> dict[str, Any]:
    """All measurements."""
    workers = two_workers(events)
    steps, restarted = more_dossiers(millions, each)
    return {"workers": workers, "dossiers": steps, "restart": restarted}


@click.command()
@click.option("--events", default=1_000_000, show_default=True, type=click.IntRange(1000))
@click.option("--millions", default=3, show_default=True, type=click.IntRange(1))
@click.option("--each", default=1_000_000, hidden=True, type=click.IntRange(1000))
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout")
def main(events: int, millions: int, each: int, as_json: bool) -> None:
    """Measure 1 → 2 workers on --events, 1 to --millions million dossiers, and a restart."""
    Console(stderr=True).print(f"{events:,} events for one worker, then for two…")
    print_measured(
        lambda: scale(events, millions, each), lambda found: "\n".join(lines(found)), as_json
    )


if __name__ == "__main__":
    main()
