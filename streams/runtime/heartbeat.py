"""Whether the consumer group still counts on this process, by the coordinator's last answer.

A process that was frozen, or cut off from the brokers, loses its partitions to others after one
session timeout and hears nothing of it. aiokafka goes on as if nothing were until it reaches the
coordinator again, so whoever publishes has to ask here. Nothing is kept over a restart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from streams.kafka.aiokafka_internals import note_heartbeats


class Heartbeat:
    """Notes the heartbeats that were answered. Made in touch; ``attach`` before it is of use."""

    def __init__(self, session_seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._session_seconds = session_seconds
        self._now = now
        self._coordinator: Any = None
        self._answered: float | None = None

    def attach(self, coordinator: Any) -> None:
        """The group has just given this process its partitions, through ``coordinator``.

        That is aiokafka's GroupCoordinator. It may run in another thread.
        """
        self._answered = self._now()
        if coordinator is self._coordinator:
            return
        self._coordinator = coordinator
        note_heartbeats(coordinator, self._now, self._note)

    def _note(self, sent: float) -> None:
        self._answered = sent

    @property
    def in_touch(self) -> bool:
        """Whether a heartbeat was answered within the session timeout; True if never attached."""
        return self._answered is None or self._now() - self._answered <= self._session_seconds
