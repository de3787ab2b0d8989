"""What one worker knows of a partition number it has been assigned, beside the partition's state.

Plain data, changed by :mod:`streams.processing.tasks` and :mod:`streams.processing.intake`.
Survives nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass, field

from streams.state.partition import Partition


@dataclass(eq=False, slots=True)
class Owned:
    """A partition number this worker has been assigned."""

    number: int
    partition: Partition
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when ``ready`` or ``lost`` has been decided."""
    ready: bool = False
    lost: bool = False
    positions: dict[str, int] = field(default_factory=dict)
    """Table → the changelog offset up to which its log is in the state, without a gap."""
    next: dict[str, int] = field(default_factory=dict)
    """Source topic → the next offset to take in; chunks must not begin after it."""
    unexplained: dict[str, int] = field(default_factory=dict)
    """Source topic → offsets moved past without an outcome: 0, or this program is wrong."""
    disturbed: bool = False
    """Somebody else wrote to its changelogs: read them again before going on."""
    unrepaired: bool = False
    """Rows were read that the ledgers and the logs have not been made to agree with yet."""
    shown: set[tuple[str, int]] = field(default_factory=set)
    """(agency, month) pairs that the ledgers had before a recovery, until a repair is done: their
    public rows may stand though the months are empty now."""
    in_flight: set[asyncio.Task[bool]] = field(default_factory=set)
    last_chunk: asyncio.Task[bool] | None = None
    """The chunk taken in last; chunks are acknowledged in order."""
    recovery: asyncio.Task[None] | None = None
    rebuilding: bool = False
    """Its store was damaged, and it has not been ready since."""
    unchecked: bool = False
    """Its ledgers were restored, and not compared with its rows since."""
    recount: Generator[None, None, str | None] | None = None
    """The comparison under way; it holds on to the store."""

    def stop_recount(self) -> None:
        """Let go of the store."""
        if self.recount is not None:
            self.recount.close()
            self.recount = None


@dataclass(slots=True)
class RecoveryReport:
    """The recoveries since the last assignment, taken together."""

    started: float
    """When the assignment came, on the monotonic clock."""
    rows: int = 0
    """Changelog rows read."""
    repaired: int = 0
    """Rows written because the log lacked facts that were known, or the public row differed."""
    seconds: float = 0.0
    """From the assignment to the last partition made ready so far."""
