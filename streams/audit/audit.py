"""One audit, start to finish: read the topics, recount, compare, and be sure of it.

A register that is in use moves while it is looked at. So a difference is only called one when two
looks show it and nothing was written to its partition between them; agreement needs one look.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import product
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import aiohttp
from aiokafka import TopicPartition

from streams.audit.answers import GROUP_OF, GROUPS, answer, flat
from streams.audit.calendar import KINDS, end_of, number_of, to_day
from streams.audit.contract import Registration
from streams.audit.evidence import DeadLetters, Events, Reference, Rows
from streams.audit.logs import Ends, Log, Progress
from streams.audit.published import Published
from streams.audit.recount import DEFINITIONS, ZONE, Counts, Recount
from streams.kafka.partitioner import partition_for
from streams.kafka.topics import (
    AGENCIES,
    AGENCY_MONTHS,
    CATALOGUE,
    DEAD_LETTERS,
    EVENT_TOPICS,
    PROCESSING,
    SUBMISSIONS,
    TARGETS,
)
from streams.kafka.unpacking import unreadable_within
from streams.settings import Settings

_LOOK_AGAIN_SECONDS = 0.7
_POLL_SECONDS = 0.25
_ASKED_DAYS = 3
"""A worker is asked about the last few of the audited days: each costs it twelve reports."""
_PARTITIONS = ("a row on another partition", "rows on its agency's partition only")
_MARKERS = 16
"""So many offsets after a mark may turn out to hold no record (transaction markers)."""


class BehindError(Exception):
    """The workers have not taken in everything, so there is nothing to compare yet."""


class MovingError(Exception):
    """So much is written all the time that no two looks agreed on a difference."""


class NoAnswerError(Exception):
    """The worker at the given address did not answer."""


class Difference(NamedTuple):
    """Something that is not as it should be."""

    what: str
    """``figure`` or ``cell`` (of agency-months), ``answer`` (of the API), ``record`` (a rejection,
    or a refused record of a reference topic that takes away what was accepted), ``row`` (of
    agency-months, unreadable or misplaced)."""
    scope: str
    """An agency, a group; for a record its place, for a row its key."""
    day: str
    period: str
    definition: str
    figure: str
    published: Any
    recomputed: Any


@dataclass
class Outcome:
    """What an audit found."""

    differences: list[Difference] = field(default_factory=list)
    records: int = 0
    facts: int = 0
    refused: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason → records that are not counted since a worker refused them by the registrations of
    its day, which nobody can know any more."""
    strangers: Counter[str] = field(default_factory=Counter)
    """Reason → facts accepted once that would be refused by the registrations of today."""
    unvouched: list[str] = field(default_factory=list)
    """What the logs do not have any more, so that nobody can say whether the figures are right."""
    agencies: int = 0
    days: list[date] = field(default_factory=list)
    cells: int = 0
    answers: int = 0
    seconds: float = 0.0


class Audit:
    """An audit of the register of ``settings``. Reads only."""

    def __init__(
        self,
        settings: Settings,
        *,
        as_of: date | None = None,
        url: str | None = None,
        wait: float = 30.0,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        """``as_of``: this day only; else the last day of every month with anything in it, and the
        latest day. ``url``: a worker to be asked too. ``wait``: seconds for the workers to catch
        up, and for the register to hold still. ``progress``: (records read, records in all)."""
        self._settings, self._as_of, self._url = settings, as_of, url
        self._wait, self._progress = wait, progress
        options, n = settings.client_options(), settings.partitions
        self._events_log = Log(options, [settings.topic(t) for t in EVENT_TOPICS], n)
        self._reference_log = Log(options, [settings.topic(t) for t in (AGENCIES, TARGETS)], n)
        self._dead_log = Log(options, [settings.topic(DEAD_LETTERS)], n)
        self._months_log = Log(options, [settings.topic(AGENCY_MONTHS)], n)
        self._workers = Progress(
            options,
            {
                settings.topic(SUBMISSIONS): settings.changelog("dossiers"),
                settings.topic(PROCESSING): settings.changelog("dossiers"),
                settings.topic(CATALOGUE): settings.changelog("services"),
            },
            n,
        )
        self._reference = Reference(settings)
        self._rows = Rows(n)
        self._dead = DeadLetters()
        self._events = Events(settings, self._dead)

    @property
    def _logs(self) -> tuple[Log, ...]:
        return self._events_log, self._reference_log, self._dead_log, self._months_log

    async def run(self) -> Outcome:
        """Audit. Raises :class:`BehindError`, :class:`MovingError`, :class:`NoAnswerError`,
        and KafkaError when it could not be done."""
        started = time.monotonic()
        parts: tuple[Log | Progress, ...] = (*self._logs, self._workers)
        try:
            for part in parts:
                await part.start()
            removed = await self._events_log.removed()
            outcome = await self._until_sure()
            ends = await self._events_log.ends()
        finally:
            for part in parts:
                await part.stop()
        outcome.unvouched = [
            f"{tp.topic}[{tp.partition}] begins at offset {first}: {first} records are gone"
            for tp, first in removed.items()
        ] + [
            f"{tp.topic}[{tp.partition}] ends at offset {ends[tp]}, but workers have read up to "
            f"{reached}: it is not the topic that they read"
            for tp, reached in sorted(self._workers.reached.items())
            if reached > ends[tp]
        ]
        outcome.unvouched += [
            f"{tp.topic}[{tp.partition}]: records from {one.first} to {one.next - 1} can't be "
            f"read: {one.why}"
            for log in (self._events_log, self._reference_log, self._dead_log)
            for tp in log.partitions
            for one in unreadable_within(tp, 0, log.position[tp])
        ]
        outcome.seconds = time.monotonic() - started
        return outcome

    async def _until_sure(self) -> Outcome:
        before: set[Difference] = set()
        deadline: float | None = None
        while True:
            ends = await self._take_in()
            outcome = await self._look()
            if not outcome.differences:
                return outcome
            if deadline is None:
                deadline = time.monotonic() + self._wait
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            moved = await self._moved(ends)
            lasting = [d for d in outcome.differences if d in before and not moved & self._of(d)]
            if lasting:
                outcome.differences = lasting
                return outcome
            if time.monotonic() > deadline:
                raise MovingError(
                    f"the register kept moving for {self._wait:g} s: "
                    f"{len(outcome.differences)} differences could be neither confirmed nor cleared"
                )
            before = set(outcome.differences)

    def _of(self, difference: Difference) -> set[int]:
        """The partitions a difference depends on; all of them for a group or an answer."""
        if difference.what == "record":
            return {int(difference.scope.rpartition("[")[2].partition("]")[0])}
        if difference.what in ("figure", "cell") and difference.scope not in GROUPS:
            return {partition_for(difference.scope.encode(), self._settings.partitions)}
        return set(range(self._settings.partitions))

    # -- reading -----------------------------------------------------------------------------

    async def _take_in(self) -> Ends:
        """Read every log on to where it ends now; the ends of the event topics."""
        ends = await self._events_log.ends()
        await self._await_workers(ends)
        async for records in self._months_log.read(await self._months_log.ends()):
            self._rows.take(records)
        async for records in self._reference_log.read(await self._reference_log.ends()):
            self._reference.take(records)
        late = set()
        async for records in self._dead_log.read(await self._dead_log.ends()):
            late |= self._dead.take(records)
        if self._events.overtaken(late, self._read_to()):
            self._events = Events(self._settings, self._dead)
            for tp in self._events_log.partitions:
                self._events_log.position[tp] = 0
                self._events_log.consumer.seek(tp, 0)
        total = sum(ends.values())
        async for records in self._events_log.read(ends):
            self._events.take(records)
            self._progress(self._events.records, total)
            await asyncio.sleep(0)
        return ends

    def _read_to(self) -> dict[tuple[str, int], int]:
        position = self._events_log.position
        return {(tp.topic, tp.partition): offset for tp, offset in position.items()}

    async def _await_workers(self, ends: Ends) -> None:
        """Return once the workers have taken in everything below ``ends``."""
        deadline = time.monotonic() + self._wait
        empty: set[TopicPartition] = set()
        while True:
            await self._workers.refresh()
            reached = self._workers.reached
            behind = {
                tp: end - reached[tp]
                for tp, end in ends.items()
                if reached[tp] < end and tp not in empty
            }
            if not behind:
                return
            if time.monotonic() > deadline:
                few = {tp for tp, records in behind.items() if records <= _MARKERS}
                if few and not empty:
                    empty = await self._without_records({tp: reached[tp] for tp in few}, ends)
                    if empty:
                        continue
                raise BehindError(
                    f"the workers are {sum(behind.values()):,} records behind after "
                    f"{self._wait:g} s; is a worker of HOSO_APP_ID={self._settings.app_id} running?"
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _without_records(self, start: Ends, ends: Ends) -> set[TopicPartition]:
        topics = sorted({tp.topic for tp in start})
        log = Log(self._settings.client_options(), topics, self._settings.partitions)
        try:
            await log.start()
            return await log.holes(start, ends)
        finally:
            await log.stop()

    async def _moved(self, ends: Ends) -> set[int]:
        """The partitions to which something was written since they were read."""
        moved = {
            tp.partition for tp, end in (await self._events_log.ends()).items() if end > ends[tp]
        }
        for log in (self._months_log, self._dead_log):
            now = await log.ends()
            moved |= {tp.partition for tp, end in now.items() if end > log.position[tp]}
        now = await self._reference_log.ends()
        if any(end > self._reference_log.position[tp] for tp, end in now.items()):
            moved = set(range(self._settings.partitions))
        return moved

    # -- comparing ---------------------------------------------------------------------------

    async def _look(self) -> Outcome:
        events, agencies = self._events, self._reference.agencies
        recount, published = Recount(events.facts), Published(self._rows.rows.items())
        days = self._days(recount, published)
        found = [
            Difference("record", str(place), "", "", "", "verdict", did, should)
            for place, did, should in sorted(events.disagreements(self._read_to()))
        ]
        heard_of = {agency for agency, _ in events.facts.speakers}
        found += [
            Difference("record", str(place), "", "", "", "reference", there, should)
            for place, there, should in sorted(self._reference.damaged(heard_of))
        ]
        found += [
            Difference("row", key, "", "", "", "row", fault, "a readable row")
            for key, fault in published.faults
        ]
        found += [
            Difference(
                "row", key.decode("utf-8", "backslashreplace"), "", "", "", "row", *_PARTITIONS
            )
            for key in sorted(self._rows.misplaced)
        ]
        cells, compared = different_cells(recount, published, self._as_of)
        found += cells
        for day in days:
            found += different_figures(published.figures(day), recount.figures(day), agencies, day)
            await asyncio.sleep(0)
        outcome = Outcome(
            records=events.records,
            facts=events.facts.speakers.total(),
            refused=len(events.refused),
            left_out=Counter(events.left_out.values()),
            strangers=events.strangers(agencies),
            agencies=len(agencies),
            days=days,
            cells=compared,
        )
        if self._url is not None:
            asked = list(product(days[-_ASKED_DAYS:] or [_today()], KINDS, DEFINITIONS))
            found += await self._ask(self._url, recount, asked)
            outcome.answers = len(asked)
        outcome.differences = found
        return outcome

    def _days(self, recount: Recount, published: Published) -> list[date]:
        """The days to audit. Months in which neither side has anything repeat the one before."""
        if self._as_of is not None:
            return [self._as_of]
        days = {end_of("month", month) for month in recount.months() | published.months()}
        latest = recount.latest
        if latest is not None:
            days.add(latest)
        return sorted(days)

    async def _ask(
        self, url: str, recount: Recount, asked: list[tuple[date, str, str]]
    ) -> list[Difference]:
        agencies, targets = self._reference.agencies, self._reference.targets
        found: list[Difference] = []
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for day, kind, name in asked:
                ask = {"as_of": day.isoformat(), "period": kind, "definition": name}
                address = f"{url.rstrip('/')}/api/v1/indicators"
                try:
                    async with session.get(address, params=ask) as reply:
                        if reply.status != 200:
                            raise NoAnswerError(f"{reply.url}: {reply.status} {reply.reason}")
                        rows = (await reply.json())["rows"]
                except (
                    aiohttp.ClientError,
                    TimeoutError,
                    ValueError,
                    KeyError,
                    TypeError,
                ) as error:
                    raise NoAnswerError(f"{address}: {error!r}") from error
                expected = answer(recount.figures, agencies, targets, day, kind, name)
                found += different_rows(rows, expected, day, kind, name)
        return found


def _today() -> date:
    return datetime.now(ZoneInfo(ZONE)).date()


def different_cells(
    recount: Recount, published: Published, until: date | None
) -> tuple[list[Difference], int]:
    """Where a column's number for a day differs, and how many numbers were compared."""
    both = recount.cells().join(
        published.cells(),
        on=["agency", "column", "day"],
        how="full",
        coalesce=True,
        suffix="_there",
    )
    if until is not None:
        both = both.filter(both["day"] <= number_of(until))
    both = both.with_columns(both["n"].fill_null(0), both["n_there"].fill_null(0))
    wrong = both.filter(both["n"] != both["n_there"]).sort("agency", "day", "column")
    found = [
        Difference("cell", agency, to_day(day).isoformat(), "", "", column, there, here)
        for agency, column, day, here, there in wrong.select(
            "agency", "column", "day", "n", "n_there"
        ).iter_rows()
    ]
    return found, both.height


def different_figures(
    published: Counts, recounted: Counts, agencies: Mapping[str, Registration], day: date
) -> Iterable[Difference]:
    """The figures of a day that differ, of the groups and of every agency."""
    wrong = [key for key in published.keys() | recounted.keys() if published[key] != recounted[key]]
    if not wrong:
        return []
    groups: dict[tuple[str, str, str, str], list[int]] = {}
    found = []
    for key in sorted(wrong):
        agency, *about = key
        found.append(_figure(agency, day, about, published[key], recounted[key]))
        registered = agencies.get(agency)
        if registered is not None:
            for scope in ("national", GROUP_OF[registered.kind]):
                groups[scope, about[0], about[1], about[2]] = [0, 0]
    for (scope, *about), sums in sorted(groups.items()):
        for agency, registered in agencies.items():
            if scope in ("national", GROUP_OF[registered.kind]):
                key = (agency, about[0], about[1], about[2])
                sums[0] += published[key]
                sums[1] += recounted[key]
        if sums[0] != sums[1]:
            found.append(_figure(scope, day, about, sums[0], sums[1]))
    return found


def _figure(scope: str, day: date, about: list[str], there: int, here: int) -> Difference:
    period, definition, figure = about
    return Difference("figure", scope, day.isoformat(), period, definition, figure, there, here)


def different_rows(
    rows: list[dict[str, Any]],
    expected: list[dict[str, Any]],
    day: date,
    kind: str,
    definition: str,
) -> Iterable[Difference]:
    """Where an answer of the API differs from what it must be."""
    scopes = [row.get("scope") for row in rows], [row["scope"] for row in expected]
    about = (day.isoformat(), kind, definition)
    if scopes[0] != scopes[1]:
        yield Difference("answer", "", *about, "rows", *(", ".join(map(str, s)) for s in scopes))
        return
    for row, right in zip(rows, expected, strict=True):
        given = flat(row)
        for name, value in flat(right).items():
            if name not in given or given[name] != value:
                yield Difference(
                    "answer", right["scope"], *about, name, given.get(name, "missing"), value
                )
