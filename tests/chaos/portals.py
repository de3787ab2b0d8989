"""What 91 portals send: a function of the seed, so that it can be told again at the end.

Each portal is a stream of its own. Whoever knows the seed and how many records a portal has sent
knows every one of them, and need not remember any.
"""

from __future__ import annotations

import csv
import json
import zlib
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from heapq import heappop, heappush
from importlib.resources import files
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from streams.kafka.partitioner import partition_for

Event = dict[str, Any]

DUPLICATES = 0.10
LATE = 0.05
RESTATED = 0.02
VOIDED = 0.01
MALFORMED = 0.02
CRC32_PORTALS = 9
"""Portals whose client partitions as librdkafka does by default."""

FIRST = date(2021, 7, 1)
DAYS = 425
AS_OF_DAYS = (date(2022, 8, 25), date(2022, 6, 30), date(2021, 12, 31))
EVENTS = ("submissions", "processing", "catalogue")
BAD_HEADER = "chaos-reason"
"""On malformed records: the reason that their dead letter must give."""

_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
_PATHS = ((2, 4, 9), (2, 9), (2, 9, 10), (3,), (2, 5, 6, 10), (), (7,), (2,), (10,))
_RECENT = 300


class Agency(NamedTuple):
    code: str
    kind: str


class Planned(NamedTuple):
    """A record as a portal sends it. ``event`` is set where it must be accepted."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int
    reason: str | None
    event: Event | None


def agencies() -> list[Agency]:
    """The 91 agencies of the register."""
    text = files("streams").joinpath("data/agencies.csv").read_text(encoding="utf-8")
    return [Agency(row["code"], row["kind"]) for row in csv.DictReader(text.splitlines())]


def reference() -> list[Event]:
    """Registrations and targets. Every second portal may only speak for itself."""
    made = []
    for nth, agency in enumerate(agencies()):
        data: dict[str, Any] = {
            "agency": agency.code,
            "name": f"Cơ quan {agency.code}",
            "kind": agency.kind,
            "sources": [_source(agency.code)] if nth % 2 else [],
        }
        made.append(_event("agencies", "agency.registered", agency.code, f"r-{nth}", data))
    for scope, indicator, ratio in (
        ("national", "services_with_dossiers", 0.8),
        ("national", "online_processed", 0.5),
        ("provinces", "online_processed", 0.45),
        ("H56", "services_with_dossiers", 0.7),
    ):
        for year in (2021, 2022):
            key = f"{scope}/{indicator}/{year}"
            data = {"scope": scope, "indicator": indicator, "year": year, "ratio": ratio}
            made.append(_event("targets", "target.assigned", key, f"t-{key}", data))
    return made


@dataclass(frozen=True)
class Country:
    """Every portal's stream. ``total`` is about how many records will be asked for."""

    seed: int
    total: int
    partitions: int

    def _weights(self) -> list[float]:
        random = Random(f"{self.seed} weights")
        ranks = list(range(1, len(agencies()) + 1))
        random.shuffle(ranks)
        return [rank**-0.8 for rank in ranks]

    def portals(self) -> list[Portal]:
        weights = self._weights()
        whole = sum(weights)
        crc32 = set(Random(f"{self.seed} clients").sample(range(len(weights)), CRC32_PORTALS))
        return [
            Portal(
                self,
                agency.code,
                own_source=bool(nth % 2),
                expected=max(1, round(self.total * weights[nth] / whole)),
                crc32=nth in crc32,
            )
            for nth, agency in enumerate(agencies())
        ]

    def records(self, taken: Counter[str]) -> Iterator[Planned]:
        """Without end; counts in ``taken`` what was taken of each portal."""
        portals = self.portals()
        random = Random(f"{self.seed} turns")
        sums = list(accumulate(self._weights()))
        while True:
            portal = portals[bisect(sums, random.random() * sums[-1])]
            taken[portal.code] += 1
            yield portal.next()

    def accepted(self, taken: Mapping[str, int]) -> Iterator[tuple[str, list[Event]]]:
        """Each agency with the distinct events of its first ``taken`` records that must count."""
        for portal in self.portals():
            distinct: dict[str, Event] = {}
            for _ in range(taken.get(portal.code, 0)):
                event = portal.next().event
                if event is not None:
                    distinct[event["value"]["id"]] = event
            yield portal.code, list(distinct.values())


class Portal:
    """One agency's portal: its catalogue, then dossiers and their steps from July 2021 on."""

    def __init__(
        self, country: Country, code: str, *, own_source: bool, expected: int, crc32: bool
    ) -> None:
        self.code = code
        self._random = Random(f"{country.seed} {code}")
        self._partitions = country.partitions
        self._own_source = own_source
        self._days_per_record = DAYS / expected
        self._crc32 = crc32
        self._today = 0.0
        self._ids = 0
        self._dossiers = 0
        self._due: list[tuple[float, int, Event]] = []
        """What is still to be sent: day, a tie-break, event."""
        self._recent: list[Planned] = []
        self._services = [f"1.{n:06d}" for n in range(min(25, 4 + expected // 40))]
        for service in self._services:
            self._listing(service, date(2020, 1, 1) if self._chance(0.8) else self._day(40), 0.0)

    def next(self) -> Planned:
        """The next record."""
        self._today += self._days_per_record
        fate = self._random.random()
        if fate < MALFORMED:
            return self._malformed()
        if fate < MALFORMED + DUPLICATES and self._recent:
            return self._random.choice(self._recent)
        while not self._due or self._due[0][0] > self._today:
            self._dossier()
        _, _, event = heappop(self._due)
        key = event["key"].encode()
        topic, value = event["topic"], json.dumps(event["value"]).encode()
        planned = Planned(topic, key, value, self._partition(key), None, event)
        if len(self._recent) < _RECENT:
            self._recent.append(planned)
        else:
            self._recent[self._random.randrange(_RECENT)] = planned
        return planned

    # Good events

    def _dossier(self) -> None:
        random = self._random
        self._dossiers += 1
        code = f"{self.code}.{self._dossiers:06d}"
        on = self._today
        sent: dict[str, Any] = {
            "dossier": code,
            "agency": self.code,
            "service": random.choice([*self._services, "1.999999"]),
            "channel": random.choice(("online", "online", "online", "in_person", "postal", None)),
            "submitted_at": self._instant(on),
        }
        if self._chance(0.7):
            sent["due_at"] = self._instant(on + random.randint(3, 20))
        self._fact("submissions", "dossier.submitted", sent, on)
        for status in random.choice(_PATHS):
            on += random.random() * 6
            step = {
                "dossier": code,
                "agency": self.code,
                "status": status,
                "at": self._instant(on),
            }
            self._fact("processing", "dossier.processed", step, on)
        if self._chance(0.02):
            self._listing(random.choice(self._services), self._day(on), on)

    def _listing(self, service: str, since: date, on: float) -> None:
        random = self._random
        data = {
            "agency": self.code,
            "service": service,
            "name": f"Thủ tục {service}",
            "level": random.choice((2, 3, 4, 4, 4)),
            "eligible": self._chance(0.7),
            "listed": on == 0.0 or self._chance(0.8),
            "effective_from": since.isoformat(),
        }
        self._fact("catalogue", "service.listed", data, on)

    def _fact(self, topic: str, type_: str, data: dict[str, Any], on: float) -> None:
        """Send it when it happened or late, and perhaps correct or withdraw it afterwards."""
        random = self._random
        sent_on = on + random.random() * 30 if self._chance(LATE) else on
        self._send(sent_on, topic, type_, data)
        # Facts are about 86 % of what is sent; corrections are a share of that.
        if self._chance(RESTATED * 1.2):
            changed = {**data, "revision": 1}
            moment = {"submissions": "submitted_at", "processing": "at"}.get(topic)
            if moment is not None:
                changed[moment] = self._instant(on + random.uniform(-20, 5))
            if topic == "submissions":
                changed["service"] = random.choice(self._services)
                changed["channel"] = random.choice(("online", "in_person"))
            if topic == "catalogue":
                changed["level"] = random.choice((2, 3, 4))
            self._send(sent_on + random.random() * 10, topic, type_, changed)
        if topic != "catalogue" and self._chance(VOIDED * 1.2):
            withdrawn = {**data, "revision": 2, "void": True}
            self._send(sent_on + random.random() * 10, topic, type_, withdrawn)
        if self._chance(0.003):  # a fact of the same rank, told apart by its id alone
            self._send(sent_on, topic, type_, {**data, **self._other(topic)})

    def _other(self, topic: str) -> dict[str, Any]:
        if topic == "submissions":
            return {"channel": "postal"}
        return {"level": 3} if topic == "catalogue" else {"void": True}

    def _send(self, on: float, topic: str, type_: str, data: dict[str, Any]) -> None:
        event = _event(topic, type_, self.code, self._id(), data)
        heappush(self._due, (on, self._ids, event))

    # Records that must be rejected

    def _malformed(self) -> Planned:
        random = self._random
        data: dict[str, Any] = {
            "dossier": f"{self.code}.bad",
            "agency": self.code,
            "service": self._services[0],
            "channel": "online",
            "submitted_at": self._instant(self._today),
        }
        event = _event("submissions", "dossier.submitted", self.code, self._id(), data)
        value, key = event["value"], self.code.encode()
        kinds: list[tuple[str, Callable[[], Any]]] = [
            (
                "not_json",
                lambda: random.choice((b"{", b"", None, b"\xff\xfe", b'{"a":NaN}', b"ok")),
            ),
            ("bad_envelope", lambda: random.choice(([value], {**value, "specversion": "0.3"}))),
            ("bad_envelope", lambda: {n: v for n, v in value.items() if n != "id"}),
            ("unknown_type", lambda: {**value, "type": "hoso.dossier.lost.v1"}),
            ("wrong_topic", lambda: {**value, "type": "hoso.service.listed.v1"}),
            ("bad_data", lambda: _with(value, channel="fax")),
            ("bad_data", lambda: _with(value, submitted_at="2022-01-05T08:59:58")),
            ("bad_data", lambda: _with(value, dossier="a b")),
            ("bad_data", lambda: _with(value, surprise=1)),
            ("bad_data", lambda: _with(value, revision=2**31)),
            ("bad_data", lambda: {**value, "data": None}),
            ("key_mismatch", lambda: _with(value, agency="H56" if self.code != "H56" else "H26")),
            ("unknown_agency", lambda: _with(value, agency="X99")),
            ("future_time", lambda: _with(value, submitted_at="2199-01-01T00:00:00+07:00")),
        ]
        if self._own_source:
            kinds.append(("source_not_allowed", lambda: {**value, "source": "/portals/elsewhere"}))
        reason, make = random.choice(kinds)
        if self._chance(0.01):
            reason, make = "too_large", lambda: _with(value, service="s" * 65_536)
        made = make()
        raw = made if made is None or isinstance(made, bytes) else json.dumps(made).encode()
        if reason == "unknown_agency":
            key = b"X99"
        return Planned("submissions", key, raw, self._partition(key), reason, None)

    # Small change

    def _partition(self, key: bytes) -> int:
        if self._crc32:
            return zlib.crc32(key) % self._partitions
        return partition_for(key, self._partitions)

    def _id(self) -> str:
        self._ids += 1
        return f"{self._random.getrandbits(32):08x}-{self.code}-{self._ids}"

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _day(self, on: float) -> date:
        return FIRST + timedelta(days=int(on) + 1)

    def _instant(self, on: float) -> str:
        midnight = datetime.combine(FIRST, time(), _ZONE)
        return (midnight + timedelta(days=on)).isoformat(timespec="seconds")


def _with(value: Event, **changes: Any) -> Event:
    return {**value, "data": {**value["data"], **changes}}


def _source(code: str) -> str:
    return f"/portals/{code}"


def _event(topic: str, type_: str, key: str, id_: str, data: dict[str, Any]) -> Event:
    value = {
        "specversion": "1.0",
        "id": id_,
        "source": _source(key),
        "type": f"hoso.{type_}.v1",
        "time": "2022-01-01T00:00:00+07:00",
        "data": data,
    }
    return {"topic": topic, "key": key, "value": value}
