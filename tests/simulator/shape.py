"""The shape of events, section by section of the contract, checked without the schemas."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

import orjson

from streams.simulator import Record

CODE = re.compile(r"[^\s\x00-\x1f]{1,64}\Z")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}\Z")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+07:00\Z")
TOPICS = {
    "hoso.dossier.submitted.v1": "submissions",
    "hoso.dossier.processed.v1": "processing",
    "hoso.service.listed.v1": "catalogue",
    "hoso.agency.registered.v1": "agencies",
    "hoso.target.assigned.v1": "targets",
}
ENVELOPE = {"specversion", "id", "source", "type", "time", "datacontenttype", "data"}


def a_code(value: Any) -> bool:
    return isinstance(value, str) and bool(CODE.match(value))


def a_time(value: Any) -> bool:
    return (
        isinstance(value, str) and bool(TIME.match(value)) and bool(datetime.fromisoformat(value))
    )


def a_day(value: Any) -> bool:
    return isinstance(value, str) and date.fromisoformat(value).isoformat() == value


def a_flag(value: Any) -> bool:
    return isinstance(value, bool)


def a_revision(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


# type -> field -> check; the fields after `None` may be absent.
DATA: dict[str, dict[str, Any]] = {
    "hoso.dossier.submitted.v1": {
        "dossier": a_code,
        "agency": a_code,
        "service": a_code,
        "channel": lambda v: v in ("online", "in_person", "postal", None),
        "submitted_at": a_time,
    },
    "hoso.dossier.processed.v1": {
        "dossier": a_code,
        "agency": a_code,
        "status": lambda v: type(v) is int and 2 <= v <= 10,
        "at": a_time,
    },
    "hoso.service.listed.v1": {
        "agency": a_code,
        "service": a_code,
        "level": lambda v: type(v) is int and 1 <= v <= 4,
        "eligible": a_flag,
        "listed": a_flag,
        "effective_from": a_day,
    },
    "hoso.agency.registered.v1": {
        "agency": a_code,
        "name": lambda v: isinstance(v, str) and v != "",
        "kind": lambda v: v in ("ministry", "province"),
        "sources": lambda v: isinstance(v, list),
    },
    "hoso.target.assigned.v1": {
        "scope": a_code,
        "indicator": lambda v: v in ("services_with_dossiers", "online_processed"),
        "year": lambda v: type(v) is int,
        "ratio": lambda v: isinstance(v, float) and 0 <= v <= 1,
    },
}
OPTIONAL: dict[str, dict[str, Any]] = {
    "hoso.dossier.submitted.v1": {"due_at": a_time, "revision": a_revision, "void": a_flag},
    "hoso.dossier.processed.v1": {"revision": a_revision, "void": a_flag},
    "hoso.service.listed.v1": {
        "name": lambda v: isinstance(v, str),
        "revision": a_revision,
    },
    "hoso.agency.registered.v1": {},
    "hoso.target.assigned.v1": {},
}


def faults(record: Record) -> list[str]:
    """What the contract does not allow about a record; empty for a good one."""
    try:
        event = orjson.loads(record.value)
    except orjson.JSONDecodeError as error:
        return [f"not JSON: {error}"]
    if set(event) != ENVELOPE or event["specversion"] != "1.0":
        return ["bad envelope"]
    kind, data = event["type"], event["data"]
    if TOPICS.get(kind) != record.topic:
        return [f"{kind} on {record.topic}"]
    found = [
        f"{field}: {event[field]!r}"
        for field, good in (("id", UUID.match), ("time", a_time), ("source", a_code))
        if not good(event[field])
    ]
    found += [f"{field} is missing" for field in DATA[kind].keys() - data.keys()]
    allowed = DATA[kind] | OPTIONAL[kind]
    for field, value in data.items():
        if field not in allowed:
            found.append(f"unknown field {field}")
        elif not allowed[field](value):
            found.append(f"{field}: {value!r}")
    if kind == "hoso.target.assigned.v1":
        key = f"{data.get('scope')}/{data.get('indicator')}/{data.get('year')}"
    else:
        key = data.get("agency")
    if record.key != key:
        found.append(f"key {record.key}")
    own = f"/portals/{record.key}"
    expected = "/reference" if record.topic in ("agencies", "targets") else own
    if event["source"] != expected:
        found.append(f"source {event['source']}")
    if kind == "hoso.agency.registered.v1" and data.get("sources") != [own]:
        found.append(f"sources {data.get('sources')}")
    happened = data.get("submitted_at") or data.get("at")
    if happened is not None and happened > event["time"]:
        found.append("sent before it happened")
    return found
