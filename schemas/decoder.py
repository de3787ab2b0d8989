"""Bytes of a record → an event, or the first reason in the contract's order why it is none.

Imports pydantic and the standard library only; pure, nothing to survive a crash. Content modes
follow the Kafka protocol binding for CloudEvents 1.0 (section 3: structured if the content type
begins with `application/cloudevents`, else binary, section 3.2) with one leniency: a record
without any `ce_` header is read as structured whatever its content type, because portals' HTTP
libraries send `application/json`.

A good structured event costs one call into pydantic-core. Everything else, binary mode included,
goes the slow way, which ends in the same validator: there is one authority on what is accepted.
"""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from schemas.events import (
    AgencyCode,
    Envelope,
    Event,
    ListedEvent,
    ProcessedEvent,
    RegisteredEvent,
    SubmittedEvent,
    TargetEvent,
)
from schemas.explain import describe, shorten
from schemas.topics import TOPIC_OF_TYPE, Topic

MAX_VALUE_BYTES: Final = 65_536
"""The longest value of a record that is read (the contract, section 2)."""

MAX_KEY_AND_HEADERS_BYTES: Final = 65_536
"""The most that key and headers may have together (the contract, section 2)."""


class Reason(StrEnum):
    """Why a record was rejected: a closed list, and the order in which reasons are tried."""

    too_large = "too_large"
    not_json = "not_json"
    bad_envelope = "bad_envelope"
    unknown_type = "unknown_type"
    wrong_topic = "wrong_topic"
    bad_data = "bad_data"
    key_mismatch = "key_mismatch"
    unknown_agency = "unknown_agency"
    source_not_allowed = "source_not_allowed"
    future_time = "future_time"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that is no fact.

    `detail` is one line for people. `agency` is `data.agency` where it could be read and is a
    well-formed code, else None. It is what the sender claims: compare it with the registered
    agencies before making it a metric label, or a sender decides how many series there are.
    """

    reason: Reason
    detail: str
    agency: str | None


T = TypeVar("T")


def _json_validator(kind: type[T]) -> Callable[[bytes], T]:
    validate: Callable[[bytes], T] = TypeAdapter(kind).validator.validate_json
    return validate


_VALIDATE: Final[Mapping[str, Callable[[bytes], Event]]] = MappingProxyType(
    {
        Topic.submissions: _json_validator(SubmittedEvent),
        Topic.processing: _json_validator(ProcessedEvent),
        Topic.catalogue: _json_validator(ListedEvent),
        Topic.agencies: _json_validator(RegisteredEvent),
        Topic.targets: _json_validator(TargetEvent),
    }
)
_validate_envelope: Final = _json_validator(Envelope)
_code: Final[TypeAdapter[str]] = TypeAdapter(AgencyCode)

_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "time")


@dataclass(frozen=True, slots=True)
class _ContentMode:
    """How the headers say the record is to be read."""

    attributes: Mapping[str, str] | None = None
    """Binary mode: the context attributes given in `ce_` headers. None: structured mode."""
    fault: str | None = None
    """Headers that no event can have."""


_STRUCTURED: Final = _ContentMode()


def _content_mode(headers: Sequence[tuple[str, bytes | None]]) -> _ContentMode:
    content_type = ""
    ce_headers: list[tuple[str, bytes | None]] = []
    for name, raw in headers:
        if name.startswith("ce_"):
            ce_headers.append((name, raw))
        elif name.lower() == "content-type":
            content_type = (raw or b"").decode("latin-1").partition(";")[0].strip().lower()
    if content_type in ("application/cloudevents+json", "application/cloudevents"):
        return _STRUCTURED
    if content_type.startswith("application/cloudevents-batch"):
        return _ContentMode(
            fault=f"content-type: {shorten(content_type)} is a batch, expected one event a record"
        )
    if content_type.startswith("application/cloudevents"):
        return _ContentMode(
            fault=f"content-type: {shorten(content_type)} is not application/cloudevents+json"
        )
    return _binary_mode(ce_headers) if ce_headers else _STRUCTURED


def _binary_mode(ce_headers: Sequence[tuple[str, bytes | None]]) -> _ContentMode:
    attributes: dict[str, str] = {}
    for header, raw in ce_headers:
        if raw is None:
            continue
        name = header.removeprefix("ce_")
        if name in attributes:
            return _ContentMode(fault=f"header {shorten(header)}: given twice, expected once")
        try:
            attributes[name] = raw.decode("utf-8")
        except UnicodeDecodeError:
            return _ContentMode(fault=f"header {shorten(header)}: {shorten(raw)} is not UTF-8")
    return _ContentMode(attributes=attributes)


def key_and_headers_bytes(
    key: bytes | None, headers: Sequence[tuple[str, bytes | None]] = ()
) -> int:
    """How large key and headers are together: the bytes of the key, all names and all values.

    A header counts as one byte at least, or a record of any size could be made of empty ones.
    """
    return (0 if key is None else len(key)) + sum(
        max(1, len(name.encode("utf-8", "surrogatepass")) + (0 if raw is None else len(raw)))
        for name, raw in headers
    )


def decode(
    topic: Topic,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]] = (),
    key: bytes | None = None,
) -> Event | Rejection:
    """The event in a record of `topic`, or the first reason (up to `bad_data`) why it is none.

    `value`, `headers` and `key` are as the Kafka client gives them. Never raises, whatever the
    bytes. Of the key only the size is looked at here.
    A null value is `not_json`: on the reference topics the caller takes tombstones out first.
    Of a name that occurs twice in a JSON object, the last counts. A topic that carries no events
    (`agency-months`, `dead-letters`) makes every event `wrong_topic`.

    Whether the key is right, the clock and the agencies are left to `admission.admit`.
    """
    rejection = too_large(value, headers, key)
    if rejection is not None:
        return rejection
    mode = _content_mode(headers) if headers else _STRUCTURED
    if (
        value
        and mode is _STRUCTURED
        # The parser takes the bare words NaN and Infinity, which are not JSON; they can stand
        # only in attributes nobody reads. Looking for one byte first is twenty times cheaper.
        and not ((78 in value and b"NaN" in value) or (73 in value and b"Infinity" in value))
    ):
        validate = _VALIDATE.get(topic)
        if validate is not None:
            try:
                return validate(value)
            except ValidationError:
                pass
    return _classify(topic, value, mode)


def too_large(
    value: bytes | None, headers: Sequence[tuple[str, bytes | None]], key: bytes | None
) -> Rejection | None:
    """`too_large` if the record is, else None: the first reason, of tombstones too."""
    if not headers and len(value or b"") <= MAX_VALUE_BYTES and len(key or b"") <= MAX_VALUE_BYTES:
        return None
    for what, size, most in (
        ("value", len(value or b""), MAX_VALUE_BYTES),
        ("key and headers", key_and_headers_bytes(key, headers), MAX_KEY_AND_HEADERS_BYTES),
    ):
        if size > most:
            return Rejection(
                Reason.too_large, f"{what}: {size} bytes, expected at most {most}", None
            )
    return None


def _classify(topic: Topic, value: bytes | None, mode: _ContentMode) -> Event | Rejection:
    if not value:
        given = "null" if value is None else "empty"
        return Rejection(Reason.not_json, f"value: {given}, expected a JSON object", None)
    try:
        document = from_json(value, allow_inf_nan=False)
    except ValueError as error:
        return Rejection(Reason.not_json, _why_not_json("value", value, error), None)
    if mode.attributes is None:
        return _classify_structured(topic, value, document, mode.fault)
    agency = _agency_of(document)
    attributes = {name: mode.attributes[name] for name in _ATTRIBUTES if name in mode.attributes}
    rejection = _check_envelope(topic, json.dumps(attributes).encode(), agency)
    return rejection or _finish(topic, _compose(attributes, value), agency)


def _classify_structured(
    topic: Topic, value: bytes, document: Any, fault: str | None
) -> Event | Rejection:
    members: Mapping[str, Any] = document if isinstance(document, dict) else {}
    agency = _agency_of(members.get("data"))
    if fault is not None:
        return Rejection(Reason.bad_envelope, fault, agency)
    encoded = members.get("data_base64")
    if encoded is not None and members.get("data") is not None:
        return Rejection(
            Reason.bad_envelope, "data_base64: given beside data, expected one of the two", agency
        )
    rejection = _check_envelope(topic, value, agency)
    if rejection is not None or encoded is None:
        return rejection or _finish(topic, value, agency)
    # JSON event format, section 3.1.1: bytes travel in data_base64. The Python SDK writes every
    # event whose data was handed to it as bytes in this form.
    try:
        data = b64decode(encoded, validate=True) if isinstance(encoded, str) else None
    except (Base64Error, ValueError):
        data = None
    if data is None:
        return Rejection(
            Reason.bad_data, f"data_base64: {shorten(encoded)} is not base64 text", agency
        )
    try:
        agency = _agency_of(from_json(data, allow_inf_nan=False))
    except ValueError as error:
        return Rejection(Reason.bad_data, _why_not_json("data_base64, decoded", data, error), None)
    attributes = {name: members[name] for name in _ATTRIBUTES if name in members}
    return _finish(topic, _compose(attributes, data), agency)


def _check_envelope(topic: Topic, envelope: bytes, agency: str | None) -> Rejection | None:
    """`bad_envelope`, `unknown_type`, `wrong_topic`, in that order, or None."""
    try:
        kind = _validate_envelope(envelope).type
    except ValidationError as error:
        return Rejection(Reason.bad_envelope, describe(error), agency)
    home = TOPIC_OF_TYPE.get(kind)
    if home is None:
        known = ", ".join(TOPIC_OF_TYPE)
        return Rejection(
            Reason.unknown_type, f"type: {shorten(kind)} is not one of {known}", agency
        )
    if home != topic:
        detail = f"type: {shorten(kind)} belongs on {home.value}, not on {topic}"
        return Rejection(Reason.wrong_topic, detail, agency)
    return None


def _finish(topic: Topic, envelope: bytes, agency: str | None) -> Event | Rejection:
    """The verdict of the one validator, on an event whose envelope and topic are right."""
    try:
        return _VALIDATE[topic](envelope)
    except ValidationError as error:
        return Rejection(Reason.bad_data, describe(error), agency)


def _compose(attributes: Mapping[str, Any], data: bytes) -> bytes:
    """The structured form of an event whose data is the JSON text `data`."""
    return b'{"data":%b,%b' % (data, json.dumps(attributes).encode()[1:])


def _agency_of(data: Any) -> str | None:
    agency = data.get("agency") if isinstance(data, dict) else None
    try:
        return _code.validate_python(agency)
    except ValidationError:
        return None


def _why_not_json(where: str, text: bytes, error: ValueError) -> str:
    if text.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return f"{where}: begins with a byte order mark, expected UTF-8 JSON without one"
    return f"{where}: {shorten(text)} is not JSON: {error}"
