"""The register as any process reads it: every agency's months from the public topic.

``agency-months`` alone gives every figure of any day, period and definition; no worker needs to
be asked. Rows are decoded when first read, so following the topic costs little. Its marks say how
far of the event topics the rows go (contract, section 1); other keys are ignored.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from functools import reduce
from itertools import islice
from typing import Any, NamedTuple

from aiokafka import ConsumerRecord, TopicPartition

from schemas.topics import EVENT_TOPICS, Topic
from streams.domain.calendar import PeriodKind
from streams.domain.definitions import DEFINITIONS
from streams.domain.indicators import Figures, report
from streams.domain.ledger import Months
from streams.kafka.compacted_view import CompactedView
from streams.kafka.topic_ends import TopicEnds
from streams.settings import AsOf, Settings
from streams.state.codecs import (
    SERVED_AT_KEY,
    UnreadableRowError,
    decode_agency_month,
    decode_agency_seen,
    decode_taken_in,
    split_agency_month_key,
    split_taken_in_key,
)
from streams.state.partition import NOT_SEEN, Seen, later
from streams.views.behind import Behind, Ends
from streams.views.reference_data import ReferenceData

_SLICE = 100


class _Agency(NamedTuple):
    months: Months
    seen: dict[int, Seen]


class Live(NamedTuple):
    """What a worker knows of an agency it owns, before the topic has come round."""

    months: Months
    seen: Seen


Reached = Mapping[tuple[str, int], int]
"""(Event topic in full, partition) → the next offset: everything before it is in the figures."""


class PublishedMonths:
    """A view of ``agency-months``. ``start`` before use.

    ``live`` gives the agencies that this process owns itself, if any: their ledgers stand in for
    what was published of them, so that a worker never answers with less than it has processed.
    ``live_reached`` says how far those ledgers go.
    """

    def __init__(
        self,
        settings: Settings,
        live: Callable[[], Mapping[str, Live]] = dict,
        live_reached: Callable[[], Reached] = dict,
    ) -> None:
        self._live = live
        self._live_reached = live_reached
        self._topic = settings.topic(Topic.agency_months)
        self._agencies: dict[str, _Agency] = {}
        self._undecoded: dict[tuple[str, int], bytes] = {}
        self._seen: dict[str, Seen] = {}
        self.rows: defaultdict[int, dict[tuple[str, int], bytes]] = defaultdict(dict)
        """Partition → (agency, month) → the newest row."""
        self.ever_seen: defaultdict[int, dict[str, Seen]] = defaultdict(dict)
        """Partition → agency → the latest that any row there ever said was seen of it: a worker
        that has lost the partition may have written an older row last."""
        self.marks: defaultdict[int, dict[str, int]] = defaultdict(dict)
        """Partition → source topic (full name) → the newest mark."""
        self.version = 0
        """Another after every change of a row or a mark."""
        self.served_at: dict[int, str] = {}
        """Partition → the address of the worker that last had it, as it said itself."""
        self.view: CompactedView[tuple[int, bytes], bytes] = CompactedView(
            settings.client_options(),
            [self._topic],
            self._read,
            on_change=self._change,
        )
        events = sorted(settings.topic(topic) for topic in EVENT_TOPICS)
        self._event_ends = TopicEnds(settings.client_options(), events)
        self.behind = Behind(self._high_watermarks)
        """How far the brokers are, for :meth:`lacking`."""

    async def start(self) -> None:
        """Return when everything published so far has been read. Raises what the view raises."""
        await self.view.start()

    async def stop(self) -> None:
        await self.behind.stop()
        await self._event_ends.stop()
        await self.view.stop()

    async def refresh(self) -> None:
        """Return when everything published before the call has been read."""
        await self.view.refresh()

    def position(self, number: int) -> int:
        """The offset before which every row of partition ``number`` has been read."""
        return self.view.position(TopicPartition(self._topic, number))

    async def catch_up(self) -> None:
        """Decode what has arrived, letting others run in between.

        Whoever asks for figures on an event loop does this first: 4,000 rows decoded at once, as
        after a start, would hold it up for a third of a second.
        """
        for _ in range(0, len(self._undecoded), _SLICE):
            self._decode(_SLICE)
            await asyncio.sleep(0)

    def months(self) -> dict[str, Months]:
        """The months of every agency ever heard of, registered or not."""
        self._decode()
        months = {code: agency.months for code, agency in self._agencies.items()}
        return months | {code: live.months for code, live in self._live().items()}

    def seen(self) -> dict[str, Seen]:
        """When each agency was last heard of."""
        self._decode()
        for code in self._agencies.keys() - self._seen.keys():
            self._seen[code] = reduce(later, self._agencies[code].seen.values(), NOT_SEEN)
        return self._seen | {code: live.seen for code, live in self._live().items()}

    def lacking(self, ends: Ends | None) -> int | None:
        """How many offsets of the event topics below ``ends`` these figures lack.

        None where the brokers did not say, while all is read again, and where nothing says it: rows
        that were written by a version without marks.
        """
        if ends is None or self.view.reloading:
            return None
        live, lacking = self._live_reached(), 0
        for (topic, partition), end in ends.items():
            reached = live.get((topic, partition))
            if reached is None:
                reached = self.marks[partition].get(topic)
            if reached is None:
                # Of a topic that nothing was read of yet there is no mark.
                if end and self.rows[partition] and not self.marks[partition]:
                    return None
                reached = 0
            lacking += max(0, end - reached)
        return lacking

    def latest_day(self) -> int | None:
        """The latest day of any agency's accepted submission or processing step."""
        return reduce(later, self.seen().values(), NOT_SEEN).day

    def as_of(self, setting: AsOf, today: int) -> int:
        """The day (an ordinal) that an as-of setting stands for."""
        if isinstance(setting, date):
            return setting.toordinal()
        latest = self.latest_day() if setting == "latest" else None
        return today if latest is None else latest

    def figures(
        self, reference: ReferenceData, definition: str, period: PeriodKind, as_of: int
    ) -> list[Figures]:
        """Every group's and registered agency's figures. ``KeyError`` for another definition."""
        return report(
            reference.agencies.values(),
            self.months(),
            reference.targets,
            DEFINITIONS[definition],
            period,
            as_of,
        )

    async def _high_watermarks(self) -> dict[TopicPartition, int]:
        return {tp: end.high for tp, end in (await self._event_ends.ask()).items()}

    def _read(
        self, record: ConsumerRecord[Any, Any]
    ) -> tuple[tuple[int, bytes], bytes | None] | None:
        key, value = record.key, record.value
        if key is None:
            return None
        if value is not None and split_agency_month_key(key) is not None:
            with suppress(UnreadableRowError):  # the owner writes it again
                agency, _, at, day = decode_agency_seen(value)
                ever = self.ever_seen[record.partition]
                ever[agency] = later(ever.get(agency, NOT_SEEN), Seen(at, day))
        return (record.partition, key), value

    def _change(self, key: tuple[int, bytes], old: bytes | None, new: bytes | None) -> None:
        self.version += 1
        partition, name = key
        if name == SERVED_AT_KEY:
            self.served_at.pop(partition, None)
            if new is not None:
                self.served_at[partition] = new.decode("utf-8", "backslashreplace")
            return
        row = split_agency_month_key(name)
        if row is None:
            topic = split_taken_in_key(name)
            mark = None if new is None else decode_taken_in(new)
            if topic is not None and mark is not None:
                self.marks[partition][topic] = mark
            elif topic is not None:
                self.marks[partition].pop(topic, None)
            return
        agency, month = row
        if new is not None:
            self._undecoded[agency, month] = self.rows[partition][agency, month] = new
            return
        self.rows[partition].pop((agency, month), None)
        self._undecoded.pop((agency, month), None)
        self._seen.pop(agency, None)
        if agency in self._agencies:
            for by_month in self._agencies[agency]:
                by_month.pop(month, None)

    def _decode(self, at_most: int | None = None) -> None:
        for key in list(islice(self._undecoded, at_most)):
            row = decode_agency_month(self._undecoded[key])
            agency = self._agencies.setdefault(row.agency, _Agency(Months(), {}))
            agency.months[row.month] = row.cells
            agency.seen[row.month] = Seen(row.last_event_at, row.latest_day)
            self._seen.pop(row.agency, None)
            del self._undecoded[key]
