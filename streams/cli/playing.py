"""Playing a scenario: its records, at the pace asked for, with progress on a terminal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice

import msgspec

from schemas.topics import Topic
from streams.cli.sending import Message, Outbox
from streams.domain.calendar import ZONE
from streams.simulator import Record, Scenario

_SLICE = 8000
_TICK_SECONDS = 0.05

DEFAULT_RATE = 20.0
"""Records a second of a scenario without an end, unless told otherwise."""


class _Sent(msgspec.Struct):
    time: str = ""


_sent = msgspec.json.Decoder(_Sent)


async def play(
    scenario: Scenario,
    outbox: Outbox,
    rate: float | None,
    advance: Callable[[int], None],
) -> None:
    """Send the records at ``rate`` a second, or as fast as the broker takes them.

    A scenario without an end starts with what has happened before today, which is always sent at
    full speed; ``rate`` (``DEFAULT_RATE`` if None) holds from then on. ``advance`` is told the
    number of records handed over. Returns when everything is acknowledged.
    """
    records = scenario.records()
    if scenario.total is None:
        rate = rate or DEFAULT_RATE
        records = await _play_past(records, outbox, advance)
    if rate is None:
        while part := list(islice(records, _SLICE)):
            await _send(part, outbox, advance)
    else:
        await _play_paced(records, outbox, rate, advance)
    await outbox.flush()


async def _play_past(
    records: Iterator[Record], outbox: Outbox, advance: Callable[[int], None]
) -> Iterator[Record]:
    """Send everything that is dated before today; gives the records from the first other on."""
    today = datetime.now(ZONE).date().isoformat()
    part: list[Record] = []
    for record in records:
        if _sent.decode(record.value).time[: len(today)] >= today:
            await _send(part, outbox, advance)
            return _from(record, records)
        part.append(record)
        if len(part) == _SLICE:
            await _send(part, outbox, advance)
            part = []
    await _send(part, outbox, advance)
    return iter(())


def _from(first: Record, rest: Iterator[Record]) -> Iterator[Record]:
    yield first
    yield from rest


async def _play_paced(
    records: Iterator[Record], outbox: Outbox, rate: float, advance: Callable[[int], None]
) -> None:
    started, count = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - started) * rate) + 1 - count
        if due > 0:
            part = list(islice(records, min(due, _SLICE)))
            if not part:
                return
            await _send(part, outbox, advance)
            count += len(part)
        await asyncio.sleep(max(_TICK_SECONDS, started + count / rate - time.monotonic()))


async def _send(part: list[Record], outbox: Outbox, advance: Callable[[int], None]) -> None:
    await outbox.send(
        Message(Topic(record.topic), record.key.encode(), record.value) for record in part
    )
    advance(len(part))
    await asyncio.sleep(0)  # the producer, a scoreboard and Ctrl-C get their turn
