"""Many seeds of the simulation without a broker: ``python -m tests.chaos.simulate --seeds 50000``.

Stops at the first seed that fails and prints it; ``HOSO_TEST_SEED=N pytest tests/processing -k
any_schedule`` replays it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import traceback
from random import SystemRandom

import click
from rich.progress import track

from tests.processing.test_crashes import _random_run


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--first", type=int, help="The first seed; the others follow it.")
def main(seeds: int, first: int | None) -> None:
    """Run so many simulations; exit code 1 if one fails."""
    if first is None:
        first = SystemRandom().randrange(10**9)
    click.echo(f"seeds {first} to {first + seeds - 1}")
    for seed in track(range(first, first + seeds), "simulating"):
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                asyncio.run(_random_run(seed))
        except Exception:
            traceback.print_exc()
            click.echo(said.getvalue()[-4000:], err=True)
            click.echo(f"HOSO_TEST_SEED={seed}", err=True)
            sys.exit(1)
    click.echo("no figure differs")


if __name__ == "__main__":
    main()
