"""The scenario `live`: an endless day of the 91 agencies, for people to watch.

It starts with a small catalogue and the year so far, then sends submissions and processing whose
time is now. The year so far is drawn day by day from the seed, so playing it again sends the same
facts again and counts nothing twice. The dossier codes of the stream carry the second it began in,
and none can be a code of the scenario `published`, which uses the units 01 to 30.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from hashlib import blake2b
from itertools import accumulate
from operator import itemgetter
from random import Random
from typing import Final, NamedTuple

from streams.simulator import rendering
from streams.simulator.agencies import agencies
from streams.simulator.rendering import DAY, EPOCH, day_number, day_text
from streams.simulator.scenario import Check, Record

VIETNAM: Final = timezone(timedelta(hours=7))

DUPLICATES: Final = 0.02
LATE: Final = 0.01
RESTATED: Final = 0.005

_DOSSIERS_A_WEEKDAY: Final = 44
_DOSSIERS_A_WEEKEND_DAY: Final = 12
_FIRST_SERVICE: Final = 9_000  # indices of the scenario `published` are lower
_PATHS: Final = (((2, 9, 10), 0.55), ((2, 4, 9), 0.3), ((10,), 0.08), ((3,), 0.04), ((7,), 0.03))


def _identity(*parts: object) -> str:
    digest = blake2b(" ".join(map(str, parts)).encode(), digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:]}"


def _now() -> datetime:
    return datetime.now(UTC)


class _Agency(NamedTuple):
    code: str
    online: float  # share of dossiers that come in online
    levels: tuple[int, ...]  # of the services, by their number


class _Dossier(NamedTuple):
    agency: _Agency
    code: str
    service: int
    channel: str
    submitted: int  # second
    due: int  # second
    path: tuple[int, ...]  # the statuses to come


class Live:
    """Endless. `clock` gives the time of each event; naive times are an error (ValueError).

    `seed` chooses agencies' habits and the year so far. `malformed` is the share of records that
    are broken on purpose, 0 to 1. Played again, `records` starts afresh.
    """

    name = "live"
    description = "An endless day of the 91 agencies, after the year so far; times are now"
    total: int | None = None
    checks: tuple[Check, ...] = ()

    def __init__(
        self, clock: Callable[[], datetime] = _now, *, seed: int = 1, malformed: float = 0.0
    ) -> None:
        if not 0 <= malformed <= 1:
            raise ValueError(f"malformed is a share from 0 to 1, not {malformed}")
        self.clock = clock
        self.seed = seed
        self.malformed = malformed
        rng = Random(f"live {seed}")
        self._names = agencies()
        self._agencies = [
            _Agency(
                agency.code,
                rng.uniform(0.15, 0.9),
                tuple(rng.choices((2, 3, 4), (0.2, 0.3, 0.5), k=rng.randint(40, 60))),
            )
            for agency in self._names
        ]
        order = list(range(1, len(self._agencies) + 1))
        rng.shuffle(order)
        self._weights = list(accumulate(rank**-0.8 for rank in order))  # Zipf

    def _second(self) -> int:
        """The clock's time in seconds since `EPOCH`, Vietnamese local time."""
        now = self.clock()
        if now.tzinfo is None:
            raise ValueError("the clock gives a time without an offset")
        local = now.astimezone(VIETNAM)
        return day_number(local.date()) * DAY + (
            local.hour * 3600 + local.minute * 60 + local.second
        )

    def records(self) -> Iterator[Record]:
        """Registrations, targets, catalogue, the year to yesterday, then the stream."""
        began = self._second()
        today = EPOCH + timedelta(days=began // DAY)
        new_year = date(today.year, 1, 1)
        yield from self._reference(new_year)
        waiting: deque[_Dossier] = deque(maxlen=4000)
        yield from self._year_so_far(day_number(new_year), began // DAY, waiting)
        yield from self._stream(began, waiting)

    def _reference(self, new_year: date) -> Iterator[Record]:
        day = day_number(new_year)
        sent = day * DAY
        for agency in self._names:
            identity = _identity("live agency", self.seed, new_year, agency.code)
            value = rendering.registered(identity, sent, *agency)
            yield Record("agencies", agency.code, value)
        for scope in ("national", "ministries", "provinces"):
            for indicator, ratio in (("services_with_dossiers", 0.8), ("online_processed", 0.5)):
                key = f"{scope}/{indicator}/{new_year.year}"
                identity = _identity("live target", self.seed, key)
                value = rendering.target(identity, sent, scope, indicator, new_year.year, ratio)
                yield Record("targets", key, value)
        for habits in self._agencies:
            for number, level in enumerate(habits.levels):
                service = rendering.service_code(_FIRST_SERVICE + number)
                identity = _identity("live service", self.seed, new_year, habits.code, number)
                eligible = level == 4 or number % 9 == 0
                value = rendering.listed(identity, sent, habits.code, service, level, eligible, day)
                yield Record("catalogue", habits.code, value)

    # -- the year so far

    def _year_so_far(self, first: int, today: int, waiting: deque[_Dossier]) -> Iterator[Record]:
        events: list[tuple[int, Record]] = []
        for day in range(first, today):
            rng = Random(f"live {self.seed} {day_text(day)}")
            weekend = (EPOCH + timedelta(days=day)).weekday() >= 5
            for number in range(_DOSSIERS_A_WEEKEND_DAY if weekend else _DOSSIERS_A_WEEKDAY):
                at = day * DAY + 7 * 3600 + rng.randrange(10 * 3600)
                dossier = self._draw(rng, at, f"{number + 1:04}", unit=50)
                events.append((at, self._submission(dossier, at + 2)))
                path = dossier.path
                while path:
                    at += int(rng.expovariate(1 / 4) * DAY) + 600
                    if at >= today * DAY:
                        break
                    events.append((at, self._processing(dossier, path[0], at)))
                    path = path[1:]
                if path:
                    waiting.append(dossier._replace(path=path))
        events.sort(key=itemgetter(0))
        for _, record in events:
            yield record

    # -- the stream

    def _stream(self, began: int, waiting: deque[_Dossier]) -> Iterator[Record]:
        rng = Random(f"live {self.seed} stream")
        session = rendering.time_text(began)[11:19].replace(":", "")
        recent: deque[Record] = deque(maxlen=200)
        submitted: deque[_Dossier] = deque(maxlen=200)
        count = 0
        while True:
            count += 1
            now = self._second()
            if rng.random() < self.malformed:
                yield self._broken(rng, now, f"{session} {count}")
                continue
            draw = rng.random()
            if recent and draw < DUPLICATES:
                yield rng.choice(recent)
                continue
            if submitted and draw < DUPLICATES + RESTATED:
                record = self._restated(rng, submitted, now)
            elif not waiting or draw < 0.4:
                late = rng.random() < LATE
                at = now - (rng.randrange(DAY, 20 * DAY) if late else rng.randrange(5))
                dossier = self._draw(rng, at, f"{session}{count:05}", unit=70)
                submitted.append(dossier)
                waiting.append(dossier)
                record = self._submission(dossier, now)
            else:
                waiting.rotate(-rng.randrange(min(len(waiting), 50)))
                dossier = waiting.popleft()
                at = max(now, dossier.submitted)
                record = self._processing(dossier, dossier.path[0], at)
                if len(dossier.path) > 1:
                    waiting.append(dossier._replace(path=dossier.path[1:]))
            recent.append(record)
            yield record

    def _restated(self, rng: Random, submitted: deque[_Dossier], now: int) -> Record:
        """A submission said again with another channel; each dossier once."""
        position = rng.randrange(len(submitted))
        dossier = submitted[position]
        del submitted[position]
        channel = "postal" if dossier.channel == "online" else "online"
        return self._submission(dossier._replace(channel=channel), now, revision=1)

    def _broken(self, rng: Random, now: int, number: str) -> Record:
        """A record that must become a dead letter."""
        dossier = self._draw(rng, now, "0000", unit=90)
        record = self._submission(dossier._replace(code=number.replace(" ", "")), now)
        broken = (
            record.value[: len(record.value) // 2],
            record.value.replace(b'"revision":0', b'"revision":0,"note":"?"'),
            record.value.replace(b'+07:00","due_at"', b'","due_at"'),
            record.value.replace(b"dossier.submitted", b"dossier.posted"),
        )
        return record._replace(value=rng.choice(broken))

    # -- facts

    def _draw(self, rng: Random, at: int, sequence: str, *, unit: int) -> _Dossier:
        agency = rng.choices(self._agencies, cum_weights=self._weights)[0]
        service = int(rng.random() ** 1.4 * len(agency.levels))
        chance = agency.online if agency.levels[service] >= 3 else agency.online * 0.3
        online = rng.random() < chance
        channel = "online" if online else rng.choices(("in_person", "postal"), (0.9, 0.1))[0]
        text = day_text(at // DAY)
        code = f"{agency.code}.{unit + service % 15}-{text[2:4]}{text[5:7]}{text[8:10]}-{sequence}"
        due = (at // DAY + rng.randint(5, 25)) * DAY + 17 * 3600
        path = rng.choices([path for path, _ in _PATHS], [weight for _, weight in _PATHS])[0]
        return _Dossier(agency, code, service, channel, at, due, path)

    def _submission(self, dossier: _Dossier, sent: int, revision: int = 0) -> Record:
        agency = dossier.agency.code
        identity = _identity("live", self.seed, agency, dossier.code, "submitted", revision)
        value = rendering.submitted(
            identity,
            sent,
            agency,
            dossier.code,
            rendering.service_code(_FIRST_SERVICE + dossier.service),
            dossier.channel,
            dossier.submitted,
            dossier.due,
            revision,
        )
        return Record("submissions", agency, value)

    def _processing(self, dossier: _Dossier, status: int, at: int) -> Record:
        agency = dossier.agency.code
        identity = _identity("live", self.seed, agency, dossier.code, status, at)
        value = rendering.processed(identity, at, agency, dossier.code, status, at)
        return Record("processing", agency, value)
