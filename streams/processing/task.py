"""One partition's life: the phases of a task, and the only place where a phase changes.

::

    RESTORING ─restored─► RUNNING        RUNNING ─fenced | invalid─► RESTORING
    RESTORING | RUNNING ─revoking─► SUSPENDED ─assigned─► RESTORING      any ─lost─► CLOSED
    RESTORING ─fenced | invalid─► RESTORING

restored
    The changelogs are read to their ends, the ledgers are those of the rows, and the public rows
    are those of the ledgers. Only now are its figures shown and its chunks processed.
fenced
    Another worker's rows were found in its changelogs. They are merged by another restore.
invalid
    Its ledgers are not what its rows give, or its local store is damaged.
revoking
    A rebalance began: nothing is shown and no chunk is begun until it is settled.
assigned
    The partition is still this worker's.
lost
    It is another worker's, or this process ends.

Each restore is a new **generation** of the task: one that is overtaken by a newer one has no say.
What survives a crash is in the changelogs; a task survives nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from streams.processing.source_cursor import SourceCursor
from streams.state.partition import Partition


class Phase(Enum):
    """Where a task stands."""

    RESTORING = "restoring"
    RUNNING = "running"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class Cause(Enum):
    """Why a phase changes."""

    restored = "restored"
    fenced = "fenced"
    invalid = "invalid"
    revoking = "revoking"
    assigned = "assigned"
    lost = "lost"


TRANSITIONS: Final = MappingProxyType(
    {
        (Phase.RESTORING, Cause.restored): Phase.RUNNING,
        (Phase.RUNNING, Cause.fenced): Phase.RESTORING,
        (Phase.RUNNING, Cause.invalid): Phase.RESTORING,
        (Phase.RESTORING, Cause.fenced): Phase.RESTORING,
        (Phase.RESTORING, Cause.invalid): Phase.RESTORING,
        (Phase.RESTORING, Cause.revoking): Phase.SUSPENDED,
        (Phase.RUNNING, Cause.revoking): Phase.SUSPENDED,
        (Phase.SUSPENDED, Cause.assigned): Phase.RESTORING,
        (Phase.RESTORING, Cause.lost): Phase.CLOSED,
        (Phase.RUNNING, Cause.lost): Phase.CLOSED,
        (Phase.SUSPENDED, Cause.lost): Phase.CLOSED,
    }
)
"""Every change of a phase that there is."""


class IllegalTransitionError(RuntimeError):
    """A phase was to change in a way that is not in :data:`TRANSITIONS`: this program is wrong."""


@dataclass(eq=False, slots=True)
class Task:
    """The work on one partition number that this worker was assigned."""

    number: int
    partition: Partition
    phase: Phase = Phase.RESTORING
    generation: int = 1
    """Counts the restores; see the module."""
    changelog_offsets: dict[str, int] = field(default_factory=dict)
    """Table → the offset up to which its log is in the state, without a gap."""
    cursors: dict[str, SourceCursor] = field(default_factory=dict)
    """Source topic (full name) → its cursor; none before the first restore is done."""
    in_flight: set[asyncio.Task[bool]] = field(default_factory=set)
    """Chunks that are in the state and whose rows are on their way to the logs."""
    last_chunk: asyncio.Task[bool] | None = None
    """The chunk processed last; chunks are acknowledged in order."""
    restore: asyncio.Task[None] | None = None
    """The restore under way."""
    rebuilt: bool = False
    """Its store was damaged and set aside, and it has not run since."""
    verification: Generator[None, None, str | None] | None = None
    """The comparison of ledgers and rows under way; it holds on to the store."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def move(self, cause: Cause) -> None:
        """Change the phase. Raises :class:`IllegalTransitionError`."""
        phase = TRANSITIONS.get((self.phase, cause))
        if phase is None:
            raise IllegalTransitionError(
                f"partition {self.number}: {self.phase.value} and {cause.value}"
            )
        if phase is Phase.RESTORING:
            self.generation += 1
        self.phase = phase
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    @property
    def running(self) -> bool:
        """Whether chunks may be processed."""
        return self.phase is Phase.RUNNING

    async def changed(self) -> None:
        """Wait until the phase is another one."""
        await self._changed.wait()

    def stop_verification(self) -> None:
        """Let go of the store."""
        if self.verification is not None:
            self.verification.close()
            self.verification = None
