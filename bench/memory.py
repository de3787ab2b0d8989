"""``python -m bench.memory``: resident bytes a dossier costs a worker, rows in memory.

A worker takes in one submission per dossier; the growth of its resident set over all of them,
divided by their number. What it counted is compared first.
"""

from __future__ import annotations

import asyncio
import json
import sys

import click
from rich.console import Console

from bench.loading import fresh_broker, load
from bench.worker import Worker
from bench.workload import make


@click.command()
@click.option("--dossiers", default=1_000_000, show_default=True, type=click.IntRange(1000))
@click.option(
    "--store", default="memory", show_default=True, type=click.Choice(["memory", "rocksdb"])
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout")
def main(dossiers: int, store: str, as_json: bool) -> None:
    """Measure the resident bytes per dossier."""
    err = Console(stderr=True)
    workload = make(dossiers, statuses=(), duplicates=0)
    with fresh_broker() as bootstrap:
        err.print(f"sending {dossiers:,} submissions…")
        asyncio.run(load(bootstrap, workload))
        records = len(workload.events) + len(workload.reference)
        del workload.events[:]
        worker = Worker(bootstrap, store)
        try:
            worker.wait_ready()
            before = worker.rss
            worker.wait_taken_in(records)
            answer = worker.get("/api/v1/indicators?period=year&as_of=2022-12-31")
            counted = sum(json.loads(answer)["rows"][0]["dossiers_submitted"].values())
            after = worker.rss
        finally:
            worker.stop()
    if counted != workload.expected.dossiers:
        raise click.ClickException(f"counted {counted}, expected {workload.expected.dossiers}")
    per_dossier = (after - before) / dossiers
    if as_json:
        json.dump({"bytes_per_dossier": round(per_dossier, 1), "dossiers": dossiers}, sys.stdout)
        print()
    else:
        print(
            f"{dossiers:,} dossiers: {before / 1e6:,.0f} MB → {after / 1e6:,.0f} MB, "
            f"{per_dossier:,.0f} bytes a dossier ({store})"
        )


if __name__ == "__main__":
    main()
