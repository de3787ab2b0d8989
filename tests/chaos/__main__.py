"""Run a campaign: ``python -m tests.chaos --brokers apache --store rocksdb --seed 1``.

Exit code 0 when nothing differs, 1 when something does, 2 when it could not be run.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from random import SystemRandom
from typing import Literal

import click

from tests.chaos import report
from tests.chaos.campaign import Campaign, Store
from tests.chaos.schedule import FULL, MEDIUM, NODES, QUICK, plan, tally
from tests.kafka.apache import KafkaUnavailableError


@click.command()
@click.option("--brokers", type=click.Choice(["apache", "embedded"]), default="apache")
@click.option("--store", type=click.Choice(["memory", "rocksdb"]), default="rocksdb")
@click.option("--medium", "size", flag_value="medium", help="About five minutes.")
@click.option("--quick", "size", flag_value="quick", help="About one minute, as in CI.")
@click.option("--seed", type=int, help="Of events and faults; a random one if not given.")
@click.option("--minutes", type=float, help="Spread the same faults and events over so long.")
@click.option("--events", type=int, help="Send so many instead.")
@click.option("--directory", type=click.Path(path_type=Path), help="For logs and data; kept.")
@click.option("--write-report", is_flag=True, help="Put the result into docs/reliability.md.")
def main(
    brokers: Literal["apache", "embedded"],
    store: Store,
    size: str | None,
    seed: int | None,
    minutes: float | None,
    events: int | None,
    directory: Path | None,
    write_report: bool,
) -> None:
    """Run workers on real brokers, break everything, and compare every figure at the end."""
    profile = {"medium": MEDIUM, "quick": QUICK}.get(size or "", FULL)
    if brokers == "embedded":
        profile = profile.on(4)
    if minutes is not None:
        profile = profile.lasting(minutes * 60)
    if events is not None:
        profile = replace(profile, events=events)
    if seed is None:
        seed = SystemRandom().randrange(10**6)
    command = f"python -m tests.chaos --brokers {brokers} --store {store}"
    command += f" --{size}" if size else ""
    command += f" --minutes {minutes:g}" if minutes is not None else ""
    command += f" --events {events}" if events is not None else ""
    command += f" --seed {seed}"
    click.echo(shlex.join(shlex.split(command)))
    nodes = NODES if brokers == "apache" else 1
    planned = tally(plan(seed, profile, nodes=nodes, on_disk=store == "rocksdb"))
    click.echo("faults: " + ", ".join(f"{kind} {count}" for kind, count in planned.items()))
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="hoso-chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    click.echo(f"logs: {directory}")
    began = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"[{time.monotonic() - began:6.0f}] {line}")

    try:
        outcome = asyncio.run(Campaign(profile, brokers, store, seed, directory, say).run())
    except KafkaUnavailableError as error:
        click.echo(error, err=True)
        sys.exit(2)
    click.echo(report.text(outcome, command))
    if write_report:
        report.write(outcome, command)
    sys.exit(0 if outcome.good else 1)


if __name__ == "__main__":
    main()
