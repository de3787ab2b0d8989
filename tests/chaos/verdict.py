"""The end of a campaign: what should have come out, what did, and every difference."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streams.kafka import aiokafka_internals  # noqa: F401 (aiokafka alone ends at odd header names)
from streams.kafka.offsets import end_offsets
from streams.kafka.partitioner import partition_for
from tests.chaos.mischief import Place
from tests.chaos.portals import AS_OF_DAYS, BAD_HEADER, EVENTS, Country, reference
from tests.oracle import DEFINITIONS, GROUPS, PERIODS, Event, Oracle, Row

_SILENCE_SECONDS = 20.0


class Ask(NamedTuple):
    """A question to the API."""

    period: str
    as_of: str
    definition: str


Rows = dict[str, dict[str, Any]]
"""Scope → name of a figure (``previous_year.online_processed_ratio``) → its value."""

ASKS = [
    Ask(period, day.isoformat(), definition)
    for period, day, definition in product(PERIODS, AS_OF_DAYS, DEFINITIONS)
]

_NOT_IN_THE_API = {
    *("on_time", "due", "eligible", "eligible_at_level4"),
    *("listed", "listed_at_level34", "listed_at_level4"),
}
_NOT_COMPARED = {"name", "last_event_at"}


class PatientOracle(Oracle):
    """The oracle with its loops shortened, not changed, for a million events.

    Takes the facts agency by agency; looks for a service's dossiers among those of the service;
    remembers what it has counted, and adds up groups from their agencies.
    """

    def __init__(
        self, told: list[Event], facts: Iterator[tuple[str, list[dict[str, Any]]]]
    ) -> None:
        super().__init__(told)
        self._of_service: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for code, events in facts:
            alone = Oracle([*(e for e in told if e["key"] == code), *events])
            self._dossiers[code] = alone._dossiers[code]
            self._listings[code] = alone._listings[code]
            for dossier in alone._dossiers[code]:
                self._of_service[code, dossier.service].append(dossier)
        self._in_force = lru_cache(maxsize=None)(super()._in_force)  # type: ignore[method-assign]
        self._counted: dict[tuple[str, date, str, str], Row] = {}

    def _online_days(
        self, agency: str, service: str, as_of: date, period: str, definition: str
    ) -> list[date]:
        everything = self._dossiers
        self._dossiers = {agency: self._of_service[agency, service]}
        try:
            return super()._online_days(agency, service, as_of, period, definition)
        finally:
            self._dossiers = everything

    def _counts(self, scope: str, as_of: date, period: str, definition: str) -> Row:
        if scope not in GROUPS:
            at = scope, as_of, period, definition
            if at not in self._counted:
                self._counted[at] = super()._counts(scope, as_of, period, definition)
            return self._counted[at]
        parts = [self._counts(code, as_of, period, definition) for code in self._members(scope)]
        return {
            name: {c: sum(part[name][c] for part in parts) for c in value}
            if isinstance(value, Mapping)
            else sum(part[name] for part in parts)
            for name, value in parts[0].items()
        }


@dataclass
class Expected:
    """The truth, from the seed alone."""

    figures: dict[Ask, Rows]
    distinct: int
    """Different accepted events."""


def expected(country: Country, taken: Mapping[str, int]) -> Expected:
    """What the first ``taken`` records of each portal must give; takes minutes for a million."""
    distinct = 0

    def facts() -> Iterator[tuple[str, list[dict[str, Any]]]]:
        nonlocal distinct
        for code, events in country.accepted(taken):
            distinct += len(events)
            yield code, list(events)

    oracle = PatientOracle(list(reference()), facts())
    figures = {}
    for ask in ASKS:
        rows = oracle.figures(date.fromisoformat(ask.as_of), ask.period, ask.definition)
        figures[ask] = {
            scope: _flat({name: row[name] for name in row if name not in _NOT_IN_THE_API})
            for scope, row in rows.items()
        }
    return Expected(figures, distinct)


def rows_of(answer: Mapping[str, Any]) -> Rows:
    """The rows of an answer of the API, in the shape of what is expected."""
    return {
        row["scope"]: _flat({name: row[name] for name in row if name not in _NOT_COMPARED})
        for row in answer["rows"]
    }


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif name == "rank" and value is None:  # groups have no rank; the API names each indicator
            flat |= {f"{prefix}rank.{i}": None for i in _INDICATORS}
        else:
            flat[prefix + name] = float(value) if isinstance(value, Fraction) else value
    return flat


_IN_EVERY_LETTER = ("hoso-reason", "hoso-topic", "hoso-partition", "hoso-offset")
_INDICATORS = ("services_with_dossiers", "online_processed")


@dataclass
class Comparison:
    """Figures compared, and those that differ."""

    figures: int = 0
    differences: list[str] = field(default_factory=list)

    def rows(self, where: str, ask: Ask, found: Rows, wanted: Rows) -> None:
        """Every figure of every scope, and that there are no others."""
        for scope in sorted(found.keys() | wanted.keys()):
            ours, theirs = found.get(scope, {}), wanted.get(scope, {})
            for name in sorted(ours.keys() | theirs.keys()):
                self.figures += 1
                if name not in ours or name not in theirs or ours[name] != theirs[name]:
                    self.differences.append(
                        f"{where}, {' '.join(ask)}: {scope} {name} is "
                        f"{ours.get(name, 'missing')}, must be {theirs.get(name, 'missing')}"
                    )


@dataclass
class Letters:
    """The event topics held against the dead letters."""

    records: int = 0
    """In the event topics, forwarded copies included."""
    distinct: int = 0
    """Different good events among them."""
    astray: int = 0
    """Good ones on the wrong partition for their key."""
    malformed: int = 0
    letters: int = 0
    distinct_letters: int = 0
    problems: list[str] = field(default_factory=list)


class Owed(NamedTuple):
    """What the dead letter of a record must say (contract, section 2)."""

    reason: str
    value: bytes | None
    """The digest of what is kept of the value; None of no value."""
    cut: bytes | None
    """Header ``hoso-cut``."""


def owed(reason: str, value: bytes | None) -> Owed:
    """The value unchanged; of more than 512 KiB the first 64 KiB, with length and SHA-256."""
    if value is None or len(value) <= 512 * 1024:
        return Owed(reason, None if value is None else hashlib.sha256(value).digest(), None)
    whole = f"{len(value)} sha256:{hashlib.sha256(value).hexdigest()}"
    return Owed(reason, hashlib.sha256(value[: 64 * 1024]).digest(), whole.encode())


async def check_letters(
    bootstrap: str, prefix: str, partitions: int, refused: Mapping[Place, str]
) -> Letters:
    """Every malformed record has a dead letter as the contract says, and no other record has one.

    ``refused``: records of the reference topics that must have one; compaction may have taken them.
    Others there may be of records that were sent twice, since nobody acknowledged the first.
    """
    found = Letters()
    malformed: dict[Place, Owed] = {}
    good: set[int] = set()
    for topic in EVENTS:
        async for record in everything(bootstrap, prefix + topic, partitions):
            found.records += 1
            reason = dict(record.headers).get(BAD_HEADER)
            if reason is not None:
                at = record.topic, record.partition, record.offset
                malformed[at] = owed(reason.decode(), record.value)
            else:
                good.add(hash(json.loads(record.value)["id"]))
                if partition_for(record.key, partitions) != record.partition:
                    found.astray += 1
    found.malformed, found.distinct = len(malformed), len(good)
    seen: Counter[Place] = Counter()
    reference_topics = {prefix + topic for topic in ("agencies", "targets")}
    async for letter in everything(bootstrap, f"{prefix}dead-letters", partitions):
        found.letters += 1
        headers = dict(letter.headers)
        said = {name: headers[name].decode() for name in _IN_EVERY_LETTER}
        at = said["hoso-topic"], int(said["hoso-partition"]), int(said["hoso-offset"])
        seen[at] += 1
        digest = None if letter.value is None else hashlib.sha256(letter.value).digest()
        says = Owed(said["hoso-reason"], digest, headers.get("hoso-cut"))
        if at[0] in reference_topics:
            if headers.get(BAD_HEADER) != says.reason.encode():
                found.problems.append(f"dead letter of a good record {at}: {says.reason}")
        elif at not in malformed:
            found.problems.append(f"dead letter of a good record {at}: {says.reason}")
        elif malformed[at] != says:
            found.problems.append(f"{at} is {malformed[at]}, its letter says {says}")
    found.distinct_letters = len(seen)
    owing = malformed.keys() | refused.keys()
    found.problems += [f"no dead letter of {at}" for at in owing - seen.keys()]
    return found


async def everything(
    bootstrap: str, topic: str, partitions: int
) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Every record of a topic up to its ends as of now, but those of aborted transactions."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        tps = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(tps)
        ends = await end_offsets(consumer, tps)
        heard = time.monotonic()
        while behind := [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
            fetched = await consumer.getmany(*behind, timeout_ms=500)
            if fetched:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENCE_SECONDS:
                at = {tp.partition: (await consumer.position(tp), ends[tp]) for tp in behind}
                raise TimeoutError(f"nothing more of {topic} from the brokers: (at, end) {at}")
            for records in fetched.values():
                for record in records:
                    yield record
    finally:
        await consumer.stop()
