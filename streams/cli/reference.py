"""``hoso reference``: agencies, services and targets from files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from streams.cli.errors import ANSWER_IS_NO, Commands, Failure
from streams.cli.events import registered_agencies
from streams.cli.reference_files import Loader, files_in
from streams.cli.reference_known import compare, read_known
from streams.cli.running import load_settings, prepare_topics, run
from streams.cli.sending import Outbox, summary
from streams.cli.terminal import progress, say
from streams.settings import Settings

_SLICE = 4000


@click.group(cls=Commands)
def reference() -> None:
    """Who the agencies are, what they list, what was promised."""


@reference.command()
@click.argument(
    "directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
def load(directory: Path) -> None:
    """Publish the agencies, services and targets in DIR to their topics.

    \b
    agencies.csv   code,name,kind[,sources]   kind: ministry or province; sources
                   separated by |, none: any; other columns are ignored
    services*.csv, services/*.csv
                   agency,service,name,level,eligible,listed,effective_from[,revision]
    targets.csv    scope,indicator,year,ratio

    Each file may be missing. Services and targets may speak of agencies that are on the broker
    already. Everything is checked first: nothing is sent if anything is wrong (each fault is
    named as FILE:LINE: column: value, exit code 1).

    Rows that the register knows already are not sent again. An agency or a target that differs is
    replaced. A service's row is corrected by a higher revision: one that differs from what the
    register knows at its revision or a higher one would change nothing, so it is named, and nothing
    is sent (exit code 1).
    """
    settings = load_settings()
    run(_load(settings, directory), settings)


async def _load(settings: Settings, directory: Path) -> None:
    files = files_in(directory)
    if not files:
        raise Failure(f"{directory}: no agencies.csv, services*.csv or targets.csv")
    loader = Loader(await registered_agencies(settings))
    for sheet, path in files:
        loader.load(sheet, path)
    for fault in loader.faults:
        say(str(fault))
    if loader.faults:
        say(f"{directory}: {len(loader.faults):,} bad, nothing was sent", err=True)
        sys.exit(ANSWER_IS_NO)
    messages, faults = compare(loader.rows, await read_known(settings))
    for fault in faults:
        say(str(fault))
    if faults:
        say(f"{directory}: {len(faults):,} known otherwise, nothing was sent", err=True)
        sys.exit(ANSWER_IS_NO)
    await prepare_topics(settings, *{settings.topic(message.topic) for message in messages})
    with progress() as bar:
        task = bar.add_task("sending", total=len(messages))
        async with Outbox(settings) as outbox:
            for start in range(0, len(messages), _SLICE):
                part = messages[start : start + _SLICE]
                await outbox.send(part)
                bar.advance(task, len(part))
    unchanged = len(loader.rows) - len(messages)
    if unchanged:
        say(f"{unchanged:>9,}  unchanged")
    say(*summary(outbox.sent, settings))
