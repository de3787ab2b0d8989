"""What the topics hold, taken in step by step: facts, refusals, dead letters, registrations, rows.

Every part only grows as its log is read on, so that a look at a moving register can be repeated
without reading everything again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from hashlib import blake2b, sha256
from typing import Any, NamedTuple

from aiokafka import ConsumerRecord

from streams.audit.contract import (
    LAST_MS,
    LONGEST,
    Assignment,
    RefusedError,
    Registration,
    read,
    size,
)
from streams.audit.facts import Facts
from streams.kafka.partitioner import partition_for
from streams.kafka.topics import AGENCIES, EVENT_TOPICS, TARGETS
from streams.kafka.unpacking import Cut
from streams.settings import Settings

ON_REGISTRATIONS = frozenset({"unknown_agency", "source_not_allowed"})
"""Reasons that hang on what was registered when a worker judged the record."""


_MONTH = re.compile(rb"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])")


class Place(NamedTuple):
    """A record's coordinates; the topic in full."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


def _digest(value: bytes | None) -> bytes | None:
    return None if value is None else blake2b(value, digest_size=16).digest()


class _Kept(NamedTuple):
    """What a dead letter has of a value."""

    digest: bytes | None
    cut: bytes | None
    """Header ``hoso-cut``: length and SHA-256 of the whole, if this is its beginning."""


def _to_be_kept(value: bytes | None) -> _Kept:
    """What it must have: all, or of more than 512 KiB the first 64 KiB (contract, section 2)."""
    if isinstance(value, Cut):
        length, digest = value.length, value.sha256
    elif value is None or len(value) <= 512 * 1024:
        return _Kept(_digest(value), None)
    else:
        length, digest = len(value), sha256(value).hexdigest()
    whole = f"{length} sha256:{digest}" if digest else f"{length}"
    return _Kept(_digest(value[: 64 * 1024]), whole.encode())


class DeadLetters:
    """The records that workers rejected, by their coordinates."""

    def __init__(self) -> None:
        self.reasons: dict[Place, set[str]] = {}
        self.values: dict[Place, _Kept] = {}
        self.offsets: dict[tuple[str, int], set[int]] = {}
        """(topic, partition) → the offsets of its rejected records."""
        self.unreadable = 0
        """Dead letters that do not say where they come from."""

    def take(self, records: Iterable[ConsumerRecord[Any, Any]]) -> set[Place]:
        """Take dead letters in; the places they speak of."""
        new = set()
        for record in records:
            headers = dict(record.headers)
            try:
                place = Place(
                    headers["hoso-topic"].decode(),
                    int(headers["hoso-partition"]),
                    int(headers["hoso-offset"]),
                )
                reason = headers["hoso-reason"].decode()
            except (KeyError, ValueError, AttributeError):
                self.unreadable += 1
                continue
            self.reasons.setdefault(place, set()).add(reason)
            self.offsets.setdefault((place.topic, place.partition), set()).add(place.offset)
            self.values[place] = _Kept(_digest(record.value), headers.get("hoso-cut"))
            new.add(place)
        return new


class Events:
    """The records of the event topics, judged: facts, and what is none."""

    def __init__(self, settings: Settings, dead: DeadLetters) -> None:
        self._short = {settings.topic(name): name for name in EVENT_TOPICS}
        self._partitions = settings.partitions
        self._dead = dead
        self.facts = Facts()
        self.refused: dict[Place, str] = {}
        self.left_out: dict[Place, str] = {}
        """Not counted because a worker refused them for what was registered then."""
        self.altered: set[Place] = set()
        """Records whose dead letter has another value."""
        self.misplaced = 0
        self.records = 0

    def take(self, records: list[ConsumerRecord[Any, Any]]) -> None:
        """Judge records of one partition.

        A record on the wrong partition for its key counts like any other: a worker forwards it,
        and the copy says the same. Should the copy be lost, the audit misses it.
        """
        if not records:
            return
        topic, partition = records[0].topic, records[0].partition
        short = self._short[topic]
        rejected = self._dead.offsets.get((topic, partition), set())
        add = self.facts.add
        homes: dict[bytes | None, bool] = {}
        self.records += len(records)
        for record in records:
            key, offset = record.key, record.offset
            if offset in rejected and self._left_out(Place(topic, partition, offset), record):
                continue
            try:
                said, source = read(short, key, record.value, record.headers, record.timestamp)
            except RefusedError as refused:
                self.refused[Place(topic, partition, offset)] = str(refused)
                continue
            home = homes.get(key)
            if home is None:
                home = homes[key] = partition_for(key or b"", self._partitions) == partition
            if not home:
                self.misplaced += 1
            add(said, source)

    def _left_out(self, place: Place, record: ConsumerRecord[Any, Any]) -> bool:
        """Whether a record with a dead letter is not counted for its registration's sake."""
        if self._dead.values[place] != _to_be_kept(record.value):
            self.altered.add(place)
        reasons = self._dead.reasons[place] & ON_REGISTRATIONS
        if not reasons:
            return False
        short = self._short[place.topic]
        try:
            read(short, record.key, record.value, record.headers, record.timestamp)
        except RefusedError as refused:
            if str(refused) != "future_time":  # the two reasons come before that one only
                return False
        self.left_out[place] = min(reasons)
        return True

    def overtaken(self, places: Iterable[Place], read_to: Mapping[tuple[str, int], int]) -> bool:
        """Whether a dead letter that came late takes back a fact that was counted already."""
        return any(
            place.offset < read_to.get((place.topic, place.partition), 0)
            and place not in self.refused
            and place not in self.left_out
            and self._dead.reasons[place] & ON_REGISTRATIONS
            for place in places
        )

    def disagreements(
        self, read_to: Mapping[tuple[str, int], int]
    ) -> Iterable[tuple[Place, str, str]]:
        """(place, what the workers did, what the contract says) of records judged differently."""
        for place, reason in self.refused.items():
            given = self._dead.reasons.get(place, set())
            if reason not in given and not (reason == "future_time" and given & ON_REGISTRATIONS):
                yield place, " and ".join(sorted(given)) or "accepted", reason
        for place, given in self._dead.reasons.items():
            within = place.offset < read_to.get((place.topic, place.partition), 0)
            if within and place not in self.refused and place not in self.left_out:
                yield place, " and ".join(sorted(given)), "accepted"
        for place in self.altered:
            yield place, "dead letter with another value", "the raw value unchanged"

    def strangers(self, agencies: Mapping[str, Registration]) -> Counter[str]:
        """Facts that were accepted once, and would be refused by the registrations of today."""
        found: Counter[str] = Counter()
        for (agency, source), facts in self.facts.speakers.items():
            registered = agencies.get(agency)
            if registered is None:
                found["unknown_agency"] += facts
            elif registered.sources and source not in registered.sources:
                found["source_not_allowed"] += facts
        return found


_RESTORES = "hoso-restores"
"""Header of a record that a worker wrote again: ``timestamp/partition/offset`` of the original, as
of which it counts."""
_CLOCKS_MS = 5 * 60 * 1000
"""A copy cannot be this much older than its original, whatever the brokers' clocks say."""

_Key = tuple[str, bytes]
_Rank = tuple[int, int, int]


class Reference:
    """The registrations and targets that stand: per key the accepted record with the latest broker
    timestamp, whatever partition it is on (then the higher partition, then offset); null removes.
    """

    def __init__(self, settings: Settings) -> None:
        self._short = {settings.topic(name): name for name in (AGENCIES, TARGETS)}
        self._standing: dict[_Key, tuple[_Rank, bytes, Registration | Assignment | None]] = {}
        self._refused: dict[_Key, dict[int, Place]] = {}
        """Key → partition → its last record there, if that was refused."""

    def take(self, records: Iterable[ConsumerRecord[Any, Any]]) -> None:
        """Take in records of the two topics, those of a partition in the order of their log."""
        for record in records:
            if record.key is None:
                continue
            key = self._short[record.topic], record.key
            refused = self._refused.setdefault(key, {})
            try:
                said = self._said(record)
            except RefusedError:
                refused[record.partition] = Place(record.topic, record.partition, record.offset)
                continue
            refused.pop(record.partition, None)
            found = (_counts_as_of(record), record.value or b"", said)
            if key not in self._standing or found[:2] >= self._standing[key][:2]:
                self._standing[key] = found

    def _said(self, record: ConsumerRecord[Any, Any]) -> Registration | Assignment | None:
        headers = [header for header in record.headers if header[0] != _RESTORES]
        if record.value is None:
            if size(record.key, headers) > LONGEST:
                raise RefusedError("too_large")
            return None
        topic = self._short[record.topic]
        said, _ = read(topic, record.key, record.value, headers, record.timestamp)
        if not isinstance(said, Registration | Assignment):
            raise RefusedError("wrong_topic")
        return said

    def damaged(self, heard_of: Iterable[str]) -> Iterable[tuple[Place, str, str]]:
        """(place, what stands there, what should) of refused records that may take something away.

        One that is the last of its key on its partition, so that compaction keeps it and drops what
        was accepted; and one that is all there is of an agency that has been ``heard_of``: what was
        accepted before it is gone.
        """
        known = {code.encode() for code in heard_of}
        for (topic, key), places in self._refused.items():
            name = key.decode("utf-8", "backslashreplace")
            for place in places.values():
                if (topic, key) in self._standing:
                    yield place, f"refused, the last of {name}", "what stands, again behind it"
                elif topic == AGENCIES and key in known:
                    yield place, f"refused, all there is of {name}", "its registration or removal"

    @property
    def agencies(self) -> dict[str, Registration]:
        """The registered agencies by code."""
        found = (said for _, _, said in self._standing.values())
        return {a.agency: a for a in found if isinstance(a, Registration)}

    @property
    def targets(self) -> dict[tuple[str, str, int], Fraction]:
        """(scope, indicator, year) → the decimal that was assigned."""
        return {
            (t.scope, t.indicator, t.year): Fraction(repr(t.ratio))
            for _, _, t in self._standing.values()
            if isinstance(t, Assignment)
        }


def _counts_as_of(record: ConsumerRecord[Any, Any]) -> _Rank:
    timestamp = record.timestamp
    dated = timestamp is not None and 0 <= timestamp <= LAST_MS
    own = (timestamp if dated else -1, record.partition, record.offset)
    for name, raw in record.headers:
        if name == _RESTORES:
            parts = (raw or b"").split(b"/")
            if len(parts) == 3 and all(part.isdigit() for part in parts):
                original = int(parts[0]), int(parts[1]), int(parts[2])
                if original[0] <= own[0] + _CLOCKS_MS:
                    return original
    return own


class Rows:
    """The newest row of every key of `agency-months`."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self.rows: dict[bytes, bytes] = {}
        self.misplaced: set[bytes] = set()
        """Keys of which a row stands on the wrong partition."""

    def take(self, records: Iterable[ConsumerRecord[Any, Any]]) -> None:
        """Take in records in the order of their log."""
        for record in records:
            key = record.key
            if key is None:
                continue
            # The key of a row is agency/YYYY-MM; it lies where the agency's events lie. Readers
            # ignore other keys (contract, section 1).
            agency, _, month = key.rpartition(b"/")
            if not agency or _MONTH.fullmatch(month) is None:
                continue
            if partition_for(agency, self._partitions) != record.partition:
                if record.value is not None:
                    self.misplaced.add(key)
                continue
            if record.value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = record.value
