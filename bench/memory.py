"""``python -m bench.memory``: resident bytes a dossier costs a worker, and reading them all again.

A worker takes in one submission per dossier; the growth of its resident set over all of them,
divided by their number. What it counted is compared first. Then it is killed, and timed is how fast
another one reads, merges and folds the changelog's rows; what that one counts is compared, too.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import click
from rich.console import Console

from bench.engines import recovered
from bench.loading import fresh_broker, load
from bench.printing import print_measured
from bench.worker import Worker
from bench.workload import make


def bytes_per_dossier(dossiers: int, store: str) -> dict[str, Any]:
    """Measure; raises ValueError when one of the two workers counted wrong."""
    workload = make(dossiers, statuses=(), duplicates=0)
    expected = workload.expected.dossiers
    with fresh_broker() as bootstrap:
        asyncio.run(load(bootstrap, workload))
        records = len(workload.events) + len(workload.reference)
        del workload
        worker = Worker(bootstrap, store)
        try:
            worker.wait_ready()
            before = worker.rss
            worker.wait_taken_in(records)
            _must_have(worker, expected)
            after = worker.rss
        finally:
            worker.stop(signal.SIGKILL)
        recovery = recovered(bootstrap, store, worker, lambda heir: _must_have(heir, expected))
    return {
        "bytes_per_dossier": round((after - before) / dossiers, 1),
        "dossiers": dossiers,
        "store": store,
        "rss_before": before,
        "rss_after": after,
        "recovery_rows": recovery.rows,
        "recovery_seconds": round(recovery.seconds, 2),
    }


def _must_have(worker: Worker, expected: int) -> None:
    answer = worker.get("/api/v1/indicators?period=year&as_of=2022-12-31")
    counted = sum(json.loads(answer)["rows"][0]["dossiers_submitted"].values())
    if counted != expected:
        raise ValueError(f"counted {counted}, expected {expected}")


def line(result: dict[str, Any]) -> str:
    """The result in one line."""
    return (
        f"{result['dossiers']:,} dossiers: {result['rss_before'] / 1e6:,.0f} MB → "
        f"{result['rss_after'] / 1e6:,.0f} MB, {result['bytes_per_dossier']:,.0f} bytes a dossier "
        f"({result['store']}); after SIGKILL {result['recovery_rows']:,} changelog rows read, "
        f"merged and folded in {result['recovery_seconds']:.1f} s, "
        f"{result['recovery_rows'] / max(result['recovery_seconds'], 1e-3):,.0f} rows/s"
    )


@click.command()
@click.option("--dossiers", default=1_000_000, show_default=True, type=click.IntRange(1000))
@click.option(
    "--store", default="memory", show_default=True, type=click.Choice(["memory", "rocksdb"])
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout")
def main(dossiers: int, store: str, as_json: bool) -> None:
    """Measure the resident bytes per dossier."""
    Console(stderr=True).print(f"{dossiers:,} submissions…")
    print_measured(lambda: bytes_per_dossier(dossiers, store), line, as_json)


if __name__ == "__main__":
    main()
