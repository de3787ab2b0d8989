"""The benchmark's events: what 91 agencies' portals would send, the same for all engines.

Zipf over the agencies, 2 % duplicates, each dossier submitted and then processed (statuses 2, 4,
9, 10). Deterministic for a seed. ``expected`` is counted here, by plain sets, so that no speed is
quoted for a wrong result.
"""

from __future__ import annotations

import csv
import random
import uuid
from collections import Counter
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from typing import NamedTuple

import orjson

from bench.counts import Counted, Expected, total

ICT = timezone(timedelta(hours=7))
START = datetime(2022, 1, 1, 8, tzinfo=ICT)


SERVICES = 40
"""Services of each agency."""


class Event(NamedTuple):
    """A record to be produced."""

    topic: str
    """Without the prefix."""
    key: bytes
    value: bytes


class Workload(NamedTuple):
    """Reference data to send first, and the events to be measured."""

    reference: list[Event]
    events: list[Event]
    by_agency: Counted
    """What a right result must show."""

    @property
    def expected(self) -> Expected:
        """The same of all agencies together."""
        return total(self.by_agency)


def agencies() -> list[tuple[str, str, str]]:
    """(code, name, kind) of the 91 agencies."""
    with (files("streams") / "data" / "agencies.csv").open(encoding="utf-8") as lines:
        return [(row["code"], row["name"], row["kind"]) for row in csv.DictReader(lines)]


def make(
    events: int,
    seed: int = 2022,
    statuses: tuple[int, ...] = (2, 4, 9, 10),
    duplicates: float = 0.02,
    start: datetime = START,
    minutes: int = 500_000,
    first: int = 1,
    hours: int = 90,
) -> Workload:
    """``events`` records (a few more at most), and the agencies and services they need.

    Each dossier is submitted within ``minutes`` of ``start`` and goes through a random number of
    ``statuses``, in their order, each less than ``hours`` after the one before. Dossiers are
    numbered from ``first`` on, so that workloads with
    different numbers can follow each other.
    """
    rng = random.Random(seed)
    known = agencies()
    weights = [1 / (rank + 1) for rank in range(len(known))]
    order = list(range(len(known)))
    rng.shuffle(order)
    reference = [
        Event(
            "agencies",
            code.encode(),
            _event(
                "/reference",
                "hoso.agency.registered.v1",
                rng,
                START,
                {"agency": code, "name": name, "kind": kind, "sources": []},
            ),
        )
        for code, name, kind in known
    ]
    reference += [
        Event(
            "catalogue",
            code.encode(),
            _event(
                f"/portals/{code}",
                "hoso.service.listed.v1",
                rng,
                START,
                {
                    "agency": code,
                    "service": _service(number),
                    "level": 3 + number % 2,
                    "eligible": True,
                    "listed": True,
                    "effective_from": "2021-06-01",
                },
            ),
        )
        for code, _, _ in known
        for number in range(SERVICES)
    ]
    used: set[tuple[str, str]] = set()
    submitted: Counter[str] = Counter()
    resolved: Counter[str] = Counter()
    resolved_online: Counter[str] = Counter()
    sent: list[Event] = []
    number = first - 1
    while len(sent) < events:
        code = known[order[rng.choices(range(len(known)), weights)[0]]][0]
        number += 1
        submitted[code] += 1
        dossier = f"{code}-{number:08d}"
        online = rng.random() < 0.4
        service = _service(rng.randrange(SERVICES))
        if online:
            used.add((code, service))
        at = start + timedelta(minutes=rng.randrange(minutes))
        made = [
            Event(
                "submissions",
                code.encode(),
                _event(
                    f"/portals/{code}",
                    "hoso.dossier.submitted.v1",
                    rng,
                    at,
                    {
                        "dossier": dossier,
                        "agency": code,
                        "service": service,
                        "channel": "online" if online else "in_person",
                        "submitted_at": at.isoformat(),
                        "due_at": (at + timedelta(days=15)).isoformat(),
                        "revision": 0,
                    },
                ),
            )
        ]
        steps = rng.randrange(0, len(statuses) + 1)
        for status in statuses[:steps]:
            at += timedelta(hours=rng.randrange(1, hours))
            made.append(
                Event(
                    "processing",
                    code.encode(),
                    _event(
                        f"/portals/{code}",
                        "hoso.dossier.processed.v1",
                        rng,
                        at,
                        {
                            "dossier": dossier,
                            "agency": code,
                            "status": status,
                            "at": at.isoformat(),
                            "revision": 0,
                        },
                    ),
                )
            )
        if 9 in statuses[:steps]:
            resolved[code] += 1
            resolved_online[code] += online
        for event in made:
            sent.append(event)
            if rng.random() < duplicates:
                sent.append(event)
    services = Counter(code for code, _ in used)
    return Workload(
        reference,
        sent,
        {
            code: Expected(count, resolved[code], resolved_online[code], services[code])
            for code, count in submitted.items()
        },
    )


def _service(number: int) -> str:
    return f"1.{number:06d}"


def _event(
    source: str, kind: str, rng: random.Random, at: datetime, data: dict[str, object]
) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "source": source,
            "type": kind,
            "time": at.isoformat(),
            "datacontenttype": "application/json",
            "data": data,
        }
    )
