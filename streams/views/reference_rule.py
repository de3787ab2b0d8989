"""Which record of a key stands on ``hoso.agencies`` and ``hoso.targets``, and what must be written
so that compaction keeps it. Pure: records in, a :class:`Standing` out, whatever their order.

The rule (contract, section 1): of all accepted records of a key, tombstones included, the one with
the latest broker timestamp stands, whatever partition it is on. Between equal timestamps the higher
partition decides, then the higher offset, so that every reader decides alike. A refused record
stands nowhere. Where a topic keeps producers' timestamps (the embedded broker does) these are taken
for the broker's, so a producer whose clock is ahead has the last word until others catch up, and
what cannot be a time is the earliest.

Compaction follows another rule: it keeps the *last* record of a key on *each* partition, accepted
or not, and drops tombstones after ``delete.retention.ms``. Left alone it would turn a refused
record into a removal, and a removal into a return of what another partition still holds. So the
worker that owns a partition writes the standing record again behind whatever must not be the last
word there (:func:`owed`). Such a copy says whose it is in a header, and counts as of the original's
place and time: a copy that lands late, or is written by a worker that had not read everything,
never outranks a newer record (docs/adr/0007).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from schemas.admission import TOLERANCE_MS, admit
from schemas.decoder import Rejection, decode, too_large
from schemas.events import RegisteredEvent, TargetEvent
from schemas.instants import record_time
from schemas.topics import Topic
from streams.kafka.batch_writer import Headers, Outgoing
from streams.kafka.log import Record

RESTORES = "hoso-restores"
"""Header of a copy: the original's ``timestamp/partition/offset``."""

ReferenceEvent = RegisteredEvent | TargetEvent


class Stamp(NamedTuple):
    """When (ms since the epoch, by the broker) and where a record reached the log."""

    timestamp: int
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Version:
    """An accepted record of a key."""

    stamp: Stamp
    """What it counts as of: a copy's is its original's."""
    at: Stamp
    """Where it was read."""
    event: ReferenceEvent | None
    """None: a tombstone."""
    value: bytes | None
    headers: Headers

    def says_the_same_as(self, other: Version) -> bool:
        """Whether it does not matter which of the two stands."""
        return (self.event and self.event.data) == (other.event and other.event.data)

    @property
    def rank(self) -> tuple[Stamp, bytes, Stamp]:
        """The greater stands. ``at`` is each record's own, so no two are equal."""
        return self.stamp, self.value or b"", self.at


@dataclass(frozen=True, slots=True)
class Standing:
    """What some records of one key amount to."""

    best: Version | None
    """The record that stands; None where all were refused."""
    last: Mapping[int, tuple[int, Version | None]]
    """Partition → the offset of the key's last record there, and the record unless refused."""

    @property
    def event(self) -> ReferenceEvent | None:
        """What the key says; None: it has no entry."""
        return self.best.event if self.best is not None else None


def standing(topic: Topic, record: Record) -> Standing:
    """What one record amounts to."""
    version = _version(topic, record)
    return Standing(version, {record.partition: (record.offset, version)})


def merge(one: Standing | None, other: Standing) -> Standing:
    """What the records of both amount to. Order and repetition make no difference."""
    if one is None:
        return other
    versions = [version for version in (one.best, other.best) if version is not None]
    last = dict(one.last)
    for partition, found in other.last.items():
        if partition not in last or found[0] > last[partition][0]:
            last[partition] = found
    return Standing(max(versions, key=lambda version: version.rank, default=None), last)


def owed(key: bytes, standing: Standing, partition: int) -> Outgoing | None:
    """The record to be written to ``partition`` so that its log keeps what stands; None: none.

    Where nothing stands nothing is owed: a key that only has refused records has no entry, with
    them or without.
    """
    best, last = standing.best, standing.last.get(partition)
    if best is None or last is None:
        return None
    version = last[1]
    if version is not None:
        if version.says_the_same_as(best):
            return None
        nowhere = not any(
            other is not None and other.says_the_same_as(best)
            for _, other in standing.last.values()
        )
        # An older value elsewhere does no harm while the newer one stands: it would only come back
        # once a tombstone has been dropped. Nor does a copy that came too late, but whoever goes by
        # the timestamps alone would take it for the newest.
        comes_back = best.event is None
        keeps_best = nowhere and best.at.partition == partition
        misleads = version.at.timestamp >= best.at.timestamp
        if not (comes_back or keeps_best or misleads):
            return None
    stamp = "/".join(map(str, best.stamp)).encode()
    return Outgoing(key, best.value, (*best.headers, (RESTORES, stamp)))


def restores(headers: Headers, timestamp: int | None) -> bool:
    """Whether a record with these is a copy of an earlier one, and so says nothing new."""
    return _original(headers, timestamp) is not None


def without_mark(headers: Headers) -> Headers:
    """The headers as the original had them."""
    if any(name == RESTORES for name, _ in headers):
        return tuple(header for header in headers if header[0] != RESTORES)
    return headers


def _version(topic: Topic, record: Record) -> Version | None:
    at = _at(record)
    headers = without_mark(record.headers)
    event: ReferenceEvent | None = None
    if record.value is None:
        if too_large(None, headers, record.key):
            return None
    else:
        decoded = decode(topic, record.value, headers, record.key)
        if isinstance(decoded, Rejection) or admit(decoded, record.key, record.timestamp, {}):
            return None
        if not isinstance(decoded, RegisteredEvent | TargetEvent):
            return None
        event = decoded
    stamp = _original(record.headers, record.timestamp) or at
    return Version(stamp, at, event, record.value, tuple(headers))


def _at(record: Record) -> Stamp:
    return Stamp(_time(record.timestamp), record.partition, record.offset)


def _time(timestamp: int | None) -> int:
    time = record_time(timestamp)
    return -1 if time is None else time


def _original(headers: Headers, timestamp: int | None) -> Stamp | None:
    """The stamp that a copy counts as of; None for any other record. A copy made up by somebody
    cannot claim to be from the future, beyond what the brokers' clocks may differ by."""
    for name, value in headers:
        if name == RESTORES and value is not None:
            try:
                stamp = Stamp(*map(int, value.decode().split("/")))
            except (ValueError, TypeError, AttributeError):
                continue
            if stamp.timestamp <= _time(timestamp) + TOLERANCE_MS:
                return stamp
    return None
