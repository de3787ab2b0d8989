"""The counting rules of `mic-2022` by brute force: plain dictionaries and sets, days as text.

Shares no code with the project. It keeps every fact and looks at all of them again for each day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import orjson

RECEIVED = {2, 4, 5, 6, 8, 9, 10}
GROUPS = ("national", "ministries", "provinces")
PERIOD_STARTS: dict[str, Callable[[str], str]] = {
    "year": lambda day: day[:4] + "-01-01",
    "quarter": lambda day: f"{day[:4]}-{(int(day[5:7]) - 1) // 3 * 3 + 1:02}-01",
}
COUNTS = (
    "listed",
    "level34",
    "level4",
    "eligible",
    "eligible_level4",
    "services_listed",
    "services_with_dossiers",
    "dossiers_processed",
    "dossiers_processed_online",
)


class Fold:
    """All facts of a timeline, the winning one of each kept; asked for rows afterwards."""

    def __init__(self) -> None:
        self.submissions: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.statuses: dict[tuple[str, str], dict[int, tuple[Any, ...]]] = defaultdict(dict)
        self.listings: dict[tuple[str, str], dict[str, tuple[Any, ...]]] = defaultdict(dict)
        self.kinds: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.targets: dict[tuple[str, str, int], float] = {}

    def add(self, value: bytes) -> None:
        """Take in one event; the times of the timeline all carry +07:00, so text compares."""
        event = orjson.loads(value)
        data = event["data"]
        if event["type"] == "hoso.dossier.submitted.v1":
            key = data["agency"], data["dossier"]
            fact: tuple[Any, ...] = (
                data.get("revision", 0),
                data["submitted_at"],
                event["id"],
                data["service"],
                data["channel"] or "in_person",
                data.get("void", False),
            )
            if key not in self.submissions or self.submissions[key] < fact:
                self.submissions[key] = fact
        elif event["type"] == "hoso.dossier.processed.v1":
            known = self.statuses[data["agency"], data["dossier"]]
            fact = data.get("revision", 0), data["at"], event["id"], data.get("void", False)
            if data["status"] not in known or known[data["status"]] < fact:
                known[data["status"]] = fact
        elif event["type"] == "hoso.service.listed.v1":
            rows = self.listings[data["agency"], data["service"]]
            level = data["level"] if data["listed"] else 0
            fact = data.get("revision", 0), event["id"], level, data["eligible"]
            if data["effective_from"] not in rows or rows[data["effective_from"]] < fact:
                rows[data["effective_from"]] = fact
        elif event["type"] == "hoso.agency.registered.v1":
            self.kinds[data["agency"]] = data["kind"]
            self.names[data["agency"]] = data["name"]
        else:
            self.targets[data["scope"], data["indicator"], data["year"]] = data["ratio"]

    def settle(self) -> None:
        """Keep what counts: agency, service, whether online, submitted on, resolved on."""
        self.counted: list[tuple[str, str, bool, str, str | None]] = []
        for (agency, dossier), fact in self.submissions.items():
            _, at, _, service, channel, void = fact
            facts = self.statuses.get((agency, dossier), {})
            statuses = {status: f[1][:10] for status, f in facts.items() if not f[3]}
            received = any(status in RECEIVED for status in statuses)
            ended_before = (3 in statuses or 7 in statuses) and not received
            if void or ended_before:
                continue
            resolved_on = statuses.get(9, statuses.get(10))
            self.counted.append((agency, service, channel == "online", at[:10], resolved_on))

    def rows(self, as_of: str, period: str) -> list[dict[str, Any]]:
        """One row for each group and agency, with the integers of the API's row."""
        start = PERIOD_STARTS[period](as_of)
        counts = {scope: dict.fromkeys(COUNTS, 0) for scope in (*GROUPS, *sorted(self.kinds))}
        level34: set[tuple[str, str]] = set()
        for (agency, service), rows in self.listings.items():
            days = [day for day in rows if day <= as_of]
            if not days:
                continue
            _, _, level, eligible = rows[max(days)]
            cell = counts[agency]
            cell["listed"] += level > 0
            cell["level34"] += level >= 3
            cell["level4"] += level == 4
            cell["eligible"] += level > 0 and eligible
            cell["eligible_level4"] += level == 4 and eligible
            if level >= 3:
                level34.add((agency, service))
        used: set[tuple[str, str]] = set()
        for agency, service, online, submitted_on, resolved_on in self.counted:
            if online and start <= submitted_on <= as_of:
                used.add((agency, service))
            if resolved_on is not None and start <= resolved_on <= as_of:
                counts[agency]["dossiers_processed"] += 1
                counts[agency]["dossiers_processed_online"] += online
        for agency, _ in level34:
            counts[agency]["services_listed"] += 1
        for agency, _ in level34 & used:
            counts[agency]["services_with_dossiers"] += 1
        for agency, kind in self.kinds.items():
            group = {"ministry": "ministries", "province": "provinces"}[kind]
            for field, number in counts[agency].items():
                counts["national"][field] += number
                counts[group][field] += number
        year = int(as_of[:4])
        return [
            {
                "scope": scope,
                "kind": self.kinds.get(scope),
                "targets": {
                    indicator: {"ratio": self.targets.get((scope, indicator, year))}
                    for indicator in ("services_with_dossiers", "online_processed")
                },
                **cell,
            }
            for scope, cell in counts.items()
        ]


def fold(values: Iterable[bytes]) -> Fold:
    """Everything in `values`, settled."""
    result = Fold()
    for value in values:
        result.add(value)
    result.settle()
    return result
