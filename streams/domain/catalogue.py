"""The dated catalogue of one service: which level it is listed at, on which days.

Pure. A service has at most one winning listing per effective day; a listing holds from its
``effective_from`` until the service's next one (contract, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from streams.domain.dossier import Outcome

LEVELS = (1, 2, 3, 4)
FOREVER = 1 << 40
"""An end that no day reaches."""


class Listing(NamedTuple):
    """A catalogue fact for one service and one effective day."""

    revision: int
    id: str
    listed: bool
    level: int
    eligible: bool
    name: str


Service = dict[int, Listing]
"""The winning listings of a service by the day they take effect (an ordinal)."""


class Span(NamedTuple):
    """Days ``start`` (included) to ``end`` (excluded)."""

    start: int
    end: int


def take_listing(service: Service, effective_from: int, fact: Listing) -> Outcome:
    """Take a listing into ``service``: per effective day, the highest (revision, id) wins.

    The fields after ``id`` only break ties between facts that wrongly share an id.
    """
    known = service.get(effective_from)
    if known is not None:
        if known == fact:
            return "duplicate"
        if fact < known:
            return "superseded"
    service[effective_from] = fact
    return "applied"


def listing_on(service: Service, day: int) -> Listing | None:
    """The listing in force on ``day``, or None before the first and while taken down."""
    started = [effective for effective in service if effective <= day]
    if not started:
        return None
    listing = service[max(started)]
    return listing if listing.listed else None


def spans(service: Service, levels: frozenset[int]) -> list[Span]:
    """The days on which the service is listed at one of ``levels``, as disjoint sorted spans."""
    found: list[Span] = []
    for day, until in pairwise([*sorted(service), FOREVER]):
        listing = service[day]
        if listing.listed and listing.level in levels:
            if found and found[-1].end == day:
                found[-1] = Span(found[-1].start, until)
            else:
                found.append(Span(day, until))
    return found


def covers(found: Iterable[Span], day: int) -> bool:
    """Whether one of the spans holds ``day``."""
    return any(span.start <= day < span.end for span in found)
