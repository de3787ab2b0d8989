"""``hoso validate`` and ``hoso publish``: files of events."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import IO

import click

from schemas.topics import Topic
from streams.cli.errors import ANSWER_IS_NO, Failure
from streams.cli.events_file import TOPICS, Judge
from streams.cli.questions import open_reference
from streams.cli.running import load_settings, prepare_topics, run
from streams.cli.sending import Outbox, summary
from streams.cli.terminal import progress, say
from streams.settings import Settings

_SLICE = 4000

_FILE = click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)


_TOPIC = click.option(
    "--topic",
    type=click.Choice([topic.value for topic in TOPICS]),
    help="Topic of the lines that name none.  [default: from the event's type]",
)


@click.command()
@_FILE
@_TOPIC
@click.option(
    "--registered",
    is_flag=True,
    help="Also ask the broker which agencies are registered, as publish does.",
)
def validate(file: Path, topic: str | None, registered: bool) -> None:
    """Check a file of events as a worker would, sending nothing.

    FILE has one record a line ("-" reads standard input): either {"topic": …, "key": …, "value":
    …}, where the value is the event or a string with the raw value, or a bare CloudEvent, whose
    topic follows from its type and whose key from its data. A null value on agencies or targets
    removes the entry.

    No broker is needed. Whether an agency is registered, and whether the source may speak for it,
    is judged by the registrations in the file, from the first one on; a file without any is not
    judged on that, unless --registered asks the broker.

    Each bad line is named as FILE:LINE: reason: detail. Exit code 1 if there is any.
    """
    settings = load_settings()
    agencies = run(registered_agencies(settings), settings) if registered else None
    judge = _judge(file, settings, topic, agencies)
    count = len(judge.messages)
    say(f"{file}: {count:,} good, {len(judge.problems):,} bad")
    if judge.problems:
        sys.exit(ANSWER_IS_NO)


@click.command()
@_FILE
@_TOPIC
def publish(file: Path, topic: str | None) -> None:
    """Check a file of events, then send it with the right keys.

    FILE is as for validate. Nothing is sent if any line is bad (each is named, exit code 1).
    Agencies count as registered if they are on the broker or are registered by an earlier line.

    Records keep their order per key; everything is acknowledged by all replicas before the command
    ends. Missing topics are created unless HOSO_CREATE_TOPICS=false.
    """
    settings = load_settings()
    run(_publish(file, settings, topic), settings)


async def _publish(file: Path, settings: Settings, topic: str | None) -> None:
    judge = _judge(file, settings, topic, await registered_agencies(settings))
    if judge.problems:
        say(f"{file}: {len(judge.problems):,} bad, nothing was sent", err=True)
        sys.exit(ANSWER_IS_NO)
    messages = judge.messages
    await prepare_topics(settings, *{settings.topic(message.topic) for message in messages})
    with progress() as bar:
        task = bar.add_task("sending", total=len(messages))
        async with Outbox(settings) as outbox:
            for start in range(0, len(messages), _SLICE):
                part = messages[start : start + _SLICE]
                await outbox.send(part)
                bar.advance(task, len(part))
    say(*summary(outbox.sent, settings))


async def registered_agencies(settings: Settings) -> dict[str, frozenset[str]]:
    """The agencies on the broker and their sources; none where the topics are not there yet."""
    async with open_reference(settings) as reference:
        return {} if reference is None else dict(reference.sources)


def _judge(
    file: Path, settings: Settings, topic: str | None, agencies: dict[str, frozenset[str]] | None
) -> Judge:
    """Judge the whole file and name each bad line on stdout."""
    judge = Judge(
        settings.topic_prefix,
        int(time.time() * 1000),
        Topic(topic) if topic is not None else None,
        agencies,
    )
    shown = 0
    try:
        with click.open_file(str(file), "rb") as lines, progress() as bar:
            task = bar.add_task("checking", total=_size(lines))
            done = 0
            for size in judge.read(lines):
                done += size
                for problem in judge.problems[shown:]:
                    say(f"{file}:{problem.line}: {problem.reason}: {problem.detail}")
                    shown += 1
                if done >= 1 << 16:
                    bar.advance(task, done)
                    done = 0
    except OSError as error:
        raise Failure(f"{file}: {error.strerror or error}") from error
    return judge


def _size(lines: IO[bytes]) -> int | None:
    try:
        return Path(lines.name).stat().st_size
    except (OSError, AttributeError, TypeError):
        return None
