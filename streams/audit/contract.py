"""A record's bytes → what it says, or why it says nothing: the contract, section 2, read anew.

Standard library and orjson only. Deliberately plain: parse to dicts, then look at every member by
hand. Whether an agency is registered is not judged here, since that depends on when.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

LONGEST = 64 * 1024
LONGEST_NAME = 500
AHEAD_MS = 5 * 60 * 1000

Headers = Sequence[tuple[str, bytes | None]]


class Submission(NamedTuple):
    """``hoso.dossier.submitted.v1``. Instants in µs since the epoch."""

    agency: str
    dossier: str
    revision: int
    at: int
    id: str
    void: bool
    service: str
    channel: int
    """0 online, 1 in person, 2 postal."""
    due_at: int | None


class Step(NamedTuple):
    """``hoso.dossier.processed.v1``."""

    agency: str
    dossier: str
    status: int
    revision: int
    at: int
    id: str
    void: bool


class Listing(NamedTuple):
    """``hoso.service.listed.v1``. ``effective_from`` in days since 1970-01-01."""

    agency: str
    service: str
    effective_from: int
    revision: int
    id: str
    listed: bool
    level: int
    eligible: bool
    name: str


class Registration(NamedTuple):
    """``hoso.agency.registered.v1``."""

    agency: str
    name: str
    kind: str
    sources: frozenset[str]


class Assignment(NamedTuple):
    """``hoso.target.assigned.v1``."""

    scope: str
    indicator: str
    year: int
    ratio: float


Said = Submission | Step | Listing | Registration | Assignment

TOPIC_OF = {
    "hoso.dossier.submitted.v1": "submissions",
    "hoso.dossier.processed.v1": "processing",
    "hoso.service.listed.v1": "catalogue",
    "hoso.agency.registered.v1": "agencies",
    "hoso.target.assigned.v1": "targets",
}


class RefusedError(Exception):
    """The record is no fact; the argument is the contract's reason."""


class Read(NamedTuple):
    """A well-formed record: what it says, and who says it."""

    said: Said
    source: str


def read(
    topic: str, key: bytes | None, value: bytes | None, headers: Headers, at_ms: int | None
) -> Read:
    """What a record of ``topic`` (without the prefix) says.

    ``at_ms``: the record's timestamp in ms. Where it is none, or no time from 1970 to the end of
    the calendar (microseconds, say), nothing is ahead of it.
    Raises :class:`RefusedError` with the first reason of the contract that applies, of all but the
    two that depend on registrations (``unknown_agency``, ``source_not_allowed``).
    """
    if size(key, headers) > LONGEST:
        raise RefusedError("too_large")
    envelope, data = _open(value, headers)
    if envelope.get("specversion") != "1.0":
        raise RefusedError("bad_envelope")
    id_, source, kind = envelope.get("id"), envelope.get("source"), envelope.get("type")
    if type(id_) is not str or type(source) is not str or type(kind) is not str:
        raise RefusedError("bad_envelope")
    if not (id_ and source and kind):
        raise RefusedError("bad_envelope")
    time = envelope.get("time")
    if time is not None and _instant(time) is None:
        raise RefusedError("bad_envelope")
    home = TOPIC_OF.get(kind)
    if home is None:
        raise RefusedError("unknown_type")
    if home != topic:
        raise RefusedError("wrong_topic")
    if isinstance(data, _Encoded):
        data = data.decode()
    if type(data) is not dict:
        raise RefusedError("bad_data")
    said: Said = _READERS[home](id_, data)
    if key != _key(said):
        raise RefusedError("key_mismatch")
    dated = at_ms if at_ms is not None and 0 <= at_ms <= LAST_MS else None
    at = said.at if isinstance(said, Submission | Step) else None
    if at is not None and dated is not None and at > (dated + AHEAD_MS) * 1000:
        raise RefusedError("future_time")
    return Read(said, source)


def size(key: bytes | None, headers: Headers) -> int:
    """Bytes of key and headers together; an empty header counts as one."""
    size = len(key or b"")
    for name, raw in headers:
        size += len(name.encode("utf-8", "surrogatepass")) + len(raw or b"") or 1
    return size


def _key(said: Said) -> bytes:
    if isinstance(said, Assignment):
        return f"{said.scope}/{said.indicator}/{said.year}".encode()
    return said.agency.encode()


# -- the envelope (CloudEvents 1.0, its JSON format and its Kafka binding) -------------------------


class _Encoded(NamedTuple):
    """``data_base64``: looked into once envelope, type and topic are known to be right."""

    text: Any

    def decode(self) -> Any:
        try:
            if type(self.text) is not str:
                raise RefusedError("bad_data")
            return _parse(b64decode(self.text, validate=True))
        except (binascii.Error, ValueError):
            raise RefusedError("bad_data") from None


def _parse(text: bytes) -> Any:
    """Strict JSON in UTF-8. Raises ``ValueError``.

    orjson refuses numbers beyond a float (1e400), which are JSON; what it refuses is looked at
    again, slowly, and without what the standard library allows beyond JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        document = json.loads(text.decode(), parse_constant=_no_json)
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except RecursionError:
        raise ValueError("nested too deep") from None
    return document


def _no_json(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


_STRUCTURED: set[tuple[tuple[str, bytes | None], ...]] = set()
"""Headers that were found to mean the structured mode; nearly all records share a few."""
_STRUCTURED_KEPT = 100


def _open(value: bytes | None, headers: Headers) -> tuple[Mapping[str, Any], Any]:
    """The context attributes and the data."""
    if value is not None and len(value) > LONGEST:
        raise RefusedError("too_large")
    if not value:
        raise RefusedError("not_json")
    try:
        document = _parse(value)
    except ValueError:
        raise RefusedError("not_json") from None
    if headers and tuple(headers) not in _STRUCTURED:
        attributes = _binary(headers)
        if attributes is not None:
            return attributes, document
        if len(_STRUCTURED) < _STRUCTURED_KEPT:
            _STRUCTURED.add(tuple(headers))
    if type(document) is not dict:
        raise RefusedError("bad_envelope")
    data, encoded = document.get("data"), document.get("data_base64")
    if encoded is None:
        return document, data
    if data is not None:
        raise RefusedError("bad_envelope")
    return document, _Encoded(encoded)


def _binary(headers: Headers) -> dict[str, str] | None:
    """The ``ce_`` attributes of a record in binary mode; None for the structured mode."""
    content_type = ""
    attributes: dict[str, str] = {}
    given: list[tuple[str, bytes]] = []
    for name, raw in headers:
        if name.lower() == "content-type":
            content_type = (raw or b"").decode("latin-1").split(";")[0].strip().lower()
        elif name.startswith("ce_") and raw is not None:
            given.append((name[3:], raw))
    if content_type.startswith("application/cloudevents"):
        if content_type not in ("application/cloudevents", "application/cloudevents+json"):
            raise RefusedError("bad_envelope")  # a batch, or a format nobody here speaks
        return None
    if not any(name.startswith("ce_") for name, _ in headers):
        return None
    for name, raw in given:
        if name in attributes:
            raise RefusedError("bad_envelope")
        try:
            attributes[name] = raw.decode()
        except UnicodeDecodeError:
            raise RefusedError("bad_envelope") from None
    return attributes


# -- the data --------------------------------------------------------------------------------------

_CODE = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]{1,64}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CHANNELS = {"online": 0, "in_person": 1, "postal": 2, None: 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def _us(instant: datetime) -> int:
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


# Only an instant with a calendar day in Viet Nam can be counted on a day.
_VIETNAM = timezone(timedelta(hours=7))
_FIRST = _us(datetime(1, 1, 1, tzinfo=_VIETNAM))
_LAST = _us(datetime.max.replace(tzinfo=_VIETNAM))
LAST_MS = _LAST // 1000
"""The last timestamp in ms that is a time."""


_HOURS: dict[str, int] = {}
"""Day, hour and offset (or fraction) as written, once seen in a good timestamp → µs of the hour."""
_HOURS_KEPT = 200_000
_MINUTES = {f"{n:02}": n * 60_000_000 for n in range(60)}
_SECONDS = {f"{n:02}": n * 1_000_000 for n in range(60)}


def _instant(text: Any) -> int | None:
    """RFC 3339 with an offset → µs since the epoch (the rest is cut off); None for all else."""
    if type(text) is not str:
        return None
    if len(text) != 25 or text[13] != ":" or text[16] != ":":
        return _any_instant(text)
    # The usual form. Most timestamps share their hour with another: a third of the time saved.
    hour = text[:13] + text[19:]
    known = _HOURS.get(hour)
    minutes, seconds = _MINUTES.get(text[14:16]), _SECONDS.get(text[17:19])
    if minutes is None or seconds is None:
        return _any_instant(text)
    if known is None:
        instant = _any_instant(text)
        if instant is not None:
            if len(_HOURS) > _HOURS_KEPT:
                _HOURS.clear()
            _HOURS[hour] = instant - minutes - seconds
        return instant
    return known + minutes + seconds


def _any_instant(text: str) -> int | None:
    if _INSTANT.fullmatch(text) is None:
        return None
    try:
        return _us(datetime.fromisoformat(text.upper()))
    except ValueError:
        return None


def _dated(text: Any) -> int:
    instant = _instant(text)
    if instant is None or not _FIRST <= instant <= _LAST:
        raise RefusedError("bad_data")
    return instant


@lru_cache(maxsize=65_536)
def _is_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None


def _agency(data: Mapping[str, Any]) -> str:
    code = _code(data, "agency")
    if code in ("national", "ministries", "provinces"):  # figures of groups have these names
        raise RefusedError("bad_data")
    return code


def _code(data: Mapping[str, Any], name: str) -> str:
    code = data.get(name)
    if type(code) is not str or not _is_code(code):
        raise RefusedError("bad_data")
    return code


def _dossier(data: Mapping[str, Any]) -> str:
    code = data.get("dossier")  # as _code, but seldom seen twice
    if type(code) is not str or _CODE.fullmatch(code) is None:
        raise RefusedError("bad_data")
    return code


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise RefusedError("bad_data")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise RefusedError("bad_data")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise RefusedError("bad_data")
    return value


def _name(value: Any) -> str:
    name = _text(value)
    if len(name) > LONGEST_NAME:
        raise RefusedError("bad_data")
    return name


def _no_others(data: Mapping[str, Any], known: frozenset[str]) -> None:
    if not data.keys() <= known:
        raise RefusedError("bad_data")


_REVISIONS = 2**31 - 1
_SUBMITTED = frozenset(
    {"dossier", "agency", "service", "channel", "submitted_at", "due_at", "revision", "void"}
)
_PROCESSED = frozenset({"dossier", "agency", "status", "at", "revision", "void"})
_LISTED = frozenset(
    {"agency", "service", "name", "level", "eligible", "listed", "effective_from", "revision"}
)
_REGISTERED = frozenset({"agency", "name", "kind", "sources"})
_ASSIGNED = frozenset({"scope", "indicator", "year", "ratio"})


def _submission(id_: str, data: Mapping[str, Any]) -> Submission:
    _no_others(data, _SUBMITTED)
    channel = data.get("channel")
    if type(channel) not in (str, type(None)) or channel not in _CHANNELS:
        raise RefusedError("bad_data")
    due_at = None
    if data.get("due_at") is not None:
        due_at = _instant(data["due_at"])
        if due_at is None:
            raise RefusedError("bad_data")
    return Submission(
        _agency(data),
        _dossier(data),
        _whole(data.get("revision", 0), 0, _REVISIONS),
        _dated(data.get("submitted_at")),
        id_,
        _flag(data.get("void", False)),
        _code(data, "service"),
        _CHANNELS[channel],
        due_at,
    )


def _step(id_: str, data: Mapping[str, Any]) -> Step:
    _no_others(data, _PROCESSED)
    return Step(
        _agency(data),
        _dossier(data),
        _whole(data.get("status"), 2, 10),
        _whole(data.get("revision", 0), 0, _REVISIONS),
        _dated(data.get("at")),
        id_,
        _flag(data.get("void", False)),
    )


def _listing(id_: str, data: Mapping[str, Any]) -> Listing:
    _no_others(data, _LISTED)
    day = data.get("effective_from")
    if type(day) is not str or _DAY.fullmatch(day) is None:
        raise RefusedError("bad_data")
    try:
        effective_from = date.fromisoformat(day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise RefusedError("bad_data") from None
    name = data.get("name")
    return Listing(
        _agency(data),
        _code(data, "service"),
        effective_from,
        _whole(data.get("revision", 0), 0, _REVISIONS),
        id_,
        _flag(data.get("listed")),
        _whole(data.get("level"), 1, 4),
        _flag(data.get("eligible")),
        "" if name is None else _name(name),
    )


def _registration(_: str, data: Mapping[str, Any]) -> Registration:
    _no_others(data, _REGISTERED)
    sources = data.get("sources")
    if type(sources) is not list or not all(type(s) is str and s for s in sources):
        raise RefusedError("bad_data")
    kind = data.get("kind")
    if kind not in ("ministry", "province"):
        raise RefusedError("bad_data")
    return Registration(_agency(data), _name(data.get("name")), kind, frozenset(sources))


def _assignment(_: str, data: Mapping[str, Any]) -> Assignment:
    _no_others(data, _ASSIGNED)
    indicator = data.get("indicator")
    ratio: Any = data.get("ratio")
    if indicator not in ("services_with_dossiers", "online_processed"):
        raise RefusedError("bad_data")
    if type(ratio) not in (int, float) or not 0 <= ratio <= 1:
        raise RefusedError("bad_data")
    year = _whole(data.get("year"), 1900, 9999)
    return Assignment(_code(data, "scope"), indicator, year, float(ratio))


_READERS: Mapping[str, Any] = {
    "submissions": _submission,
    "processing": _step,
    "catalogue": _listing,
    "agencies": _registration,
    "targets": _assignment,
}
