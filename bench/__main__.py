"""``python -m bench``, which is ``make bench``: every measurement, one after the other.

All engines' throughput, bytes a dossier, freshness, reads, scale. Prints everything at the end,
writes it to bench/results.json, and draws docs/throughput.png. A measurement that fails says why
and is left out; the others go on, and the exit code is 1.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench import freshness, memory, plot, reads, scale, throughput
from bench.engines import ENGINES
from bench.loading import BROKERS

ROOT = Path(__file__).parent.parent


@click.command()
@click.option("--rounds", default=throughput.DEFAULT_ROUNDS, type=click.IntRange(1))
@click.option("--events", default=throughput.DEFAULT_EVENTS, type=click.IntRange(1000))
@click.option("--engines", default="all", help="comma-separated, or all; the first is the baseline")
@click.option("--broker", default="embedded", type=click.Choice(BROKERS), help="for the engines")
@click.option("--seconds", default=30.0, help="of the freshness measurement")
@click.option("--millions", default=3, type=click.IntRange(1), help="dossiers at most, for scale")
@click.option(
    "--results",
    default=ROOT / "bench" / "results.json",
    type=click.Path(dir_okay=False, path_type=Path),
)
@click.option(
    "--plot",
    "picture",
    default=ROOT / "docs" / "throughput.png",
    type=click.Path(dir_okay=False, path_type=Path),
)
def main(
    rounds: int,
    events: int,
    engines: str,
    broker: str,
    seconds: float,
    millions: int,
    results: Path,
    picture: Path,
) -> None:
    """Measure everything and print one report."""
    err = Console(stderr=True)
    names = throughput.parse_engines(engines)
    found: dict[str, Any] = {"machine": machine()}
    failed: dict[str, str] = {}

    def attempt(name: str, measure: Callable[[], Any]) -> None:
        err.rule(name)
        try:
            found[name] = measure()
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {str(error)[-300:]}"
            err.print(f"{name} failed: {failed[name]}", markup=False)

    comparison = throughput.Comparison(names, events, rounds, broker)

    def engines_compared() -> dict[str, Any]:
        comparison.measure(err)
        return comparison.result()

    attempt("throughput", engines_compared)
    attempt("memory", lambda: memory.bytes_per_dossier(1_000_000, "memory"))
    attempt("freshness", lambda: freshness.freshness(5000, seconds, 0.25))
    attempt("reads", lambda: reads.reads(200_000, 300, 4, 15.0))
    attempt("scale", lambda: scale.scale(1_000_000, millions))
    found["failed"] = failed
    results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if found.get("throughput", {}).get("medians"):
        plot.draw(found["throughput"], picture)
    report(found)
    if failed or comparison.failed:
        raise SystemExit(1)


def report(found: dict[str, Any]) -> None:
    """Print all results."""
    out = throughput.output()
    here = found["machine"]
    out.print(
        f"{here['when']}, {here['cores']} cores, load {here['load']}, Python {here['python']}"
    )
    if "throughput" in found:
        out.print(throughput.table(found["throughput"]))
    printed: list[str] = []
    if "memory" in found:
        printed.append(memory.line(found["memory"]))
    if "freshness" in found:
        printed.append(freshness.line(found["freshness"]))
    if "reads" in found:
        printed += reads.lines(found["reads"])
    if "scale" in found:
        printed += scale.lines(found["scale"])
    printed += [f"{name} failed: {reason}" for name, reason in found["failed"].items()]
    for one in printed:
        out.print(one, markup=False, highlight=False, soft_wrap=True)


def machine() -> dict[str, Any]:
    """What it ran on, and how busy that was before."""
    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "engines": list(ENGINES),
    }


if __name__ == "__main__":
    main()
