"""The short way to read the two kinds of event that come by the million.

A record in the plain form that portals' libraries write is read in a quarter of the time that the
full validator takes (:mod:`schemas.decoder`), which stays the one authority: whatever is accepted
here, it accepts, with the same values. Everything else (unknown envelope attributes, binary mode,
codes beyond ASCII, years before 1000, …) is not judged here but left to it, errors included.
Tests hold that against it (tests/processing/test_fast_path.py).

Imports msgspec, the schemas and the standard library only; pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Final, Literal, Protocol, final

import msgspec

from schemas.admission import TOLERANCE_MS
from schemas.decoder import MAX_VALUE_BYTES
from schemas.events import GROUPS
from schemas.topics import Topic

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Code = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Revision = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class PlainSubmitted(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """`data` of `hoso.dossier.submitted.v1`; instants still as text, codes not yet checked."""

    dossier: _Code
    agency: _Code
    service: _Code
    channel: Literal["online", "in_person", "postal"] | None = None
    at: str = msgspec.field(name="submitted_at")
    due_at: str | None = None
    revision: _Revision = 0
    void: bool = False


class PlainProcessed(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """`data` of `hoso.dossier.processed.v1`; the instant still as text, codes not yet checked."""

    dossier: _Code
    agency: _Code
    status: Annotated[int, msgspec.Meta(ge=2, le=10)]
    at: str
    revision: _Revision = 0
    void: bool = False


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """The attributes that are known to be harmless. What others hold would have to be looked at:
    msgspec skips unknown members without checking that they are UTF-8."""

    specversion: Literal["1.0"]
    id: _Text
    source: _Text
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    subject: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    partitionkey: str | None = None


@final
class PlainSubmittedEvent(_Envelope, gc=False):
    """A submission in the plain form."""

    type: Literal["hoso.dossier.submitted.v1"]
    data: PlainSubmitted


@final
class PlainProcessedEvent(_Envelope, gc=False):
    """A processing step in the plain form."""

    type: Literal["hoso.dossier.processed.v1"]
    data: PlainProcessed


_Error: Final = (msgspec.MsgspecError, ValueError, TypeError)
"""What the readers raise for anything that is not in the plain form, a null value included."""

_read_submitted: Final = msgspec.json.Decoder(PlainSubmittedEvent).decode
_read_processed: Final = msgspec.json.Decoder(PlainProcessedEvent).decode


class Record(Protocol):
    """What is read of a record; see :mod:`schemas.decoder` and :mod:`schemas.admission`."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp: int | None


Plain = tuple[PlainSubmittedEvent, int, int | None] | tuple[PlainProcessedEvent, int, None]
"""An event, its instant (`submitted_at` or `at`) and `due_at`, in µs since the epoch."""

_TOLERANCE_US: Final = TOLERANCE_MS * 1000


def read_plain(
    topic: Topic, record: Record, agencies: Mapping[str, frozenset[str]]
) -> Plain | None:
    """A good submission or step in the plain form; None says nothing of any other record.

    Repeats what `decode` and `admit` say of a good record, and leaves everything else to them.
    """
    value = record.value
    if value is None:
        return None
    event: PlainSubmittedEvent | PlainProcessedEvent
    try:
        if topic is Topic.processing:
            event = _read_processed(value)
        elif topic is Topic.submissions:
            event = _read_submitted(value)
        else:
            return None
    except _Error:
        return None
    data = event.data
    sources = agencies.get(data.agency)
    at = instant_us(data.at)
    timestamp = record.timestamp
    if (
        sources is None
        or (sources and event.source not in sources)
        or at is None
        or record.key != data.agency.encode()
        or record.headers
        or data.agency in GROUPS
        or not _plain_code(data.dossier)
        or timestamp is None
        or timestamp < 0
        or at > timestamp * 1000 + _TOLERANCE_US
        or len(value) > MAX_VALUE_BYTES
    ):
        return None
    time = event.time
    if time is not None and time != data.at and instant_us(time) is None:
        return None
    if type(event) is PlainProcessedEvent:
        return event, at, None
    submitted = event.data
    if not _plain_code(submitted.service):
        return None
    if submitted.due_at is None:
        return event, at, None
    due_at = instant_us(submitted.due_at)
    return None if due_at is None else (event, at, due_at)


def _plain_code(code: str) -> bool:
    """Whether a code of 1 to 64 characters is of printing ASCII without spaces."""
    return code.isascii() and code.isprintable() and " " not in code


_DAY: Final = re.compile(r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T")
_MINUTE: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9]):")
_REST: Final = re.compile(
    r"([0-5][0-9])(?:\.([0-9]+))?(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))", re.ASCII
)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_REMEMBERED: Final = 50_000

_days: dict[str, int] = {}
"""``YYYY-MM-DDT`` → µs from the epoch to its start in UTC; each key has been found good."""
_minutes: dict[str, int] = {}
"""``HH:MM:`` → µs; at most 1,440."""
_rests: dict[str, int] = {}
"""Seconds and offset without a fraction → µs; at most 60 times 2,880."""


def instant_us(text: str) -> int | None:
    """Microseconds since the epoch of an RFC 3339 instant of the years 1000 to 9998.

    None for everything else, which may still be good: the full validator decides. Digits beyond
    the microsecond are cut off, as there. Exact integers, and a third of the time of a datetime:
    a portal's instants share their days, minutes and offsets, so these are looked up.
    """
    try:
        return _days[text[:11]] + _minutes[text[11:17]] + _rests[text[17:]]
    except KeyError:
        return _learn(text)


def _learn(text: str) -> int | None:
    day, minute, rest = text[:11], text[11:17], text[17:]
    if day not in _days:
        if not _DAY.fullmatch(day) or day >= "9999":
            return None
        try:
            ordinal = date.fromisoformat(day[:10]).toordinal()
        except ValueError:
            return None
        if len(_days) >= _REMEMBERED:
            _days.clear()
        _days[day] = (ordinal - _EPOCH_DAY) * 86_400_000_000
    if minute not in _minutes:
        found = _MINUTE.fullmatch(minute)
        if found is None:
            return None
        _minutes[minute] = (int(found[1]) * 60 + int(found[2])) * 60_000_000
    if rest not in _rests:
        found = _REST.fullmatch(rest)
        if found is None:
            return None
        seconds, fraction, sign, hours, minutes = found.groups()
        at = int(seconds) * 1_000_000
        if sign is not None:
            offset = (int(hours) * 60 + int(minutes)) * 60_000_000
            at += offset if sign == "-" else -offset
        if fraction is not None:
            return _days[day] + _minutes[minute] + at + int(fraction[:6].ljust(6, "0"))
        if len(_rests) >= _REMEMBERED:
            _rests.clear()
        _rests[rest] = at
    return _days[day] + _minutes[minute] + _rests[rest]
