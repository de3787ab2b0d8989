"""The scenario `published`: the published record of 2019 to August 2022 as one timeline.

`plan` fixes the counts; here they become events, with everything portals do on top that must not
move a figure: refusals, withdrawals, voided and restated facts, duplicates, late arrivals. The same
bytes on each run. Memory: the timeline is held as tuples, rendered to bytes only when played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import pairwise
from random import Random
from typing import Final

from streams.simulator import rendering
from streams.simulator.agencies import agencies
from streams.simulator.figures import CHECKS, END_2019, END_AUGUST_2022
from streams.simulator.plan import OPENING, AgencyPlan, Shelf, Use, plan
from streams.simulator.rendering import DAY, day_number
from streams.simulator.scenario import Check, Record

# arrival, number, kind, agency, time sent, the rest of the fact. Sorts into the order played.
Event = tuple[int, int, int, str, int, tuple[object, ...]]

SUBMITTED, PROCESSED, LISTED = range(3)
_TOPICS: Final = ("submissions", "processing", "catalogue")
_RENDER: Final[tuple[Callable[..., bytes], ...]] = (
    rendering.submitted,
    rendering.processed,
    rendering.listed,
)

_END: Final = day_number(END_AUGUST_2022) * DAY + DAY - 1
_SPACE: Final = 1  # of event ids
_DISCONTINUED: Final = 8_000  # index of the first service that is listed for some months only

DUPLICATES: Final = 0.01
LATE: Final = 0.01
RESTATED: Final = 0.005
CORRECTED_LISTINGS: Final = 0.005

# What portals send beyond the plan, for each service with dossiers: it must not move a figure.
_TRAPS: Final = 0.035

_TARGETS: Final = (
    (2021, OPENING.replace(year=2021), {"services_with_dossiers": 0.5, "online_processed": 0.3}),
    # Assigned by the decision of 15 March 2022.
    (2022, OPENING.replace(year=2022, month=3, day=15),
     {"services_with_dossiers": 0.8, "online_processed": 0.5}),
)  # fmt: skip
_SCOPES: Final = ("national", "ministries", "provinces")


class _Portal:
    """Draws one agency's events."""

    def __init__(self, planned: AgencyPlan, out: list[Event]) -> None:
        self.plan = planned
        self.code = planned.agency.code
        self.out = out
        self.rng = Random(f"published {self.code}")
        self.random = self.rng.random
        self.sequence: dict[int, int] = {}
        self.raised: dict[int, int] = {}
        # The numbers of events need only differ, and be the same on each run.
        self.number = int(self.code[1:]) * 1_000_000 + (self.code[0] == "H") * 100_000_000

    def put(self, kind: int, at: int, fact: tuple[object, ...], delay: int = 0) -> int:
        """Sends a fact of second `at`, sometimes late, sometimes twice; gives the time sent."""
        draw = self.random()
        sent = min(_END, at + 2 + int(draw * 30) + delay)
        if draw < LATE:
            sent = min(_END, sent + int((3 + 40 * self.random()) * DAY))
        self.number += 1
        event = (sent, self.number, kind, self.code, sent, fact)
        self.out.append(event)
        if draw > 1 - DUPLICATES:
            again = min(_END, sent + 60 + int(self.random() * 3 * DAY))
            self.out.append((again, *event[1:]))
        return sent

    # -- catalogue

    def catalogue(self) -> None:
        """The opening shelf, then every change between two days of the plan."""
        days = sorted(self.plan.shelves)
        opening = self.plan.shelves[days[0]]
        for index in range(opening.listed):
            self.grade(index, level_of(index, opening), day_number(days[0]), DAY // 4)
        for earlier, later in pairwise(days):
            old, new = self.plan.shelves[earlier], self.plan.shelves[later]
            first, last = day_number(earlier) + 1, day_number(later)
            if new.level34 < old.level34:  # the re-grading of late 2019
                first = last - 90
            for index in range(new.listed):
                level = level_of(index, new)
                if index < old.listed and level == level_of(index, old):
                    continue
                day = first + int(self.random() * (last - first + 1))
                self.grade(index, level, day)
                if level >= 3:
                    self.raised.setdefault(index, day)
                elif index in self.raised:
                    del self.raised[index]
        for year in (2020, 2021, 2022):
            self.discontinued(day_number(OPENING.replace(year=year)), year)

    def grade(self, index: int, level: int, day: int, earlier: int = 0) -> None:
        service = rendering.service_code(index)
        eligible = index < self.plan.eligible
        at = day * DAY + 8 * 3600 - earlier + int(self.random() * 3600)
        if self.random() < CORRECTED_LISTINGS:
            self.put(LISTED, at, (service, 1 + level % 4, not eligible, day))
            self.put(LISTED, at, (service, level, eligible, day, 1), DAY // 2)
        else:
            self.put(LISTED, at, (service, level, eligible, day))

    def discontinued(self, new_year: int, year: int) -> None:
        """Services listed for a few months, used, and taken down before any figure looks."""
        for index in range(2 if self.code[0] == "G" else 4):
            service = rendering.service_code(_DISCONTINUED + year * 10 % 1000 + index)
            start = new_year + 32 + int(self.random() * 20)
            stop = new_year + 100 + int(self.random() * 20)
            self.put(LISTED, start * DAY + 8 * 3600, (service, 3, False, start))
            self.put(LISTED, stop * DAY + 8 * 3600, (service, 3, False, stop, 0, False))
            self.submit(service, start + 5 + int(self.random() * 40), "online")

    # -- dossiers

    def dossier_code(self, day: int, unit: int) -> str:
        sequence = self.sequence[day] = self.sequence.get(day, 0) + 1
        text = rendering.day_text(day)
        return f"{self.code}.{unit:02}-{text[2:4]}{text[5:7]}{text[8:10]}-{sequence:04}"

    def submit(self, service: str, day: int, channel: str) -> tuple[str, int]:
        """A submission on `day`; gives the dossier and the second of submission."""
        draw = self.random()
        at = day * DAY + 7 * 3600 + int(draw * 8 * 3600)
        due = None if draw > 0.9 else (day + 5 + int(draw * 20)) * DAY + 17 * 3600
        dossier = self.dossier_code(day, 1 + int(draw * 1000) % 20)
        if self.random() < RESTATED:
            wrong = "in_person" if channel == "online" else "online"
            self.put(SUBMITTED, at, (dossier, service, wrong, at, due))
            self.put(SUBMITTED, at, (dossier, service, channel, at, due, 1), DAY // 3)
        else:
            self.put(SUBMITTED, at, (dossier, service, channel, at, due))
        return dossier, at

    def resolve(self, dossier: str, submitted: int, first: int, last: int) -> None:
        """Statuses up to the end, resolved between the days `first` and `last`."""
        draw = self.random()
        day = submitted // DAY
        if draw < 0.15:
            self.put(PROCESSED, submitted + 900, (dossier, 2, submitted + 900))
        elif draw < 0.2:
            self.put(PROCESSED, submitted + 1800, (dossier, 4, submitted + 1800))
        earliest = max(first, day)
        done = min(last, earliest + int(self.random() ** 2 * 22))
        at = max(submitted + 3600, done * DAY + 8 * 3600 + int(draw * 8 * 3600))
        if draw > 0.92:  # handed over at once: no 9
            self.put(PROCESSED, at, (dossier, 10, at))
            return
        if draw > 1 - 0.08 - RESTATED:  # first said a day that may be of another year
            wrong = max(submitted + 60, at - 20 * DAY)
            self.put(PROCESSED, wrong, (dossier, 9, wrong))
            self.put(PROCESSED, at, (dossier, 9, at, 1))
        else:
            self.put(PROCESSED, at, (dossier, 9, at))
        if draw > 0.82:
            over = at + int(self.random() * 4 * DAY)
            if over < _END - DAY:
                self.put(PROCESSED, over, (dossier, 10, over))

    def dossiers(self) -> None:
        uses = self.plan.uses
        for year in sorted({use.last.year for use in uses}):
            self.year([use for use in uses if use.last.year == year])

    def year(self, uses: list[Use]) -> None:
        """One year: services come to have dossiers, some of which are resolved, others never."""
        regraded_from = self.plan.shelves[END_2019].level34
        lowest = regraded = 0
        waiting: list[tuple[str, int]] = []
        for use in uses:
            first, last = day_number(use.first), day_number(use.last)
            by_quarter = use.last.year == 2019 and use.last.month < 7
            fresh = [
                *range(0 if by_quarter else lowest, use.lowest),
                *range(
                    regraded_from + (0 if by_quarter else regraded), regraded_from + use.regraded
                ),
            ]
            for index in fresh:
                day = first + int(self.random() * (last - first + 1))
                since = self.raised.get(index, 0)
                if day < since <= last:
                    day = since
                waiting.append(self.submit(rendering.service_code(index), day, "online"))
            lowest, regraded = use.lowest, use.regraded
            self.rng.shuffle(waiting)
            for _ in range(use.online):
                if waiting:
                    dossier, at = waiting.pop()
                else:
                    service = rendering.service_code(int(self.random() ** 2 * use.lowest))
                    day = first + int(self.random() * (last - first + 1))
                    dossier, at = self.submit(service, day, "online")
                self.resolve(dossier, at, first, last)
            shelf = self.plan.shelves[use.last]
            for _ in range(use.offline):
                draw = self.random()
                service = rendering.service_code(int(draw * draw * shelf.listed))
                day = first + int(self.random() * (last - first + 1))
                channel = "postal" if draw > 0.92 else "" if draw > 0.88 else "in_person"
                dossier, at = self.submit(service, day, channel)
                self.resolve(dossier, at, first, last)
        self.traps(uses, waiting)

    def traps(self, uses: list[Use], waiting: list[tuple[str, int]]) -> None:
        """Facts that must not move a figure, mostly on services that have no counted dossier."""
        last_use = uses[-1]
        untouched = range(last_use.lowest, self.plan.shelves[last_use.last].level34)
        first, last = day_number(uses[0].first), day_number(last_use.last)
        for number in range(1 + int(last_use.lowest * _TRAPS)):
            day = first + int(self.random() * (last - first - 5))
            at = day * DAY + 9 * 3600
            if waiting and number % 6 == 5:  # withdrawn after it was received: goes on counting
                dossier, at = waiting.pop()
                self.put(PROCESSED, at + 600, (dossier, 2, at + 600))
                self.put(PROCESSED, at + 7200, (dossier, 7, at + 7200))
                continue
            if waiting and number % 6 == 4:  # resolved by mistake, taken back
                dossier, at = waiting.pop()
                self.put(PROCESSED, at + 7200, (dossier, 9, at + 7200))
                self.put(PROCESSED, at + 7200, (dossier, 9, at + 7200, 1, True), DAY // 2)
                continue
            if not untouched:
                continue
            service = rendering.service_code(self.rng.choice(untouched))
            dossier = self.dossier_code(day, 30)
            fact = (dossier, service, "online", at, None)
            self.put(SUBMITTED, at, fact)
            if number % 6 == 0:
                self.put(PROCESSED, at + 7200, (dossier, 3, at + 7200))
            elif number % 6 == 1:
                self.put(PROCESSED, at + 7200, (dossier, 7, at + 7200))
            elif number % 6 == 2:
                self.put(SUBMITTED, at, (*fact, 1, True), DAY // 2)
                self.put(PROCESSED, at + 7200, (dossier, 9, at + 7200))
            else:
                self.put(SUBMITTED, at, (dossier, service, "in_person", at, None, 1), DAY // 2)


def level_of(index: int, shelf: Shelf) -> int:
    """The level of an agency's service `index` on a shelf: the first ones have the highest."""
    if index < shelf.level4:
        return 4
    if index < shelf.level34:
        return 3
    return 2 if index % 4 else 1


class Published:
    """Every figure of reference/published_figures.csv, played from 2019 to August 2022."""

    name = "published"
    description = "The published record of 91 agencies, 2019 to August 2022, figure by figure"
    checks: tuple[Check, ...] = CHECKS

    @cached_property
    def _events(self) -> list[Event]:
        events: list[Event] = []
        for planned in plan():
            portal = _Portal(planned, events)
            portal.catalogue()
            portal.dossiers()
        events.sort()
        return events

    @cached_property
    def _reference(self) -> list[tuple[int, Record]]:
        """Registrations and targets, with the second each is sent."""
        result: list[tuple[int, Record]] = []
        for agency in agencies():
            identity = rendering.event_id(len(result), 0)
            value = rendering.registered(identity, 0, *agency)
            result.append((0, Record("agencies", agency.code, value)))
        for year, assigned, ratios in _TARGETS:
            sent = day_number(assigned) * DAY
            for scope in _SCOPES:
                for indicator, ratio in ratios.items():
                    identity = rendering.event_id(len(result), 0)
                    value = rendering.target(identity, sent, scope, indicator, year, ratio)
                    result.append((sent, Record("targets", f"{scope}/{indicator}/{year}", value)))
        return result

    @property
    def total(self) -> int:
        """The number of records."""
        return len(self._events) + len(self._reference)

    def records(self) -> Iterator[Record]:
        """The records in the order of arrival: a duplicate carries the time of the first one."""
        reference = iter(self._reference)
        due = next(reference, None)
        for arrival, number, kind, agency, sent, fact in self._events:
            while due is not None and due[0] <= arrival:
                yield due[1]
                due = next(reference, None)
            identity = rendering.event_id(number, _SPACE)
            value = _RENDER[kind](identity, sent, agency, *fact)
            yield Record(_TOPICS[kind], agency, value)
