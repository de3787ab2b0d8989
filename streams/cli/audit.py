"""``hoso audit``: every figure once more, from the raw events, by other code."""

from __future__ import annotations

import gc
import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from streams.cli.errors import ANSWER_IS_NO, Failure
from streams.cli.running import load_settings, require_topics, run
from streams.cli.terminal import NOTHING, out, progress, say, say_json
from streams.kafka.topics import SHORT_NAMES
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.audit.audit import Outcome

_SHOWN = 200


class _Day(click.ParamType):
    """A date YYYY-MM-DD."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
        if day is None or day.isoformat() != value:
            self.fail(f"{value!r} is not a date YYYY-MM-DD", param, ctx)
        return day


@click.command()
@click.option(
    "--as-of",
    type=_Day(),
    metavar="YYYY-MM-DD",
    help="Audit this day only.  [default: the last day of every month, and the latest day]",
)
@click.option(
    "--url",
    metavar="http://HOST:PORT",
    help="Also hold the answers of this worker's API against the events.",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds for the workers to catch up, and for a register in use to hold still.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="json lists every difference, the table the first of them.",
)
def audit(as_of: date | None, url: str | None, wait: float, form: str) -> None:
    """Recount every figure from the event topics and compare with what is published.

    The recount shares no code with the workers: it reads the raw records anew, judges them anew and
    counts them anew. Compared are the topic agency-months, cell by cell and figure by figure (all
    periods, definitions, agencies and groups), and which records were rejected; with --url also
    what a worker's API answers.

    Exit code 0: no difference. 1: differences, each listed. 2: it could not be done, for instance
    because the workers were still behind after --wait seconds. See docs/audit.md.
    """
    settings = load_settings()
    outcome = run(_audit(settings, as_of, url, wait), settings)
    if form == "json":
        say_json(_as_json(outcome))
    else:
        _print(outcome)
    if outcome.differences or outcome.unvouched:
        sys.exit(ANSWER_IS_NO)


async def _audit(settings: Settings, as_of: date | None, url: str | None, wait: float) -> Outcome:
    from streams.audit.audit import Audit, BehindError, MovingError, NoAnswerError

    topics = [settings.topic(name) for name in SHORT_NAMES]
    changelogs = [settings.changelog(table) for table in ("dossiers", "services")]
    await require_topics(settings, *topics, *changelogs)
    # Millions of rows without a cycle in them: the collector would walk them again and again.
    gc.freeze()
    gc.set_threshold(200_000, 50, 1000)
    with progress() as bar:
        task = bar.add_task("recounting", total=None)
        audit = Audit(
            settings,
            as_of=as_of,
            url=url,
            wait=wait,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        try:
            return await audit.run()
        except (BehindError, MovingError, NoAnswerError) as error:
            raise Failure(str(error)) from error


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "differences": [difference._asdict() for difference in outcome.differences],
        "records": outcome.records,
        "facts": outcome.facts,
        "rejected": outcome.refused,
        "left_out": dict(outcome.left_out),
        "accepted_by_earlier_registrations": dict(outcome.strangers),
        "unvouched": outcome.unvouched,
        "agencies": outcome.agencies,
        "days": [day.isoformat() for day in outcome.days],
        "cells": outcome.cells,
        "answers": outcome.answers,
        "seconds": round(outcome.seconds, 3),
    }


def _print(outcome: Outcome) -> None:
    if outcome.differences:
        table = Table(header_style="bold")
        for title in ("what", "scope", "day", "period", "definition", "figure"):
            table.add_column(title, overflow="fold")
        table.add_column("published", justify="right", overflow="fold")
        table.add_column("recomputed", justify="right", overflow="fold")
        for difference in outcome.differences[:_SHOWN]:
            table.add_row(*(NOTHING if part in ("", None) else str(part) for part in difference))
        out().print(table)
        if len(outcome.differences) > _SHOWN:
            say(f"and {len(outcome.differences) - _SHOWN:,} more: --format json lists all")
    span = f"{len(outcome.days):,} days"
    if outcome.days:
        span += f" from {outcome.days[0]} to {outcome.days[-1]}"
    say(
        f"{len(outcome.differences):,} differences: {outcome.records:,} records, "
        f"{outcome.facts:,} accepted, {outcome.refused:,} rejected; "
        f"{outcome.agencies:,} agencies, {outcome.cells:,} cells, {span}"
        + (f", {outcome.answers:,} answers of the API" if outcome.answers else "")
        + f"; {outcome.seconds:.1f} s"
    )
    for line in outcome.unvouched:
        say(f"cannot be vouched for: {line}")
    for reason, records in sorted(outcome.left_out.items()):
        say(
            f"{records:,} records are not counted because a worker rejected them as {reason}, by "
            "the registrations of its day"
        )
    for reason, facts in sorted(outcome.strangers.items()):
        say(f"{facts:,} accepted events would be {reason} by the registrations of today")
