"""What must hold at any moment of a campaign, looked at from outside about once a second.

- No agency is published by two workers for longer than one session timeout (a worker that was
  frozen or cut off and does not know that it has lost its partitions).
- No share is above 1, no numerator above its denominator.
- No offset is passed without an outcome.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import defaultdict
from typing import Any

import aiohttp

from tests.chaos.workers import Place, Workers

SESSION_SECONDS = 6.0
TOLERANCE_SECONDS = 2.0
"""Scrapes are a second apart and do not happen at one moment."""

_READY_EVERY = 0.25
_SCRAPE_EVERY = 1.0
_TIMEOUT = aiohttp.ClientTimeout(total=3)
_SAMPLE = re.compile(r"^(hoso_\w+)\{([^}]*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Samples = list[tuple[str, dict[str, str], float]]


class Watch:
    """Looks at the workers until it is cancelled, and remembers what was wrong."""

    def __init__(self, workers: Workers, partitions: int) -> None:
        self._workers = workers
        self._partitions = partitions
        self.violations: list[str] = []
        self.scrapes = 0
        self.longest_overlap = 0.0
        self.longest_zombie = 0.0
        """The same, for a worker that had been frozen."""
        self._lag: dict[int, dict[tuple[str, str], float]] = {}
        self.owned: dict[int, set[int]] = {}
        """Place → partitions that it says are ready."""
        self._overlaps: dict[str, float] = {}
        self._accused: set[str] = set()
        self._unaccounted: set[tuple[int, str]] = set()
        self._counted: dict[int, float] = {}
        """Process → the events it had counted when last looked at."""
        self._seconds_whole = 0.0
        self._seconds = 0.0
        self._session: aiohttp.ClientSession | None = None

    async def run(self) -> None:
        """For ever."""
        async with (
            aiohttp.ClientSession(
                timeout=_TIMEOUT, connector=aiohttp.TCPConnector(force_close=True)
            ) as self._session,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(self._watch_readiness())
            tasks.create_task(self._watch_figures())

    @property
    def lag(self) -> dict[tuple[str, str], float]:
        """(topic, partition) → records, as the workers that run said last."""
        running = {place.number for place in self._workers.running()}
        found: dict[tuple[str, str], float] = {}
        for number, lag in self._lag.items():
            if number in running:
                found |= lag
        return found

    def owners(self) -> dict[int, int]:
        """Partition → the process that is ready there, has its network and is not frozen."""
        return {
            number: place.process.pid
            for place in self._workers.running()
            if place.process is not None and place.ready and not place.disturbed
            for number in self.owned.get(place.number, ())
        }

    @property
    def events_counted(self) -> int:
        """Events the workers counted, all outcomes, up to the last look at each."""
        return int(sum(self._counted.values()))

    @property
    def share_whole(self) -> float:
        """The share of the time in which every partition was ready somewhere."""
        return self._seconds_whole / self._seconds if self._seconds else 0.0

    async def get(self, place: Place, path: str, **ask: str) -> tuple[int, bytes]:
        """Status and body; status 0 when there is no answer."""
        assert self._session is not None
        try:
            async with self._session.get(
                f"http://127.0.0.1:{place.port}{path}", params=ask
            ) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0, b""

    # Readiness

    async def _watch_readiness(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.gather(*(self._look_at(place) for place in self._workers.places))
            now = time.monotonic()
            self._seconds += now - before
            if set().union(*self.owned.values()) == set(range(self._partitions)):
                self._seconds_whole += now - before
            before = now
            await asyncio.sleep(_READY_EVERY)

    async def _look_at(self, place: Place) -> None:
        process = place.process
        if process is None or place.frozen:
            self.owned.pop(place.number, None)
            return
        status, body = await self.get(place, "/readyz")
        if place.process is not process or place.frozen:
            return
        if status not in (200, 503):
            self.owned.pop(place.number, None)
            return
        state = json.loads(body)
        self.owned[place.number] = set(state["partitions"]) - set(state["recovering"])
        for at, offsets in state.get("unaccounted", {}).items():
            if (process.pid, at) not in self._unaccounted:
                self._unaccounted.add((process.pid, at))
                self.violations.append(f"worker {place.number}: {at}: {offsets} unaccounted")
        if status == 200:
            self._workers.is_ready(place)
        else:
            place.ready = False

    # Figures

    async def _watch_figures(self) -> None:
        while True:
            began = time.monotonic()
            places = self._workers.running()
            found = await asyncio.gather(*(self._scrape(place) for place in places))
            self.look_for_two_owners(
                {place.number: agencies for place, agencies in zip(places, found, strict=True)},
                {p.number for p in places if began - p.thawed_at < 30},
                began,
            )
            await asyncio.sleep(max(0.05, _SCRAPE_EVERY - (time.monotonic() - began)))

    async def _scrape(self, place: Place) -> set[str]:
        process = place.process
        status, body = await self.get(place, "/metrics")
        if status != 200 or process is None or place.process is not process:
            return set()
        self.scrapes += 1
        samples = parse(body.decode())
        self.look_for_nonsense(samples, f"worker {place.number}")
        self._counted[process.pid] = sum(v for name, _, v in samples if name == "hoso_events_total")
        self._lag[place.number] = {
            (labels["topic"], labels["partition"]): value
            for name, labels, value in samples
            if name == "hoso_consumer_lag"
        }
        return {
            labels["agency"] for name, labels, _ in samples if name == "hoso_services_with_dossiers"
        }

    def look_for_two_owners(
        self, published: dict[int, set[str]], thawed: set[int], now: float
    ) -> None:
        """``published``: place → the agencies it shows figures of, seen together at ``now``."""
        by_agency: dict[str, list[int]] = defaultdict(list)
        for place, agencies in published.items():
            for agency in agencies:
                by_agency[agency].append(place)
        twice = {agency: places for agency, places in by_agency.items() if len(places) > 1}
        for agency in self._overlaps.keys() - twice.keys():
            del self._overlaps[agency]
            self._accused.discard(agency)
        for agency, places in twice.items():
            seconds = now - self._overlaps.setdefault(agency, now)
            self.longest_overlap = max(self.longest_overlap, seconds)
            if thawed & set(places):
                self.longest_zombie = max(self.longest_zombie, seconds)
            if seconds > SESSION_SECONDS + TOLERANCE_SECONDS and agency not in self._accused:
                self._accused.add(agency)
                self.violations.append(
                    f"{agency} was published by workers {places} for {seconds:.1f} s"
                )

    def look_for_nonsense(self, samples: Samples, where: str) -> None:
        """Shares above 1; more on time than due."""
        due: dict[tuple[str, str], float] = {}
        on_time: dict[tuple[str, str], float] = {}
        for name, labels, value in samples:
            if name in ("hoso_services_with_dossiers_ratio", "hoso_online_processed_ratio"):
                if not 0 <= value <= 1:
                    self.violations.append(f"{where}: {name}{labels} is {value}")
            elif name == "hoso_dossiers_due":
                due[labels["agency"], labels["period"]] = value
            elif name == "hoso_dossiers_on_time":
                on_time[labels["agency"], labels["period"]] = value
            if value < 0 and name.startswith(("hoso_dossiers", "hoso_services")):
                self.violations.append(f"{where}: {name}{labels} is {value}")
        for at, number in on_time.items():
            if number > due.get(at, 0):
                self.violations.append(f"{where}: {number:g} on time of {due.get(at)} at {at}")


def parse(text: str) -> Samples:
    """The samples with labels; label values here hold no quotes or braces."""
    return [
        (name, dict(_LABEL.findall(labels)), float(value))
        for name, labels, value in _SAMPLE.findall(text)
    ]


def brief(lag: dict[tuple[str, str], float]) -> dict[str, Any]:
    """Only where there is lag."""
    return {f"{topic}[{partition}]": int(n) for (topic, partition), n in lag.items() if n}
