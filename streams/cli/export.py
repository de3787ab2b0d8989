"""``hoso export``: the register's past in the formats of other systems."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

import click

from streams.cli.errors import Commands, Failure
from streams.cli.questions import DayType, open_register
from streams.cli.running import load_settings, run
from streams.cli.terminal import progress, say
from streams.domain.calendar import ZONE
from streams.domain.definitions import DEFINITIONS
from streams.domain.ledger import Months
from streams.settings import Settings


@click.group(cls=Commands)
def export() -> None:
    """The register's past for other systems."""


@export.command()
@click.option("--from", "first", type=DayType(), metavar="DATE", required=True, help="First day.")
@click.option(
    "--to", "last", type=DayType(), metavar="DATE", required=True, help="Last day, included."
)
@click.option(
    "--definition",
    type=click.Choice(list(DEFINITIONS)),
    help="How the indicators are counted.  [default: HOSO_DEFINITION]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [default: standard output]",
)
def openmetrics(first: date, last: date, definition: str | None, output: Path | None) -> None:
    """Write daily samples of every state metric as OpenMetrics text.

    For Prometheus' past, by `promtool tsdb create-blocks-from openmetrics` (docs/metrics.md). A
    day's sample is what /metrics shows at its last second, from the topics agency-months, agencies
    and targets. When an agency was last heard of is not in it: that is known as of now only.
    """
    settings = load_settings()
    if first > last:
        raise Failure(f"--from {first} is after --to {last}")
    today = datetime.now(ZONE).date()
    if last >= today:
        raise Failure(f"--to {last} is not over yet: the last whole day is before {today}")
    run(_openmetrics(settings, first, last, definition or settings.definition, output), settings)


async def _openmetrics(
    settings: Settings, first: date, last: date, definition: str, output: Path | None
) -> None:
    from streams.metrics.backfill import write_openmetrics
    from streams.metrics.collector import AgencyState

    async with open_register(settings) as (register, reference):
        # Opened only now, so that a broker that does not answer leaves an older file as it was.
        target: Any = (
            nullcontext(click.get_text_stream("stdout", encoding="utf-8"))
            if output is None
            else output.open("w", encoding="utf-8", newline="\n")
        )
        months, agencies = register.months(), sorted(reference.agencies.values())
        with progress() as bar, target as out:
            task = bar.add_task("agencies", total=len(agencies))
            file: IO[str] = out
            samples = write_openmetrics(
                file,
                (AgencyState(one, months.get(one.code, Months()), None) for one in agencies),
                reference.targets,
                definition,
                first.toordinal(),
                last.toordinal(),
                lambda: bar.advance(task),
            )
    days = (last - first).days + 1
    say(f"{samples:,} samples of {days:,} days", err=True)
