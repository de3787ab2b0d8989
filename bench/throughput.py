"""``python -m bench.throughput``: events a second of hoso beside named baselines, in one run.

Every round runs every engine once, interleaved, each on a fresh broker that holds the same events,
so that noise of the machine hits all alike. What an engine counted, agency by agency, is compared
with what was sent before its speed is quoted: an engine that counted wrong has no speed. The
quotable figures are the ratios of the medians to the first engine.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.counts import differences
from bench.engines import ENGINES, Engine, FailedError, Run, UnavailableError
from bench.loading import BROKERS, fresh_broker, load
from bench.workload import Workload, make

DEFAULT_EVENTS = 400_000
DEFAULT_ROUNDS = 5


def measure(engine: Engine, workload: Workload, broker: str = "embedded") -> Run:
    """One run of one engine on a broker of its own.

    Raises FailedError for a wrong count, and for a run too short to be timed.
    """
    with fresh_broker(broker) as bootstrap:
        asyncio.run(load(bootstrap, workload))
        try:
            run = engine.run(bootstrap, len(workload.events), len(workload.reference))
        except (RuntimeError, TimeoutError) as error:
            said = str(error).strip().splitlines() or [""]
            raise FailedError(f"{type(error).__name__}: {said[-1][:300]}") from error
    wrong = differences(run.counted, workload.by_agency)
    if wrong:
        raise FailedError(f"wrong for {len(wrong)} agencies; {wrong[0]}")
    if run.events <= 0 or run.seconds <= 0:
        raise FailedError("too few events to be timed")
    return run


class Comparison:
    """The runs of some engines, the first of which is the baseline."""

    def __init__(self, names: Sequence[str], events: int, rounds: int, broker: str) -> None:
        self.names = list(names)
        self.rounds = rounds
        self.broker = broker
        self.sizes = {name: min(events, ENGINES[name].cap or events) for name in names}
        self.runs: dict[str, list[Run]] = {name: [] for name in names}
        self.unavailable: dict[str, str] = {}
        self.failed: dict[str, str] = {}

    def measure(self, err: Console) -> None:
        """Run everything. An engine that cannot be run, or breaks, is left out with its reason."""
        for name in self.names:
            try:
                ENGINES[name].check()
            except UnavailableError as error:
                self.unavailable[name] = str(error)
                err.print(f"{name} is left out: {error}", markup=False)
        workloads = {}
        for size in sorted({self.sizes[name] for name in self._in()}):
            err.print(f"making {size:,} events…")
            workloads[size] = make(size)
        for turn in range(self.rounds):
            for name in self._in():
                try:
                    run = measure(ENGINES[name], workloads[self.sizes[name]], self.broker)
                except FailedError as error:
                    self.failed[name] = str(error)
                    err.print(f"round {turn + 1} {name} is left out: {error}", markup=False)
                    continue
                self.runs[name].append(run)
                err.print(_line(turn + 1, name, run))

    def _in(self) -> list[str]:
        return [n for n in self.names if n not in self.unavailable and n not in self.failed]

    def rates(self) -> dict[str, list[float]]:
        """Engine → events a second of each round; only engines that were right every time."""
        return {name: [run.events / run.seconds for run in self.runs[name]] for name in self._in()}

    def result(self) -> dict[str, Any]:
        """Everything, as it goes to JSON. No ratios when the baseline was left out."""
        rates = self.rates()
        medians = {name: statistics.median(found) for name, found in rates.items()}
        base = medians.get(self.names[0])
        return {
            "ratios": {
                name: round(median / base, 4)
                for name, median in medians.items()
                if base and name != self.names[0]
            },
            "events_per_second": {
                name: [round(rate) for rate in found] for name, found in rates.items()
            },
            "events": max(self.sizes.values()),
            "rounds": self.rounds,
            "recovery_rows_per_second": {
                name: [
                    round(run.recovery.rows / max(run.recovery.seconds, 1e-3))
                    for run in self.runs[name]
                    if run.recovery
                ]
                for name in rates
                if any(run.recovery for run in self.runs[name])
            },
            "medians": {name: round(median) for name, median in medians.items()},
            "baseline": self.names[0],
            "broker": self.broker,
            "fewer_events": {
                name: size
                for name, size in self.sizes.items()
                if name in rates and size < max(self.sizes.values())
            },
            "left_out": {**self.unavailable, **self.failed},
        }


def _line(turn: int, name: str, run: Run) -> str:
    line = f"round {turn} {name}: {run.events / run.seconds:,.0f} events/s, right"
    if run.recovery is not None:
        line += (
            f"; killed: {run.recovery.rows:,} rows recovered at "
            f"{run.recovery.rows / max(run.recovery.seconds, 1e-3):,.0f} rows/s, "
            f"ready after {run.recovery.until_ready:.1f} s"
        )
    return line


def table(result: dict[str, Any]) -> Table:
    """The result for people, fastest last."""
    base = result["baseline"]
    shown = Table(
        "engine",
        "what",
        "median events/s",
        "min–max",
        f"ratio to {base}",
        title=f"{result['events']:,} events, {result['rounds']} rounds, {result['broker']} broker",
    )
    for name, median in sorted(result["medians"].items(), key=lambda pair: pair[1]):
        rates = result["events_per_second"][name]
        what = ENGINES[name].what
        if name in result["fewer_events"]:
            what += f"; only {result['fewer_events'][name]:,} events"
        ratio = 1.0 if name == base else result["ratios"].get(name)
        shown.add_row(
            name,
            what,
            f"{median:,}",
            f"{min(rates):,}–{max(rates):,}",
            "–" if ratio is None else f"{ratio:.3f}",
        )
    for name, reason in result["left_out"].items():
        shown.add_row(name, f"left out: {reason}", "–", "–", "–")
    return shown


def output() -> Console:
    """Standard output; wide enough for the table when it is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def parse_engines(given: str) -> list[str]:
    """``all`` or comma-separated names. Raises click.UsageError for an unknown one."""
    names = list(ENGINES) if given == "all" else given.split(",")
    unknown = [name for name in names if name not in ENGINES]
    if unknown:
        raise click.UsageError(f"unknown engines {unknown}; known: all, {', '.join(ENGINES)}")
    return names


@click.command()
@click.option(
    "--engines",
    default="bare-aiokafka,hoso-memory",
    show_default=True,
    help="comma-separated, or all; the first is the baseline",
)
@click.option("--rounds", default=DEFAULT_ROUNDS, show_default=True, type=click.IntRange(1))
@click.option("--events", default=DEFAULT_EVENTS, show_default=True, type=click.IntRange(1000))
@click.option("--broker", default="embedded", show_default=True, type=click.Choice(BROKERS))
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="draw a PNG (needs matplotlib)"
)
def main(
    engines: str, rounds: int, events: int, broker: str, as_json: bool, plot: Path | None
) -> None:
    """Measure throughput, interleaved, and print ratios to the first engine.

    Exit code 1 if an engine counted wrong or broke. One that is not installed is left out.
    """
    comparison = Comparison(parse_engines(engines), events, rounds, broker)
    comparison.measure(Console(stderr=True))
    result = comparison.result()
    if plot is not None:
        from bench.plot import draw

        draw(result, plot)
    if as_json:
        json.dump(result, sys.stdout)
        print()
    else:
        output().print(table(result))
    if comparison.failed or not comparison.rates():
        raise SystemExit(1)


if __name__ == "__main__":
    main()
