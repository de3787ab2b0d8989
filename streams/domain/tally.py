"""Dossiers of one agency counted together, so that a ledger takes in many at the price of few.

Pure. Cells are additive, so a dossier's cells may first be added up with those of others: the
ledger then moves once per cell, and not once per dossier. :meth:`AgencyLedger.add` puts a tally in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from streams.domain.dossier import CHANNELS, ONLINE, Contribution

Days = defaultdict[int, int]
"""Day → number of dossiers."""


def _days() -> Days:
    return defaultdict(int)


class OnlineTally:
    """The online dossiers of one service."""

    __slots__ = ("received", "resolved", "submitted")

    def __init__(self) -> None:
        self.submitted = _days()
        self.received = _days()
        self.resolved: defaultdict[tuple[int, int], int] = defaultdict(int)
        """(submitted_on, resolved_on) → number of dossiers."""


class Tally:
    """What some dossiers of an agency add to its ledger; every count is above zero."""

    __slots__ = ("due", "on_time", "online", "received", "resolved", "submitted")

    def __init__(self) -> None:
        self.submitted = tuple(_days() for _ in CHANNELS)
        """One per channel, as are the next two."""
        self.received = tuple(_days() for _ in CHANNELS)
        self.resolved = tuple(_days() for _ in CHANNELS)
        self.due = _days()
        self.on_time = _days()
        self.online: defaultdict[str, OnlineTally] = defaultdict(OnlineTally)
        """By service."""

    def count(self, contributions: Iterable[Contribution]) -> None:
        """Count one dossier for each contribution."""
        submitted, received, resolved = self.submitted, self.received, self.resolved
        due, on_time, online = self.due, self.on_time, self.online
        for counted in contributions:
            service, channel, submitted_on, received_on, resolved_on, has_due, kept = counted
            submitted[channel][submitted_on] += 1
            if received_on is not None:
                received[channel][received_on] += 1
            if resolved_on is not None:
                resolved[channel][resolved_on] += 1
                if has_due:
                    due[resolved_on] += 1
                if kept:
                    on_time[resolved_on] += 1
            if channel == ONLINE:
                own = online[service]
                own.submitted[submitted_on] += 1
                if received_on is not None:
                    own.received[received_on] += 1
                if resolved_on is not None:
                    own.resolved[submitted_on, resolved_on] += 1
