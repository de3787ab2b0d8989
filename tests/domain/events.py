"""Builders of events as portals send them, short enough for a test to read as a sentence.

The defaults are an agency H56 with one service S and one dossier D, sent online on 10 May 2022.
Ids are counted up, so every fact is a new one unless the test names the id.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

Event = dict[str, Any]

_ids: Iterator[int] = count(1)
_NOON = "T12:00:00+07:00"


def at(day_or_time: str) -> str:
    """An instant: noon in Viet Nam of a day, or the instant itself."""
    return day_or_time if "T" in day_or_time else day_or_time + _NOON


def _event(topic: str, type_: str, key: str, data: dict[str, Any], id_: str | None) -> Event:
    value = {
        "specversion": "1.0",
        "id": id_ or f"{next(_ids):08d}",
        "source": f"/portals/{key}",
        "type": type_,
        "time": "2022-01-01T00:00:00+07:00",
        "data": data,
    }
    return {"topic": topic, "key": key, "value": value}


def registered(agency: str = "H56", kind: str = "province") -> Event:
    data = {"agency": agency, "name": f"Cơ quan {agency}", "kind": kind, "sources": []}
    return _event("agencies", "hoso.agency.registered.v1", agency, data, None)


def listed(
    service: str = "S",
    *,
    level: int = 4,
    since: str = "2020-01-01",
    agency: str = "H56",
    eligible: bool = True,
    revision: int = 0,
    id: str | None = None,
    down: bool = False,
) -> Event:
    data = {
        "agency": agency,
        "service": service,
        "name": f"Thủ tục {service}",
        "level": level,
        "eligible": eligible,
        "listed": not down,
        "effective_from": since,
        "revision": revision,
    }
    return _event("catalogue", "hoso.service.listed.v1", agency, data, id)


def taken_down(service: str = "S", *, since: str, level: int = 4, **other: Any) -> Event:
    return listed(service, since=since, level=level, down=True, **other)


def submitted(
    dossier: str = "D",
    on: str = "2022-05-10",
    *,
    service: str = "S",
    channel: str | None = "online",
    due: str | None = None,
    agency: str = "H56",
    revision: int = 0,
    void: bool = False,
    id: str | None = None,
) -> Event:
    data: dict[str, Any] = {
        "dossier": dossier,
        "agency": agency,
        "service": service,
        "channel": channel,
        "submitted_at": at(on),
        "revision": revision,
        "void": void,
    }
    if due is not None:
        data["due_at"] = at(due)
    return _event("submissions", "hoso.dossier.submitted.v1", agency, data, id)


def processed(
    status: int,
    on: str = "2022-05-12",
    *,
    dossier: str = "D",
    agency: str = "H56",
    revision: int = 0,
    void: bool = False,
    id: str | None = None,
) -> Event:
    data = {
        "dossier": dossier,
        "agency": agency,
        "status": status,
        "at": at(on),
        "revision": revision,
        "void": void,
    }
    return _event("processing", "hoso.dossier.processed.v1", agency, data, id)


def assigned(
    scope: str, ratio: float, indicator: str = "services_with_dossiers", year: int = 2022
) -> Event:
    data = {"scope": scope, "indicator": indicator, "year": year, "ratio": ratio}
    key = f"{scope}/{indicator}/{year}"
    return _event("targets", "hoso.target.assigned.v1", key, data, None)


def removed(event: Event) -> Event:
    """The tombstone of an entry on a compacted topic."""
    return {"topic": event["topic"], "key": event["key"], "value": None}
