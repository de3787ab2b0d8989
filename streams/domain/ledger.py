"""An agency's ledger: one cell per column and day, every cell additive.

Pure. The ledger is a function of the agency's dossiers (through their contributions) and its
dated catalogue; ``replace`` and ``relist`` keep it current by taking the old part out and putting
the new one in, and folding everything again gives the same cells (tests hold that against an
oracle). Any figure is a sum of cells, so figures of days, periods and groups need no other state.

Distinct services are additive too. In each period a service begins to count on the later of its
first online dossier of that period and the day it is listed at a level asked for (+1), and stops
on the day it no longer is (-1). Those changes are cells like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from streams.domain.calendar import (
    MONTHS_IN,
    PERIOD_KINDS,
    first_day_of_month,
    last_day_of_month,
    month_and_day,
)
from streams.domain.catalogue import LEVELS, Service, Span, covers, spans
from streams.domain.definitions import COLUMN, COLUMNS, DEFINITIONS, used_column
from streams.domain.dossier import ONLINE, Contribution
from streams.domain.tally import Tally

_DAYS = 32
"""Cells of a column in a month: index 0 is unused, so a cell's index is the day of the month."""

_SUBMITTED = COLUMN["submitted_online"]
_RECEIVED = COLUMN["received_online"]
_RESOLVED = COLUMN["resolved_online"]
_RESOLVED_LEVEL4 = COLUMN["resolved_online_level4"]
_DUE, _ON_TIME = COLUMN["due"], COLUMN["on_time"]


class _Use(NamedTuple):
    """A definition's distinct count, resolved to what the ledger needs."""

    basis: int
    levels: frozenset[int]
    columns: tuple[int, ...]
    """One per period kind."""


_BASES = ("submitted", "received")
_USES = tuple(
    _Use(
        _BASES.index(d.used),
        d.levels,
        tuple(COLUMN[used_column(d.name, kind)] for kind in PERIOD_KINDS),
    )
    for d in DEFINITIONS.values()
)
_USES_OF = tuple(
    tuple((index, use.columns) for index, use in enumerate(_USES) if use.basis == basis)
    for basis in range(len(_BASES))
)
"""Per basis: (index into ServiceLedger.spans, columns) of the uses that count by it."""
_LENGTHS = tuple(MONTHS_IN[kind] for kind in PERIOD_KINDS)


def _stocks(level: int, eligible: bool) -> frozenset[int]:
    found = {COLUMN[f"listed_level{level}"]}
    if eligible:
        found.add(COLUMN["eligible"])
        if level == 4:
            found.add(COLUMN["eligible_level4"])
    return frozenset(found)


_STOCKS = {
    (level, eligible): _stocks(level, eligible) for level in LEVELS for eligible in (False, True)
}
"""(level, eligible) → the stock columns that count a service so listed."""
_NO_STOCK: frozenset[int] = frozenset()


def _stock(listings: Service) -> set[tuple[int, int, int]]:
    """(column, day, +1 or -1): when a service so listed begins to count in a stock, and ends to."""
    found: set[tuple[int, int, int]] = set()
    before = _NO_STOCK
    for day in sorted(listings):
        row = listings[day]
        now = _STOCKS[row.level, row.eligible] if row.listed else _NO_STOCK
        found.update((column, day, 1) for column in now - before)
        found.update((column, day, -1) for column in before - now)
        before = now
    return found


_LEVEL4 = frozenset({4})


_ALL_COLUMNS = range(len(COLUMNS))


class Month:
    """The cells of one agency's month, and each column's total."""

    __slots__ = ("cells", "totals")

    def __init__(self) -> None:
        self.cells: dict[int, list[int]] = {}
        self.totals = [0] * len(COLUMNS)

    def rows(self) -> dict[str, list[int]]:
        """Column name → one number per day (index 0 is the 1st); columns of zeroes are left out."""
        return {
            COLUMNS[column]: cells[1:] for column, cells in sorted(self.cells.items()) if any(cells)
        }

    @classmethod
    def from_rows(cls, rows: dict[str, list[int]]) -> Month:
        """The inverse of :meth:`rows`; columns this version does not know are ignored."""
        month = cls()
        for name, cells in rows.items():
            column = COLUMN.get(name)
            if column is not None:
                month.cells[column] = [0, *cells, *([0] * (_DAYS - 1 - len(cells)))]
                month.totals[column] = sum(cells)
        return month


class Months(dict[int, Month]):
    """An agency's months by number (``year * 12 + month - 1``); figures are sums over these."""

    def total(self, start: int, end: int, columns: range = _ALL_COLUMNS) -> list[int]:
        """The sums of the cells of the days ``start`` to ``end``, both included.

        One number per column of the ledger; those outside ``columns`` are not summed and stay 0.
        """
        if end < start:
            return [0] * len(COLUMNS)
        low, high = columns.start, columns.stop
        first, first_day = month_and_day(start)
        last, last_day = month_and_day(end)
        span = range(first, last + 1)
        numbers = [n for n in span if n in self] if len(span) < len(self) else self
        whole: list[list[int]] = [[0] * len(columns)]
        parts: list[tuple[Month, int, int]] = []
        for number in numbers:
            if first < number < last:
                whole.append(self[number].totals[low:high])
            elif first <= number <= last:
                from_day = first_day if number == first else 1
                to_day = last_day if number == last else _DAYS
                if from_day == 1 and to_day >= 31:
                    whole.append(self[number].totals[low:high])
                else:
                    parts.append((self[number], from_day, to_day + 1))
        sums = list(map(sum, zip(*whole, strict=True)))
        for month, from_day, until in parts:
            for at, column in enumerate(columns):
                cells = month.cells.get(column)
                if cells is not None:
                    sums[at] += sum(cells[from_day:until])
        return [0] * low + sums + [0] * (len(COLUMNS) - high)


class ServiceLedger:
    """What the ledger remembers of one service, to know its first days and its levels."""

    __slots__ = ("firsts", "level4", "listings", "online", "resolved", "spans")

    def __init__(self) -> None:
        self.listings: Service = {}
        self.spans: tuple[list[Span], ...] = tuple([] for _ in _USES)
        """Per use: the days on which the service is listed at a level asked for."""
        self.level4: list[Span] = []
        self.online: tuple[dict[int, int], dict[int, int]] = ({}, {})
        """Per basis (submitted, received): day → number of counted online dossiers."""
        self.firsts: tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]] = ({}, {})
        """Per basis: (kind's index, first month of a period) → first day with such a dossier."""
        self.resolved: dict[tuple[int, int], int] = {}
        """(submitted_on, resolved_on) → number of counted online dossiers."""

    def online_dossiers(self, basis: str, start: int, end: int) -> tuple[int, int, int] | None:
        """``(dossiers, first day, last day)`` of online dossiers from ``start`` to ``end``."""
        days = self.online[_BASES.index(basis)]
        # A busy service has dossiers on more days than a period holds.
        candidates = range(start, end + 1)
        if len(candidates) < len(days):
            within = [day for day in candidates if day in days]
        else:
            within = [day for day in days if start <= day <= end]
        if not within:
            return None
        return sum(days[day] for day in within), min(within), max(within)


class _Period(NamedTuple):
    """The period of one kind that a day lies in."""

    kind: int
    """Index into ``PERIOD_KINDS``."""
    key: tuple[int, int]
    """(kind, first month): as in ``ServiceLedger.firsts``."""
    last: int
    """Its last day."""


@lru_cache(maxsize=8192)
def _periods_of(day: int) -> tuple[int, tuple[_Period, ...]]:
    """The day itself, one object for all who keep it, and the periods it lies in."""
    month, _ = month_and_day(day)
    return day, tuple(
        _Period(
            kind,
            (kind, month - month % length),
            last_day_of_month(month - month % length + length - 1),
        )
        for kind, length in enumerate(_LENGTHS)
    )


class AgencyLedger:
    """The ledger of one agency. ``changed`` collects the months touched since it was cleared."""

    __slots__ = ("changed", "months", "services")

    def __init__(self) -> None:
        self.months = Months()
        self.services: dict[str, ServiceLedger] = {}
        self.changed: set[int] = set()

    def replace(self, old: Contribution | None, new: Contribution | None) -> None:
        """A dossier's contribution was ``old`` and is ``new``; only what differs is moved."""
        if old == new:
            return
        # service, channel, submitted_on | received_on | resolved_on, due, on_time
        if old is None or new is None or old[:3] != new[:3]:
            if old is not None:
                self._submitted(old, -1)
                self._received(old, -1)
                self._resolved(old, -1)
            if new is not None:
                self._submitted(new, 1)
                self._received(new, 1)
                self._resolved(new, 1)
            return
        if old.received_on != new.received_on:
            self._received(old, -1)
            self._received(new, 1)
        if old[4:] != new[4:]:
            self._resolved(old, -1)
            self._resolved(new, 1)

    def add(self, tally: Tally) -> Iterator[None]:
        """Put in the dossiers that ``tally`` counts: the same cells as :meth:`replace` of each.

        Yields after each service, so that a caller can let others run; done only at the end.
        """
        for first, by_channel in (
            (_SUBMITTED, tally.submitted),
            (_RECEIVED, tally.received),
            (_RESOLVED, tally.resolved),
        ):
            for column, days in enumerate(by_channel, start=first):
                self._add_days(column, days)
        self._add_days(_DUE, tally.due)
        self._add_days(_ON_TIME, tally.on_time)
        yield
        for code, own in tally.online.items():
            service = self._service(code)
            self._use_days(service, 0, own.submitted)
            self._use_days(service, 1, own.received)
            level4 = {day for day in own.submitted if covers(service.level4, day)}
            resolved_level4: dict[int, int] = {}
            for key, dossiers in own.resolved.items():
                service.resolved[key] = service.resolved.get(key, 0) + dossiers
                submitted_on, resolved_on = key
                if submitted_on in level4:
                    resolved_level4[resolved_on] = resolved_level4.get(resolved_on, 0) + dossiers
            self._add_days(_RESOLVED_LEVEL4, resolved_level4)
            yield

    def _add_days(self, column: int, days: Mapping[int, int]) -> None:
        for day, dossiers in days.items():
            self._add(column, day, dossiers)

    def _use_days(self, service: ServiceLedger, basis: int, days: Mapping[int, int]) -> None:
        known = service.online[basis]
        begun = None
        for day in sorted(days):
            month, _ = month_and_day(day)
            if month == begun:
                # An earlier day of this month is in: this one is the first of no period.
                known[_periods_of(day)[0]] = known.get(day, 0) + days[day]
            else:
                self._use(service, basis, day, days[day])
                begun = month

    def relist(self, code: str, listings: Service) -> None:
        """The listings of service ``code`` are now ``listings``."""
        service = self._service(code)
        if listings == service.listings:
            return
        # Only what differs: a service may have decades of listings, and a month that is touched is
        # a row that is written.
        stock_before, stock = _stock(service.listings), _stock(listings)
        for column, day, amount in stock_before - stock:
            self._add(column, day, -amount)
        for column, day, amount in stock - stock_before:
            self._add(column, day, amount)
        service.listings = listings
        renewed = tuple(spans(listings, use.levels) for use in _USES)
        for use, before, after in zip(_USES, service.spans, renewed, strict=True):
            if before == after:
                continue
            for (kind, month), first in service.firsts[use.basis].items():
                last = last_day_of_month(month + _LENGTHS[kind] - 1)
                self._used(use.columns[kind], first, last, before, -1)
                self._used(use.columns[kind], first, last, after, 1)
        service.spans = renewed
        level4_before, level4 = service.level4, spans(listings, _LEVEL4)
        service.level4 = level4
        if level4_before != level4:
            for (submitted_on, resolved_on), dossiers in service.resolved.items():
                change = covers(level4, submitted_on) - covers(level4_before, submitted_on)
                if change:
                    self._add(_RESOLVED_LEVEL4, resolved_on, change * dossiers)

    def _service(self, code: str) -> ServiceLedger:
        service = self.services.get(code)
        if service is None:
            service = self.services[code] = ServiceLedger()
        return service

    def _add(self, column: int, day: int, amount: int) -> None:
        number, day_of_month = month_and_day(day)
        month = self.months.get(number)
        if month is None:
            month = self.months[number] = Month()
        cells = month.cells.get(column)
        if cells is None:
            cells = month.cells[column] = [0] * _DAYS
        cells[day_of_month] += amount
        month.totals[column] += amount
        self.changed.add(number)

    def _submitted(self, c: Contribution, sign: int) -> None:
        self._add(_SUBMITTED + c.channel, c.submitted_on, sign)
        if c.channel == ONLINE:
            self._use(self._service(c.service), 0, c.submitted_on, sign)

    def _received(self, c: Contribution, sign: int) -> None:
        if c.received_on is None:
            return
        self._add(_RECEIVED + c.channel, c.received_on, sign)
        if c.channel == ONLINE:
            self._use(self._service(c.service), 1, c.received_on, sign)

    def _resolved(self, c: Contribution, sign: int) -> None:
        if c.resolved_on is None:
            return
        self._add(_RESOLVED + c.channel, c.resolved_on, sign)
        if c.due:
            self._add(_DUE, c.resolved_on, sign)
        if c.on_time:
            self._add(_ON_TIME, c.resolved_on, sign)
        if c.channel == ONLINE:
            service = self._service(c.service)
            key = c.submitted_on, c.resolved_on
            dossiers = service.resolved.get(key, 0) + sign
            if dossiers:
                service.resolved[key] = dossiers
            else:
                del service.resolved[key]
            if covers(service.level4, c.submitted_on):
                self._add(_RESOLVED_LEVEL4, c.resolved_on, sign)

    def _use(self, service: ServiceLedger, basis: int, day: int, sign: int) -> None:
        """One online dossier more or less on ``day``: move the first days it changes."""
        day, periods = _periods_of(day)
        days = service.online[basis]
        before = days.get(day, 0)
        after = before + sign
        if after:
            days[day] = after
        else:
            del days[day]
        if before and after:
            return
        firsts = service.firsts[basis]
        for kind, key, last in periods:
            known = firsts.get(key)
            if after:
                if known is not None and known <= day:
                    continue
                first: int | None = day
            else:
                if known != day:
                    continue
                start = first_day_of_month(key[1])
                first = min((d for d in days if start <= d <= last), default=None)
            for index, columns in _USES_OF[basis]:
                listed = service.spans[index]
                if listed:
                    if known is not None:
                        self._used(columns[kind], known, last, listed, -1)
                    if first is not None:
                        self._used(columns[kind], first, last, listed, 1)
            if first is None:
                del firsts[key]
            else:
                firsts[key] = first

    def _used(self, column: int, first: int, last: int, listed: list[Span], sign: int) -> None:
        # When a service with its first dossier on ``first`` begins (+1) and stops (-1) to count;
        # ``last`` is the period's last day, and later changes belong to no cell of this period.
        for span in listed:
            if span.end > first and span.start <= last:
                self._add(column, max(first, span.start), sign)
                if span.end <= last:
                    self._add(column, span.end, -sign)
