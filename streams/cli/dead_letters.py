"""``hoso dead-letters``: rejected records, to be looked at and sent again."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from schemas.decoder import Reason
from schemas.topics import Topic
from streams.cli.errors import ANSWER_IS_NO, Commands, Failure
from streams.cli.events import registered_agencies
from streams.cli.events_file import TOPICS, Judge
from streams.cli.letters import Filters, Letter, judge_again, read_letters, readable
from streams.cli.questions import agency_named, open_reference
from streams.cli.running import load_settings, require_topics, run
from streams.cli.sending import Outbox, summary
from streams.cli.terminal import NOTHING, json_text, out, progress, say, say_json
from streams.domain.calendar import ZONE
from streams.domain.names import matches
from streams.kafka.partitioner import partition_for
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.kafka.batch_writer import Outgoing

_HEXDUMP_BYTES = 4096


class _Moment(click.ParamType):
    """A day in Viet Nam or an instant with an offset, as the beginning or the end of a span."""

    name = "moment"

    def __init__(self, *, end: bool) -> None:
        self._end = end

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if len(value) == len("YYYY-MM-DD"):
                day = date.fromisoformat(value) + timedelta(days=int(self._end))
                return datetime.combine(day, time(), tzinfo=ZONE)
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail(
                f"{value!r} is neither a date YYYY-MM-DD nor a time with an offset", param, ctx
            )
        return moment


def _filters(command: Any) -> Any:
    for option in reversed(
        (
            click.option(
                "--reason",
                "reasons",
                multiple=True,
                type=click.Choice([reason.value for reason in Reason]),
                help="Only these reasons (may be given several times, as may the next two).",
            ),
            click.option(
                "--agency",
                "agencies",
                multiple=True,
                help="Only of these agencies, by code or by name with or without diacritics.",
            ),
            click.option(
                "--topic",
                "topics",
                multiple=True,
                type=click.Choice([topic.value for topic in TOPICS]),
                help="Only from these topics.",
            ),
            click.option(
                "--since",
                type=_Moment(end=False),
                metavar="DAY|TIME",
                help="Rejected on this day or at this time (with an offset), or later.",
            ),
            click.option(
                "--until",
                type=_Moment(end=True),
                metavar="DAY|TIME",
                help="Rejected on this day or before, or before this time.",
            ),
            click.option(
                "--limit", type=click.IntRange(min=1), help="Only the newest so many of those."
            ),
        )
    ):
        command = option(command)
    return command


def _as_filters(
    reasons: tuple[str, ...],
    agencies: tuple[str, ...],
    topics: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
) -> Filters:
    return Filters(frozenset(reasons), frozenset(agencies), frozenset(topics), since, until, limit)


async def _picked(settings: Settings, filters: Filters) -> list[Letter]:
    """The letters meant. Raises ``Failure`` where a name may be several agencies' or is none's."""
    letters = await read_letters(settings)
    of_letters = {letter.agency for letter in letters}
    codes = set(filters.agencies & of_letters)
    if others := sorted(filters.agencies - of_letters):
        async with open_reference(settings) as reference:
            known = () if reference is None else reference.agencies.values()
        for text in others:
            # A code need not be registered. There is no space in one.
            named = " " in text or any(matches(agency.code, agency.name, text) for agency in known)
            codes.add(agency_named(known, text).code if named else text)
    return replace(filters, agencies=frozenset(codes)).pick(letters)


@click.group("dead-letters", cls=Commands)
def dead_letters() -> None:
    """Look at rejected records, and send repaired ones again."""


@dead_letters.command("list")
@_filters
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="json also has each record's key, value and coordinates.",
)
def list_(form: str, **given: Any) -> None:
    """List the rejected records, oldest first.

    Times are those of the rejection. The first column is what show takes.
    """
    settings = load_settings()
    letters = run(_picked(settings, _as_filters(**given)), settings)
    if form == "json":
        say_json([_as_json(letter) for letter in letters])
        return
    if letters:
        table = Table(header_style="bold")
        for title in ("letter", "rejected", "reason", "agency", "topic"):
            table.add_column(title, no_wrap=True)
        table.add_column("detail", overflow="fold")
        for letter in letters:
            at = letter.at.isoformat(sep=" ", timespec="seconds") if letter.at else NOTHING
            table.add_row(
                letter.name,
                at,
                letter.reason,
                letter.agency or NOTHING,
                letter.topic,
                letter.detail,
            )
        out().print(table)
    say(f"{len(letters):,} dead letters")


@dead_letters.command()
@click.argument("letter", metavar="PARTITION:OFFSET")
@click.option("--raw", is_flag=True, help="Print the bytes of the value and nothing else.")
def show(letter: str, raw: bool) -> None:
    """Show one rejected record: where it stood, why it was rejected, headers and value."""
    partition, colon, offset = letter.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal()):
        raise Failure(f"{letter!r} is not PARTITION:OFFSET, such as 3:17")
    settings = load_settings()
    if int(partition) >= settings.partitions:
        raise Failure(f"{letter}: there are only {settings.partitions} partitions, from 0 on")
    found = run(read_letters(settings, (int(partition), int(offset))), settings)
    if not found:
        raise Failure(f"there is no dead letter {letter}")
    if raw:
        if sys.stdout.isatty():
            raise Failure("--raw gives the bytes as they are: send them to a file, not a terminal")
        click.get_binary_stream("stdout").write(found[0].value or b"")
    else:
        _show(found[0])


def _show(letter: Letter) -> None:
    for name, text in (
        ("letter", letter.name),
        ("rejected", letter.at.isoformat(timespec="milliseconds") if letter.at else NOTHING),
        ("record", letter.place),
        ("reason", letter.reason),
        ("detail", letter.detail),
        ("agency", letter.agency or NOTHING),
        ("key", "null" if letter.key is None else readable(letter.key)),
        *(("cut", f"{part}, which was {size}") for part, size in letter.cut),
    ):
        say(f"{name:<9} {text}")
    for header, raw in letter.headers:
        say(f"header    {header}: {'null' if raw is None else readable(raw)}")
    say("")
    if letter.value is None:
        say("null")
        return
    try:
        text = json_text(json.loads(letter.value.decode()), indent=2)
    except (ValueError, RecursionError):
        text = _hexdump(letter.value)
    say(*text.split("\n"))


def _hexdump(value: bytes) -> str:
    """Sixteen bytes a line, as hexdump -C; long values are cut, ``show --raw`` has all of them."""
    lines = []
    for start in range(0, min(len(value), _HEXDUMP_BYTES), 16):
        part = value[start : start + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in part)
        lines.append(f"{start:08x}  {part.hex(' '):<47}  |{text}|")
    if len(value) > _HEXDUMP_BYTES:
        lines.append(f"… {len(value) - _HEXDUMP_BYTES:,} more bytes (--raw prints all)")
    return "\n".join(lines) or "(empty)"


@dead_letters.command()
@_filters
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send these repaired events instead; checked as `hoso publish` checks them.",
)
@click.option(
    "--rekey",
    is_flag=True,
    help="Send records that had a wrong key under the key that their data calls for.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
def replay(file: Path | None, rekey: bool, dry_run: bool, **given: Any) -> None:
    """Send rejected records again that would be accepted now.

    Each is judged again first, with the agencies registered now; those that would only be rejected
    again are named and not sent (exit code 1). The others go to their topic as they were, with
    their key and headers. Nothing is ever counted twice: a worker merges facts, and the same fact
    merged again changes nothing. Dead letters stay where they are, so an interrupted replay is
    simply run again.

    Of a record that was too large only the beginning was kept: it cannot be sent again from here.

    Records of agencies and targets are not sent: there the last one stands, and an old one must not
    go over a newer one. Use `hoso publish` for those.
    """
    filters = _as_filters(**given)
    settings = load_settings()
    if file is not None:
        if filters != Filters() or rekey:
            raise Failure("--file sends the events of the file: no filters and no --rekey with it")
        run(_replay_file(settings, file, dry_run), settings)
        return
    bad = run(_replay(settings, filters, rekey, dry_run), settings)
    if bad:
        sys.exit(ANSWER_IS_NO)


async def _replay(settings: Settings, filters: Filters, rekey: bool, dry_run: bool) -> int:
    letters = await _picked(settings, filters)
    agencies = await registered_agencies(settings)
    now_ms = int(datetime.now(ZONE).timestamp() * 1000)
    judged = judge_again(letters, agencies, now_ms, rekey=rekey)
    for letter, reason, detail in judged.bad:
        say(f"{letter.name}: {reason}: {detail}")
    if not dry_run and judged.count:
        await require_topics(settings, *map(settings.topic, judged.good), to_write=True)
        await _send(settings, judged.good)
    said = "would be sent" if dry_run else "sent"
    repeated = f", {judged.repeated:,} repeated" if judged.repeated else ""
    say(f"{judged.count:,} {said}, {len(judged.bad):,} still bad{repeated}")
    return len(judged.bad)


async def _send(settings: Settings, good: Mapping[Topic, list[Outgoing]]) -> None:
    """Return when the broker has acknowledged everything. Raises KafkaError."""
    from aiokafka import AIOKafkaProducer

    from streams.kafka.batch_writer import BATCH_BYTES, BatchWriter

    producer = AIOKafkaProducer(
        **settings.client_options(),
        acks="all",
        max_batch_size=BATCH_BYTES,
        max_request_size=8 * 1024 * 1024,
    )
    await producer.start()
    try:
        writer = BatchWriter(producer)
        with progress() as bar:
            task = bar.add_task("replaying", total=sum(map(len, good.values())))
            for topic, records in good.items():
                by_partition: dict[int, list[Outgoing]] = {}
                for record in records:
                    number = partition_for(record.key or b"", settings.partitions)
                    by_partition.setdefault(number, []).append(record)
                for number, rows in by_partition.items():
                    for pending in await writer.enqueue(settings.topic(topic), number, rows):
                        bar.advance(task, (await pending).records)
    finally:
        await producer.stop()


async def _replay_file(settings: Settings, file: Path, dry_run: bool) -> None:
    agencies = await registered_agencies(settings)
    judge = Judge(settings.topic_prefix, int(datetime.now(ZONE).timestamp() * 1000), None, agencies)
    try:
        with file.open("rb") as lines:
            for _ in judge.read(lines):
                pass
    except OSError as error:
        raise Failure(f"{file}: {error.strerror or error}") from error
    for problem in judge.problems:
        say(f"{file}:{problem.line}: {problem.reason}: {problem.detail}")
    if judge.problems:
        say(f"{file}: {len(judge.problems):,} bad lines, nothing was sent", err=True)
        sys.exit(ANSWER_IS_NO)
    if dry_run:
        say(f"{len(judge.messages):,} would be sent, 0 still bad")
        return
    topics = {settings.topic(message.topic) for message in judge.messages}
    await require_topics(settings, *sorted(topics), to_write=True)
    async with Outbox(settings) as outbox:
        await outbox.send(judge.messages)
    say(*summary(outbox.sent, settings))


def _as_json(letter: Letter) -> dict[str, Any]:
    """For machines: a value that is no UTF-8 text is given in hexadecimal, as ``value_hex``."""
    found: dict[str, Any] = {
        "partition": letter.partition,
        "offset": letter.offset,
        "time": letter.at.isoformat(timespec="milliseconds") if letter.at else None,
        "reason": letter.reason,
        "detail": letter.detail,
        "agency": letter.agency,
        "topic": letter.topic,
        "record": letter.place,
        "cut": dict(letter.cut),
        "key": None if letter.key is None else readable(letter.key),
    }
    try:
        found["value"] = None if letter.value is None else letter.value.decode()
    except UnicodeDecodeError:
        found["value_hex"] = (letter.value or b"").hex()
    return found
