"""One scenario after another on the same topics: the old catalogue closes before the new one opens.

Without it the services of a past scenario would stay listed for ever, and the share of services
with dossiers of the one played after it would say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from itertools import chain
from uuid import NAMESPACE_URL, uuid5

from streams.simulator.scenario import Check, Record, Scenario

_VIETNAM = timezone(timedelta(hours=7))


class Remembering:
    """A scenario that remembers which services it lists, while it is played."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._services: dict[tuple[str, str], tuple[int, bool]] = {}
        self.name = scenario.name
        self.description = scenario.description

    @property
    def total(self) -> int | None:
        return self._scenario.total

    @property
    def checks(self) -> tuple[Check, ...]:
        return self._scenario.checks

    def records(self) -> Iterator[Record]:
        """The scenario's records, unchanged."""
        for record in self._scenario.records():
            if record.topic == "catalogue":
                data = json.loads(record.value)["data"]
                self._services[data["agency"], data["service"]] = data["level"], data["eligible"]
            yield record

    def takedowns(self, day: date) -> Iterator[Record]:
        """Every service that has been played so far is taken down from ``day`` on."""
        sent = datetime.combine(day - timedelta(days=1), time(17), tzinfo=_VIETNAM).isoformat()
        for (agency, service), (level, eligible) in self._services.items():
            event = {
                "specversion": "1.0",
                "id": str(uuid5(NAMESPACE_URL, f"hoso:takedown:{agency}:{service}:{day}")),
                "source": f"/portals/{agency}",
                "type": "hoso.service.listed.v1",
                "time": sent,
                "datacontenttype": "application/json",
                "data": {
                    "agency": agency,
                    "service": service,
                    "level": level,
                    "eligible": eligible,
                    "listed": False,
                    "effective_from": day.isoformat(),
                },
            }
            yield Record("catalogue", agency, json.dumps(event).encode())


class Succession:
    """``later`` after the services of ``earlier`` have been taken down on ``day``."""

    checks: tuple[Check, ...] = ()

    def __init__(self, earlier: Remembering, later: Scenario, day: date) -> None:
        self._earlier = earlier
        self._later = later
        self._day = day
        self.name = later.name
        self.description = later.description

    @property
    def total(self) -> int | None:
        return self._later.total

    def records(self) -> Iterator[Record]:
        """The takedowns, then the records of the later scenario."""
        return chain(self._earlier.takedowns(self._day), self._later.records())
