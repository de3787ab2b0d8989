"""A second opinion: every figure recounted from the raw events, by the dumbest loops there are.

Written from the contract alone (sections 1 to 4). Standard library only, and not a line shared with
``streams`` or ``schemas``: a mistake in the counting rules has to be made twice to go unseen. Slow
on purpose; it keeps no ledger, no first days and no running sums, but looks at every dossier and
every listing again for every figure.

An event is ``{"topic": …, "key": …, "value": …}`` as in ``tests/data/example_events.jsonl``, with
or without a prefix on the topic. Events are taken to be *accepted* ones: the oracle rejects
nothing, save that agencies nobody registered have no row. The order of the events matters only for
the compacted topics (agencies and targets, where the last value of a key stands and null removes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

Event = Mapping[str, Any]
Row = dict[str, Any]

INDICATORS = ("services_with_dossiers", "online_processed")
DEFINITIONS = ("mic-2022", "qd766", "emc-2024")
PERIODS = ("month", "quarter", "half", "year")
GROUPS = ("national", "ministries", "provinces")

_VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
_ONE_DAY = timedelta(days=1)


def figures(events: Iterable[Event], as_of: date, period: str, definition: str) -> dict[str, Row]:
    """Every figure of every scope: ``{scope: row}``, groups first, then agencies by code.

    A row holds the counts under the names of ``example_figures.json``; the ratios under the names
    of the API (exact fractions, or None over a zero denominator); and ``previous_year``,
    ``previous_period``, ``targets`` and ``rank`` in the shape of the API.
    """
    return Oracle(events).figures(as_of, period, definition)


@dataclass
class _Facts:
    """All that was ever said, nothing thrown away."""

    submissions: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    steps: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    listings: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)


@dataclass
class _Dossier:
    """A dossier that counts."""

    service: str
    channel: str
    submitted: date
    received: date | None
    resolved: date | None
    has_due_date: bool
    on_time: bool


@dataclass
class _Listing:
    service: str
    name: str | None
    level: int
    eligible: bool
    listed: bool


class Oracle:
    """The events read once, for tests that ask for many days. See :func:`figures`."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.agencies: dict[str, Mapping[str, Any]] = {}
        self.assigned: dict[str, Mapping[str, Any]] = {}
        facts = _Facts()
        for event in events:
            value, key = event["value"], event["key"]
            topic = event["topic"].rpartition(".")[2]
            if topic == "agencies":
                _put(self.agencies, key, value)
            elif topic == "targets":
                _put(self.assigned, key, value)
            elif topic == "submissions":
                facts.submissions.append((value["id"], value["data"]))
            elif topic == "processing":
                facts.steps.append((value["id"], value["data"]))
            elif topic == "catalogue":
                facts.listings.append((value["id"], value["data"]))
            else:
                raise ValueError(f"not an event topic: {event['topic']!r}")
        self._dossiers = {code: _dossiers_of(code, facts) for code in self.agencies}
        self._listings = {code: _listings_of(code, facts) for code in self.agencies}

    # -- figures -----------------------------------------------------------------------------

    def figures(self, as_of: date, period: str, definition: str) -> dict[str, Row]:
        """See :func:`figures`."""
        scopes = [*GROUPS, *sorted(self.agencies)]
        year_ago, period_ago = _same_day_last_year(as_of), _end_of_period_before(as_of, period)
        rows: dict[str, Row] = {}
        for scope in scopes:
            row: Row = {"scope": scope, "kind": self._kind(scope)}
            row |= self._counts(scope, as_of, period, definition)
            row |= _ratios(row)
            for name, day in (("previous_year", year_ago), ("previous_period", period_ago)):
                then = {} if day is None else _ratios(self._counts(scope, day, period, definition))
                row[name] = {f"{i}_ratio": then.get(f"{i}_ratio") for i in INDICATORS}
            row["targets"] = {i: self._gap(scope, row, i, as_of, period) for i in INDICATORS}
            rows[scope] = row
        for scope, row in rows.items():
            rivals = [rows[s] for s in self.agencies if self._kind(s) == self._kind(scope)]
            row["rank"] = {
                i: _rank(row[f"{i}_ratio"], [rival[f"{i}_ratio"] for rival in rivals])
                if scope not in GROUPS
                else None
                for i in INDICATORS
            }
        return rows

    def services(
        self, agency: str, as_of: date, period: str, definition: str
    ) -> dict[str, tuple[int, date | None, date | None]]:
        """The services behind an agency's ratio: code → (online dossiers, first and last day)."""
        found = {}
        for listing in self._in_force(agency, as_of):
            if listing.level in _levels(definition):
                days = self._online_days(agency, listing.service, as_of, period, definition)
                found[listing.service] = (
                    len(days),
                    min(days) if days else None,
                    max(days) if days else None,
                )
        return found

    def _kind(self, scope: str) -> str | None:
        return None if scope in GROUPS else self.agencies[scope]["kind"]

    def _members(self, scope: str) -> list[str]:
        kinds = {
            "national": ("ministry", "province"),
            "ministries": ("ministry",),
            "provinces": ("province",),
        }
        if scope in kinds:
            return [code for code in self.agencies if self._kind(code) in kinds[scope]]
        return [scope]

    def _counts(self, scope: str, as_of: date, period: str, definition: str) -> Row:
        total: Row = {
            "services_listed": 0,
            "services_with_dossiers": 0,
            "dossiers_processed": 0,
            "dossiers_processed_online": 0,
            "dossiers_submitted": {"online": 0, "in_person": 0, "postal": 0},
            "on_time": 0,
            "due": 0,
            "eligible": 0,
            "eligible_at_level4": 0,
            "listed": 0,
            "listed_at_level34": 0,
            "listed_at_level4": 0,
        }
        for agency in self._members(scope):
            self._count_services(total, agency, as_of, period, definition)
            self._count_dossiers(total, agency, as_of, period, definition)
        return total

    def _count_services(
        self, total: Row, agency: str, as_of: date, period: str, definition: str
    ) -> None:
        for listing in self._in_force(agency, as_of):
            total["listed"] += 1
            if listing.level >= 3:
                total["listed_at_level34"] += 1
            if listing.level == 4:
                total["listed_at_level4"] += 1
            if listing.eligible:
                total["eligible"] += 1
                if listing.level == 4:
                    total["eligible_at_level4"] += 1
            if listing.level in _levels(definition):
                total["services_listed"] += 1
                if self._online_days(agency, listing.service, as_of, period, definition):
                    total["services_with_dossiers"] += 1

    def _count_dossiers(
        self, total: Row, agency: str, as_of: date, period: str, definition: str
    ) -> None:
        for dossier in self._dossiers[agency]:
            online = dossier.channel == "online"
            if _within(dossier.submitted, as_of, period):
                total["dossiers_submitted"][dossier.channel] += 1
            if _within(dossier.resolved, as_of, period):
                if dossier.has_due_date:
                    total["due"] += 1
                if dossier.on_time:
                    total["on_time"] += 1
            if definition == "qd766":
                processed_on, counts = dossier.received, online
            elif definition == "emc-2024":
                at_submission = self._in_force(agency, dossier.submitted)
                level4 = [row.service for row in at_submission if row.level == 4]
                processed_on, counts = dossier.resolved, online and dossier.service in level4
            else:
                processed_on, counts = dossier.resolved, online
            if _within(processed_on, as_of, period):
                total["dossiers_processed"] += 1
                if counts:
                    total["dossiers_processed_online"] += 1

    def _online_days(
        self, agency: str, service: str, as_of: date, period: str, definition: str
    ) -> list[date]:
        days = []
        for dossier in self._dossiers[agency]:
            day = dossier.received if definition == "qd766" else dossier.submitted
            same = dossier.service == service and dossier.channel == "online"
            if same and day is not None and _within(day, as_of, period):
                days.append(day)
        return days

    def _in_force(self, agency: str, day: date) -> list[_Listing]:
        """The listings in force on a day, taken-down services left out."""
        found = []
        for by_day in self._listings[agency].values():
            begun = [effective_from for effective_from in by_day if effective_from <= day]
            if begun and by_day[max(begun)].listed:
                found.append(by_day[max(begun)])
        return found

    # -- targets -----------------------------------------------------------------------------

    def _target(self, scope: str, indicator: str, year: int) -> Fraction | None:
        group = {"ministry": "ministries", "province": "provinces"}.get(self._kind(scope) or "")
        for candidate in (scope, group, "national"):
            for data in self.assigned.values():
                if (data["scope"], data["indicator"], data["year"]) == (candidate, indicator, year):
                    return Fraction(str(data["ratio"]))
        return None

    def _gap(self, scope: str, row: Row, indicator: str, as_of: date, period: str) -> Row:
        target = self._target(scope, indicator, as_of.year)
        ratio = row[f"{indicator}_ratio"]
        if target is None or ratio is None:
            return {"ratio": target, "shortfall": None, "missing": None, "behind_pace": None}
        if indicator == "services_with_dossiers":
            numerator, denominator = row["services_with_dossiers"], row["services_listed"]
            first, last = _first_day(as_of, period), _last_day(as_of, period)
            pace = target * (as_of - first).days / (last - first).days
        else:
            numerator, denominator = row["dossiers_processed_online"], row["dossiers_processed"]
            pace = target
        missing = 0
        while Fraction(numerator + missing, denominator) < target:
            missing += 1
        return {
            "ratio": target,
            "shortfall": target - ratio if ratio < target else Fraction(0),
            "missing": missing,
            "behind_pace": pace - ratio if ratio < pace else Fraction(0),
        }


# -- from facts to dossiers and listings -----------------------------------------------------------


def _put(table: dict[str, Mapping[str, Any]], key: str, value: Mapping[str, Any] | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value["data"]


def _dossiers_of(agency: str, facts: _Facts) -> list[_Dossier]:
    submissions: dict[str, list[Any]] = {}
    for id_, data in facts.submissions:
        if data["agency"] == agency:
            submissions.setdefault(data["dossier"], []).append((id_, data))
    steps: dict[str, list[Any]] = {}
    for id_, data in facts.steps:
        if data["agency"] == agency:
            steps.setdefault(data["dossier"], []).append((id_, data))
    found = []
    for code, said in submissions.items():
        dossier = _dossier(said, steps.get(code, []))
        if dossier is not None:
            found.append(dossier)
    return found


def _dossier(submissions: list[Any], steps: list[Any]) -> _Dossier | None:
    """What a dossier counts for, from all that was said of it; None if it counts nowhere."""
    _, submission = max(
        submissions, key=lambda f: (f[1].get("revision", 0), _instant(f[1]["submitted_at"]), f[0])
    )
    if submission.get("void", False):
        return None
    reached: dict[int, datetime] = {}
    for status in range(2, 11):
        said = [fact for fact in steps if fact[1]["status"] == status]
        if said:
            _, last = max(said, key=lambda f: (f[1].get("revision", 0), _instant(f[1]["at"]), f[0]))
            if not last.get("void", False):
                reached[status] = _instant(last["at"])
    was_received = any(status in reached for status in (2, 4, 5, 6, 8, 9, 10))
    was_refused_or_withdrawn = (3 in reached or 7 in reached) and not was_received
    if was_refused_or_withdrawn:
        return None
    submitted = _day(_instant(submission["submitted_at"]))
    received = None
    if was_received:
        received = _day(reached[2]) if 2 in reached else submitted
    end = None
    if 9 in reached:
        end = reached[9]
    elif 10 in reached:
        end = reached[10]
    due_at = submission.get("due_at")
    return _Dossier(
        service=submission["service"],
        channel=submission.get("channel") or "in_person",
        submitted=submitted,
        received=received,
        resolved=None if end is None else _day(end),
        has_due_date=end is not None and due_at is not None,
        on_time=end is not None and due_at is not None and end <= _instant(due_at),
    )


def _listings_of(agency: str, facts: _Facts) -> dict[str, dict[date, _Listing]]:
    """Service → effective day → what was last said of that day."""
    said: dict[tuple[str, date], list[Any]] = {}
    for id_, data in facts.listings:
        if data["agency"] == agency:
            slot = data["service"], date.fromisoformat(data["effective_from"])
            said.setdefault(slot, []).append((id_, data))
    found: dict[str, dict[date, _Listing]] = {}
    for (service, effective_from), rows in said.items():
        _, data = max(rows, key=lambda f: (f[1].get("revision", 0), f[0]))
        found.setdefault(service, {})[effective_from] = _Listing(
            service, data.get("name"), data["level"], data["eligible"], data["listed"]
        )
    return found


def _levels(definition: str) -> tuple[int, ...]:
    """The levels of the services that a definition divides by."""
    return {"mic-2022": (3, 4), "qd766": (1, 2, 3, 4), "emc-2024": (4,)}[definition]


# -- days and periods ------------------------------------------------------------------------------


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"no offset: {text!r}")
    return instant


def _day(instant: datetime) -> date:
    return instant.astimezone(_VIETNAM).date()


def _is_first_day(day: date, period: str) -> bool:
    months = {"month": range(1, 13), "quarter": (1, 4, 7, 10), "half": (1, 7), "year": (1,)}
    return day.day == 1 and day.month in months[period]


@lru_cache(maxsize=4096)
def _first_day(day: date, period: str) -> date:
    while not _is_first_day(day, period):
        day -= _ONE_DAY
    return day


@lru_cache(maxsize=4096)
def _last_day(day: date, period: str) -> date:
    while day != date.max and not _is_first_day(day + _ONE_DAY, period):
        day += _ONE_DAY
    return day


@lru_cache(maxsize=100_000)
def _within(day: date | None, as_of: date, period: str) -> bool:
    """Whether a day is in the period that holds ``as_of``, and not after ``as_of``."""
    if day is None or day > as_of or (as_of - day).days > 366:
        return False
    while day < as_of:
        day += _ONE_DAY
        if _is_first_day(day, period):
            return False  # another period began in between
    return True


def _same_day_last_year(day: date) -> date | None:
    if day.year == 1:
        return None
    if day.month == 2 and day.day == 29:
        return date(day.year - 1, 2, 28)
    return date(day.year - 1, day.month, day.day)


def _end_of_period_before(day: date, period: str) -> date | None:
    first = _first_day(day, period)
    return None if first == date.min else first - _ONE_DAY


# -- ratios and ranks ------------------------------------------------------------------------------


def _ratio(numerator: int, denominator: int) -> Fraction | None:
    return None if denominator == 0 else Fraction(numerator, denominator)


def _ratios(row: Row) -> Row:
    return {
        "services_with_dossiers_ratio": _ratio(
            row["services_with_dossiers"], row["services_listed"]
        ),
        "online_processed_ratio": _ratio(
            row["dossiers_processed_online"], row["dossiers_processed"]
        ),
        "on_time_ratio": _ratio(row["on_time"], row["due"]),
        "level4_of_eligible": _ratio(row["eligible_at_level4"], row["eligible"]),
        "level34_of_listed": _ratio(row["listed_at_level34"], row["listed"]),
        "level4_of_listed": _ratio(row["listed_at_level4"], row["listed"]),
    }


def _rank(own: Fraction | None, all_of_the_kind: list[Fraction | None]) -> int | None:
    if own is None:
        return None
    return 1 + len([ratio for ratio in all_of_the_kind if ratio is not None and ratio > own])
