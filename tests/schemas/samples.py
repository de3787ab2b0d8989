"""Good events of each type, as the JSON objects a portal sends."""

from __future__ import annotations

import copy
import json
from typing import Any

from schemas.topics import Topic


def _event(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "5f0c2f6e-0b5e-4c8e-9d5a-6f3f0a1c7b11",
        "source": "/portals/H56",
        "type": kind,
        "time": "2022-01-05T09:00:00+07:00",
        "datacontenttype": "application/json",
        "data": data,
    }


_GOOD: dict[Topic, dict[str, Any]] = {
    Topic.submissions: _event(
        "hoso.dossier.submitted.v1",
        {
            "dossier": "H56.14-220105-0001",
            "agency": "H56",
            "service": "1.004873",
            "channel": "online",
            "submitted_at": "2022-01-05T08:59:58+07:00",
            "due_at": "2022-01-20T17:00:00+07:00",
            "revision": 0,
            "void": False,
        },
    ),
    Topic.processing: _event(
        "hoso.dossier.processed.v1",
        {
            "dossier": "H56.14-220105-0001",
            "agency": "H56",
            "status": 9,
            "at": "2022-01-18T15:30:00+07:00",
            "revision": 0,
            "void": False,
        },
    ),
    Topic.catalogue: _event(
        "hoso.service.listed.v1",
        {
            "agency": "H56",
            "service": "1.004873",
            "name": "Cấp bản sao trích lục hộ tịch",
            "level": 4,
            "eligible": True,
            "listed": True,
            "effective_from": "2021-01-01",
            "revision": 0,
        },
    ),
    Topic.agencies: _event(
        "hoso.agency.registered.v1",
        {"agency": "H56", "name": "Thanh Hoá", "kind": "province", "sources": ["/portals/H56"]},
    ),
    Topic.targets: _event(
        "hoso.target.assigned.v1",
        {"scope": "national", "indicator": "online_processed", "year": 2022, "ratio": 0.5},
    ),
}


def good(topic: Topic) -> dict[str, Any]:
    """A fresh good event of `topic`, every optional field given."""
    return copy.deepcopy(_GOOD[topic])


def wire(document: object) -> bytes:
    """`document` as JSON text in UTF-8."""
    return json.dumps(document, ensure_ascii=False).encode()


def binary(document: dict[str, Any]) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Value and headers of the same event in binary mode."""
    headers = [("content-type", b"application/json")]
    for name in ("specversion", "id", "source", "type", "time"):
        if name in document:
            headers.append((f"ce_{name}", document[name].encode()))
    return wire(document["data"]), headers
