"""What the register knows already of the rows of reference files, and which of them it knows
otherwise: rows that could be sent, and would change nothing.

Registrations and targets have no revision: the latest stands, so a row that differs is sent. Of a
listing the highest revision wins (contract, section 3), so one that differs needs a higher one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.decoder import Rejection, decode
from schemas.events import ListedEvent
from schemas.explain import shorten
from schemas.topics import REFERENCE_TOPICS, Topic
from streams.cli.letters import read_letters
from streams.cli.reference_files import Fault, Row
from streams.cli.running import topics_to_read
from streams.cli.sending import Message
from streams.cli.terminal import progress
from streams.settings import Settings

_Entry = tuple[str, str, Any]
"""Agency, service and the day that a listing takes effect."""
_SAID: Final = ("level", "eligible", "listed", "name")


@dataclass
class Known:
    """What stands on the topics. Empty where they are not there yet."""

    standing: Mapping[tuple[Topic, bytes], Any] = field(default_factory=dict)
    """Registrations and targets: the data of the event that stands."""
    listings: dict[_Entry, dict[int, ListedEvent]] = field(default_factory=dict)
    """Listings by revision; of several with the same revision the one that wins."""

    def listing(self, event: ListedEvent) -> None:
        """Take in a listing that was accepted."""
        by_revision = self.listings.setdefault(_entry(event), {})
        other = by_revision.get(event.data.revision)
        if other is None or event.id >= other.id:
            by_revision[event.data.revision] = event

    def has(self, row: Row) -> bool:
        """Whether the register says what the row says, so that sending it would change nothing."""
        event = row.event
        if isinstance(event, ListedEvent):
            same = self.listings.get(_entry(event), {}).get(event.data.revision)
            return same is not None and _said(same) == _said(event)
        return bool(self.standing.get((row.message.topic, row.message.key)) == event.data)


def compare(rows: Iterable[Row], known: Known) -> tuple[list[Message], list[Fault]]:
    """What is to be sent of ``rows``, and the rows that the register knows otherwise and would not
    be changed by. Of several revisions of a listing only the highest is held against it."""
    rows = list(rows)
    highest: dict[_Entry, int] = {}
    for row in rows:
        if isinstance(row.event, ListedEvent):
            entry = _entry(row.event)
            highest[entry] = max(highest.get(entry, 0), row.event.data.revision)
    messages, faults = [], []
    for row in rows:
        if known.has(row):
            continue
        if isinstance(row.event, ListedEvent):
            event, entry = row.event, _entry(row.event)
            there = known.listings.get(entry)
            newest = there[max(there)] if there else None
            if (
                newest is not None
                and event.data.revision == highest[entry]
                and event.data.revision <= newest.data.revision
                and _said(newest) != _said(event)
            ):
                faults.append(Fault(row.file, row.line, _otherwise(event, newest)))
                continue
        messages.append(row.message)
    return messages, faults


async def read_known(settings: Settings) -> Known:
    """Read what stands on the topics as of now. Raises ``Failure`` and KafkaError."""
    from streams.audit.logs import Log
    from streams.views.reference_data import ReferenceData

    topics = [*REFERENCE_TOPICS, Topic.catalogue, Topic.dead_letters]
    if not await topics_to_read(settings, *map(settings.topic, topics)):
        return Known()
    name = settings.topic(Topic.catalogue)
    reference = ReferenceData(settings)
    await reference.start()
    try:
        entries = reference.view.entries.items()
        known = Known({key: found.event.data for key, found in entries if found.event is not None})
    finally:
        await reference.stop()
    refused = {letter.place for letter in await read_letters(settings)}
    log = Log(settings.client_options(), [name], settings.partitions)
    try:
        await log.start()
        ends = await log.ends()
        with progress() as bar:
            task = bar.add_task("reading", total=sum(ends.values()))
            async for records in log.read(ends):
                for record in records:
                    event = decode(Topic.catalogue, record.value, record.headers, record.key)
                    if (
                        not isinstance(event, Rejection)
                        and isinstance(event, ListedEvent)
                        and record.key == event.key.encode()
                        and f"{name}[{record.partition}]@{record.offset}" not in refused
                    ):
                        known.listing(event)
                bar.advance(task, len(records))
    finally:
        await log.stop()
    return known


def _entry(event: ListedEvent) -> _Entry:
    return event.data.agency, event.data.service, event.data.effective_from


def _said(event: ListedEvent) -> tuple[Any, ...]:
    data = event.data
    return data.level, data.eligible, data.listed, data.name or ""


def _otherwise(event: ListedEvent, known: ListedEvent) -> str:
    there, here = _said(known), _said(event)
    which = zip(_SAID, there, here, strict=True)
    differs = ", ".join(
        f"{column} {_cell(old)}, here {_cell(new)}" for column, old, new in which if old != new
    )
    revision = known.data.revision
    return (
        f"the register knows {shorten(known.data.service)} from {known.data.effective_from} "
        f"otherwise at revision {revision} ({differs}); to correct it, give the row revision "
        f"{revision + 1} in the column revision"
    )


def _cell(value: Any) -> str:
    return shorten(value) if isinstance(value, str) else str(value).lower()
