"""The counting rules at work on raw events, with neither Kafka nor schemas: what a worker holds.

:class:`Register` takes events in chunks, as a worker does: merge every fact of the chunk, then move
each touched dossier and service in the ledger once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

from streams.domain import catalogue, dossier, indicators
from streams.domain.calendar import PeriodKind, month_name
from streams.domain.catalogue import Listing, Service
from streams.domain.definitions import DEFINITIONS
from streams.domain.dossier import CHANNELS, UNKNOWN, Contribution, Dossier, Step, Submission
from streams.domain.indicators import Agency, Counts, Figures
from streams.domain.ledger import AgencyLedger
from streams.domain.targets import INDICATORS, Targets
from tests.oracle import Oracle

Event = Mapping[str, Any]
Row = dict[str, Any]
Cells = dict[str, dict[str, dict[str, list[int]]]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(text: str) -> int:
    """Microseconds since the epoch."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def submission_of(value: Mapping[str, Any]) -> Submission:
    data = value["data"]
    due_at = data.get("due_at")
    return Submission(
        data.get("revision", 0),
        instant(data["submitted_at"]),
        value["id"],
        data.get("void", False),
        data["service"],
        CHANNELS.index(data.get("channel") or "in_person"),
        None if due_at is None else instant(due_at),
    )


def step_of(value: Mapping[str, Any]) -> tuple[int, Step]:
    data = value["data"]
    fact = Step(data.get("revision", 0), instant(data["at"]), value["id"], data.get("void", False))
    return data["status"], fact


def listing_of(value: Mapping[str, Any]) -> tuple[int, Listing]:
    data = value["data"]
    fact = Listing(
        data.get("revision", 0),
        value["id"],
        data["listed"],
        data["level"],
        data["eligible"],
        data.get("name") or "",
    )
    return date.fromisoformat(data["effective_from"]).toordinal(), fact


class Register:
    """Dossiers, services and ledgers of every agency, kept current chunk by chunk."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.agencies: dict[str, Agency] = {}
        self.assigned: dict[str, tuple[tuple[str, str, int], Fraction]] = {}
        self.dossiers: dict[tuple[str, str], Dossier] = {}
        self.services: dict[tuple[str, str], Service] = {}
        self.ledgers: dict[str, AgencyLedger] = {}
        self.take(events)

    def take(self, chunk: Iterable[Event]) -> None:
        before: dict[tuple[str, str], Contribution | None] = {}
        relisted: dict[tuple[str, str], None] = {}
        for event in chunk:
            topic, key, value = event["topic"], event["key"], event["value"]
            if topic == "agencies":
                if value is None:
                    self.agencies.pop(key, None)
                else:
                    data = value["data"]
                    self.agencies[key] = Agency(data["agency"], data["name"], data["kind"])
                continue
            if topic == "targets":
                if value is None:
                    self.assigned.pop(key, None)
                else:
                    data = value["data"]
                    what = data["scope"], data["indicator"], data["year"]
                    self.assigned[key] = what, Fraction(str(data["ratio"]))
                continue
            data = value["data"]
            agency = data["agency"]
            if topic == "catalogue":
                at = agency, data["service"]
                relisted[at] = None
                day, listing = listing_of(value)
                # A copy: the ledger compares it with the one that it has.
                self.services[at] = dict(self.services.get(at, {}))
                catalogue.take_listing(self.services[at], day, listing)
                continue
            at = agency, data["dossier"]
            known = self.dossiers.get(at, UNKNOWN)
            before.setdefault(at, dossier.contribution(known))
            if topic == "submissions":
                merged, _ = dossier.merge_submission(known, submission_of(value))
            else:
                merged, _ = dossier.merge_step(known, *step_of(value))
            self.dossiers[at] = merged
        for (agency, code), old in before.items():
            new = dossier.contribution(self.dossiers[agency, code])
            self._ledger(agency).replace(old, new)
        for agency, code in relisted:
            self._ledger(agency).relist(code, self.services[agency, code])

    def refolded(self) -> Register:
        """The same dossiers and services, their ledgers folded from nothing, as after a crash."""
        other = Register()
        other.agencies, other.assigned = self.agencies, self.assigned
        other.dossiers, other.services = self.dossiers, self.services
        for (agency, code), listings in self.services.items():
            other._ledger(agency).relist(code, listings)
        for (agency, _), state in self.dossiers.items():
            other._ledger(agency).replace(None, dossier.contribution(state))
        return other

    def _ledger(self, agency: str) -> AgencyLedger:
        return self.ledgers.setdefault(agency, AgencyLedger())

    def cells(self) -> Cells:
        """Every cell that is not zero: agency → month → column → one number per day.

        Also holds each month's totals against its cells.
        """
        found: Cells = {}
        for agency, ledger in self.ledgers.items():
            for number, month in ledger.months.items():
                for column, total in enumerate(month.totals):
                    assert total == sum(month.cells.get(column, ()))
                if month.rows():
                    found.setdefault(agency, {})[month_name(number)] = month.rows()
        return found

    def report(self, as_of: date, period: PeriodKind, definition: str) -> list[Figures]:
        return indicators.report(
            self.agencies.values(),
            {agency: ledger.months for agency, ledger in self.ledgers.items()},
            Targets(dict(self.assigned.values())),
            DEFINITIONS[definition],
            period,
            as_of.toordinal(),
        )

    def figures(self, as_of: date, period: PeriodKind, definition: str) -> dict[str, Row]:
        """The report in the oracle's shape, so that the two can be compared whole."""
        return {f.scope: in_the_oracles_shape(f) for f in self.report(as_of, period, definition)}


def in_the_oracles_shape(f: Figures) -> Row:
    counts = f.counts
    return {
        "scope": f.scope,
        "kind": f.kind,
        "services_listed": counts.services_listed,
        "services_with_dossiers": counts.services_with_dossiers,
        "dossiers_processed": counts.dossiers_processed,
        "dossiers_processed_online": counts.dossiers_processed_online,
        "dossiers_submitted": dict(zip(CHANNELS, counts.submitted, strict=True)),
        "on_time": counts.on_time,
        "due": counts.due,
        "eligible": counts.eligible,
        "eligible_at_level4": counts.eligible_level4,
        "listed": counts.listed,
        "listed_at_level34": counts.level34,
        "listed_at_level4": counts.level4,
        **_both_ratios(counts),
        "on_time_ratio": indicators.ratio(counts.on_time, counts.due),
        "level4_of_eligible": indicators.ratio(counts.eligible_level4, counts.eligible),
        "level34_of_listed": indicators.ratio(counts.level34, counts.listed),
        "level4_of_listed": indicators.ratio(counts.level4, counts.listed),
        "previous_year": _both_ratios(f.previous_year),
        "previous_period": _both_ratios(f.previous_period),
        "targets": {
            indicator: {
                "ratio": gap.target,
                "shortfall": gap.shortfall,
                "missing": gap.missing,
                "behind_pace": gap.behind_pace,
            }
            for indicator, gap in f.gaps.items()
        },
        "rank": f.ranks,
    }


def _both_ratios(counts: Counts | None) -> Row:
    return {f"{i}_ratio": None if counts is None else counts.ratio(i) for i in INDICATORS}


def agreed(
    events: Iterable[Event],
    as_of: str,
    scope: str = "H56",
    *,
    period: PeriodKind = "year",
    definition: str = "mic-2022",
) -> Row:
    """A scope's figures, on which the counting rules and the oracle must agree.

    The rules take the events in three ways: as one chunk, one by one, and with the facts one by one
    from the last to the first (the compacted topics keep their order).
    """
    said = list(events)
    day = date.fromisoformat(as_of)
    counted = Oracle(said).figures(day, period, definition)
    reference = [event for event in said if event["topic"] in ("agencies", "targets")]
    facts = [event for event in said if event not in reference]
    at_once, one_by_one, backwards = Register(said), Register(), Register(reference)
    for event in said:
        one_by_one.take([event])
    for event in reversed(facts):
        backwards.take([event])
    for register in (at_once, one_by_one, backwards):
        assert register.figures(day, period, definition) == counted
    return counted[scope]
