"""Strategies for small worlds of agencies, services and dossiers, with everything that goes wrong.

Each world has its own few days, most of them at the edges of periods, so that facts meet; a few lie
decades away. Instants lie around midnight in Viet Nam and in UTC, and are written in either's
offset or another. Revisions and ids come from small pools, so ties are common; two facts of one
slot with the same (revision, instant, id) are the same fact, as the contract has it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import date, datetime, time, timedelta, timezone
from itertools import product
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from tests.domain.events import Event, assigned, listed, processed, registered, submitted

_VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
AGENCIES = ("H56", "H26", "G12")
_KINDS = {"H56": "province", "H26": "province", "G12": "ministry"}
_SERVICES = ("S1", "S2")
_DOSSIERS = ("D1", "D2", "D3", "D4", "D5")

_Events = st.SearchStrategy[Event]

_EDGES = [
    date.fromisoformat(text)
    for text in (
        *("2022-01-01", "2022-03-31", "2022-04-01", "2022-06-30", "2022-07-01", "2022-08-25"),
        *("2022-12-31", "2021-12-31", "2021-08-25", "2021-04-01", "2023-01-01"),
        *("2020-02-28", "2020-02-29", "2020-03-01", "2019-02-28", "2020-01-01", "2019-12-31"),
    )
]
_FAR = [date(1, 1, 2), date(1945, 9, 2), date(1960, 1, 1), date(1975, 6, 13), date(2400, 2, 29)]

days = st.one_of(
    st.sampled_from(_EDGES),
    st.sampled_from(_EDGES),
    st.dates(date(2021, 12, 20), date(2022, 7, 10)),
    st.sampled_from(_FAR),
)
as_of_days = st.one_of(days, st.dates(date(2018, 12, 1), date(2024, 3, 1)))
periods = st.sampled_from(["month", "quarter", "half", "year"])
definitions = st.sampled_from(["mic-2022", "qd766", "emc-2024"])

_TIMES = [time(0), time(0, 0, 0, 1), time(6, 59, 59), time(7), time(12), time(23, 59, 59, 999_999)]
_ZONES = [timezone(timedelta(hours=hours)) for hours in (7, 0, -5.5)]
# Products of small pools, so that one draw decides several fields.
_clocks = st.sampled_from(list(product(_TIMES, _ZONES)))
_revisions = (0, 0, 0, 1, 1, 2)
_ids = ("a", "b", "B", "c")
_marks = st.sampled_from(
    [
        {"revision": revision, "void": void, "id": id_}
        for revision, void, id_ in product(_revisions, (False, False, False, False, True), _ids)
    ]
)
_statuses = st.sampled_from([2, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 10, 10, 10])
_routes = st.sampled_from(
    [
        {"service": service, "channel": channel}
        for service, channel in product(
            _SERVICES, ["online", "online", "online", "online", "in_person", "postal", None]
        )
    ]
)
_offers = st.sampled_from(
    [
        {"level": level, "eligible": eligible, "down": down, "revision": revision, "id": id_}
        for level, eligible, down, revision, id_ in product(
            (4, 4, 4, 3, 3, 2, 1), (True, False), (False, False, False, True), _revisions, _ids
        )
    ]
)


def _instant(day: date, clock: tuple[time, timezone]) -> str:
    at, zone = clock
    return datetime.combine(day, at, tzinfo=_VIETNAM).astimezone(zone).isoformat()


def _submissions(agency: str, dossier: str, on: st.SearchStrategy[date]) -> _Events:
    return st.builds(
        lambda day, clock, due, route, mark: submitted(
            dossier,
            _instant(day, clock),
            due=None if due is None else _instant(due, clock),
            agency=agency,
            **route,
            **mark,
        ),
        on,
        _clocks,
        st.none() | on,
        _routes,
        _marks,
    )


def _steps(agency: str, dossier: str, on: st.SearchStrategy[date]) -> _Events:
    return st.builds(
        lambda status, day, clock, mark: processed(
            status, _instant(day, clock), dossier=dossier, agency=agency, **mark
        ),
        _statuses,
        on,
        _clocks,
        _marks,
    )


def _listings(agency: str, service: str, on: st.SearchStrategy[date]) -> _Events:
    return st.builds(
        lambda day, offer: listed(service, since=day.isoformat(), agency=agency, **offer),
        on,
        _offers,
    )


def slot(event: Event) -> tuple[Hashable, ...]:
    """What a fact speaks of: facts of one slot replace each other."""
    data = event["value"]["data"]
    if event["topic"] == "submissions":
        return "submission", data["agency"], data["dossier"]
    if event["topic"] == "processing":
        return "step", data["agency"], data["dossier"], data["status"]
    return "listing", data["agency"], data["service"], data["effective_from"]


def identity(event: Event) -> tuple[Hashable, ...]:
    """What makes two facts the same fact."""
    data = event["value"]["data"]
    said_at = data.get("submitted_at") or data.get("at")
    moment = None if said_at is None else datetime.fromisoformat(said_at)
    return *slot(event), data["revision"], moment, event["value"]["id"]


@st.composite
def _targets(draw: st.DrawFn) -> Event:
    return assigned(
        draw(st.sampled_from(["national", "ministries", "provinces", *AGENCIES])),
        draw(st.sampled_from([0.0, 0.07, 0.3, 0.5, 0.6, 0.8, 1.0])),
        draw(st.sampled_from(["services_with_dossiers", "online_processed"])),
        draw(st.sampled_from([2020, 2021, 2022])),
    )


class World(NamedTuple):
    """What was sent, and the days worth asking about."""

    reference: list[Event]
    """Agencies and targets: compacted topics, where the order of sending matters."""
    facts: list[Event]
    """Submissions, processing steps and listings: a set, in no order."""
    asked: list[date]

    @property
    def events(self) -> list[Event]:
        return [*self.reference, *self.facts]


def _some(of: _Events, least: int, most: int) -> st.SearchStrategy[list[Event]]:
    return st.lists(of, min_size=least, max_size=most, unique_by=identity)


_at_least = st.sampled_from([1, 1, 1, 1, 1, 0])


@st.composite
def _palettes(draw: st.DrawFn) -> list[date]:
    """The days of a world: some near each other, as often as not one or two anywhere."""
    home = draw(st.sampled_from(_EDGES))
    near = st.integers(-20, 110).map(lambda off: home + timedelta(days=off))
    anywhere = draw(st.lists(days, max_size=2))
    return [home, *draw(st.lists(near, min_size=1, max_size=4)), *anywhere]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Three agencies, of which some are busy, with up to two services and five dossiers each."""
    palette = draw(_palettes())
    on = st.sampled_from(palette)
    since = st.sampled_from([date(1900, 1, 1), *palette])
    facts: list[Event] = []
    for agency in AGENCIES[: draw(st.sampled_from([1, 2, 3]))]:
        for service in _SERVICES[: draw(st.sampled_from([1, 2]))]:
            facts += draw(_some(_listings(agency, service, since), 1, 5))
        for dossier in _DOSSIERS[: draw(st.sampled_from([1, 3, 5]))]:
            facts += draw(_some(_submissions(agency, dossier, on), draw(_at_least), 3))
            facts += draw(_some(_steps(agency, dossier, on), 0, 4))
    random = draw(st.randoms(use_true_random=False))
    random.shuffle(facts)
    agencies = [registered(code, _KINDS[code]) for code in AGENCIES]
    reference = agencies + draw(st.lists(_targets(), max_size=4))
    return World(reference, facts, draw(_asked(palette)))


def _asked(palette: list[date]) -> st.SearchStrategy[list[date]]:
    near = st.builds(
        lambda day, off: day + timedelta(days=off),
        st.sampled_from(palette),
        st.sampled_from([-1, 0, 0, 0, 1, 30, 90, 365]),
    )
    return st.lists(near | as_of_days, min_size=2, max_size=3, unique=True)


def facts_of_one_dossier() -> st.SearchStrategy[list[Event]]:
    """Facts that meet in the slots of one dossier."""
    facts = _submissions("H56", "D", days) | _steps("H56", "D", days)
    return st.lists(facts, max_size=8, unique_by=identity)


def facts_of_one_service() -> st.SearchStrategy[list[Event]]:
    """Listings that meet in the days of one service."""
    return st.lists(_listings("H56", "S", days), max_size=8, unique_by=identity)


def busy_world(random: Random) -> World:
    """A denser world than Hypothesis likes to draw: some 120 facts of five months and a few years.

    A function of the seed of ``random`` alone.
    """
    pick = random.choice
    home = pick(_EDGES)
    palette = [home, *(home + timedelta(days=random.randint(-30, 140)) for _ in range(12))]
    palette += [pick(_EDGES), pick(_EDGES), pick(_FAR), home.replace(day=1, year=home.year - 1)]

    def moment(day: date) -> str:
        return _instant(day, (pick(_TIMES), pick(_ZONES)))

    def mark() -> dict[str, Any]:
        return {
            "revision": pick(_revisions),
            "void": random.random() < 0.1,
            "id": pick(_ids),
        }

    facts: list[Event] = []
    for agency in AGENCIES:
        for service in ("S1", "S2", "S3", "S4"):
            for nth in range(random.randint(0, 5)):
                facts.append(
                    listed(
                        service,
                        since=(pick(palette) if nth else date(1900, 1, 1)).isoformat(),
                        agency=agency,
                        level=pick((4, 4, 4, 3, 3, 2, 1)),
                        eligible=random.random() < 0.7,
                        down=random.random() < 0.25,
                        revision=pick(_revisions),
                        id=pick(_ids),
                    )
                )
        for n in range(random.randint(0, 12)):
            for _ in range(pick((1, 1, 1, 2, 3, 0))):
                facts.append(
                    submitted(
                        f"D{n}",
                        moment(pick(palette)),
                        service=pick(("S1", "S2", "S3", "S4")),
                        channel=pick(("online", "online", "online", "in_person", "postal", None)),
                        due=pick((None, moment(pick(palette)))),
                        agency=agency,
                        **mark(),
                    )
                )
            for _ in range(random.randint(0, 4)):
                facts.append(
                    processed(
                        pick((2, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 10, 10)),
                        moment(pick(palette)),
                        dossier=f"D{n}",
                        agency=agency,
                        **mark(),
                    )
                )
    facts = list({identity(event): event for event in facts}.values())
    random.shuffle(facts)
    reference = [registered(code, _KINDS[code]) for code in AGENCIES]
    for _ in range(random.randint(0, 6)):
        reference.append(
            assigned(
                pick(["national", "ministries", "provinces", *AGENCIES]),
                pick([0.0, 0.07, 0.3, 0.5, 0.6, 0.8, 1.0]),
                pick(["services_with_dossiers", "online_processed"]),
                pick([home.year, home.year - 1]),
            )
        )
    asked = {pick(palette) + timedelta(days=pick((-1, 0, 0, 1, 30, 90, 365))) for _ in range(4)}
    return World(reference, facts, sorted(asked))


def restated(event: Event, revision: int, **changes: Any) -> Event:
    """The same fact said again at a higher revision, with other content."""
    value = event["value"]
    data = {**value["data"], **changes, "revision": revision}
    return {**event, "value": {**value, "id": f"restated-{revision}", "data": data}}


def winners(facts: list[Event]) -> list[Event]:
    """The fact of each slot that stands."""

    def rank(event: Event) -> tuple[Any, ...]:
        return identity(event)[-3:]

    found: dict[tuple[Hashable, ...], Event] = {}
    for event in facts:
        known = found.get(slot(event))
        if known is None or _above(rank, event, known):
            found[slot(event)] = event
    return list(found.values())


def _above(rank: Callable[[Event], tuple[Any, ...]], one: Event, other: Event) -> bool:
    (revision, moment, id_), (revision2, moment2, id2) = rank(one), rank(other)
    if moment is None:
        return bool((revision, id_) > (revision2, id2))
    return bool((revision, moment, id_) > (revision2, moment2, id2))
