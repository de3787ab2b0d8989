"""How many records the broker has that the figures lack: a part is never shown as the whole.

Contract, section 6. What the figures have is in the register: marks, and how far this process's
own ledgers go. What the broker has are the high watermarks of the event topics, so that records
count that an open transaction holds back. The broker is asked after the question came, or whoever
has just sent records could be told that none is missing; all who ask at once share one answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.kafka.topic_ends import MissingTopicError

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
"""An answer waits so long for the brokers, and then says that it can't be told."""

Ends = Mapping[TopicPartition, int]
"""The high watermark of every partition of the event topics."""


class Figures(Protocol):
    """What figures are read from."""

    def lacking(self, ends: Ends) -> int | None:
        """How many offsets below ``ends`` the figures lack; None if it can't be told."""


class Behind:
    """Asks the brokers how far they are, for a register. Survives nothing."""

    def __init__(self, figures: Figures, ask: Callable[[], Awaitable[Ends]]) -> None:
        """``ask`` asks the brokers; it may raise ``KafkaError``, or take long."""
        self._figures = figures
        self._ask = ask
        self._asking = asyncio.Lock()
        self._joinable: asyncio.Task[Ends] | None = None
        """The round that has not asked yet."""
        self._rounds: set[asyncio.Task[Ends]] = set()
        self._silent_until = 0.0

    async def ends(self, wait: float = WAIT_SECONDS) -> Ends | None:
        """How far the brokers are, as of some moment after the call.

        None if they don't say so within ``wait`` seconds; who asks in the second after that is not
        kept waiting again.
        """
        if time.monotonic() < self._silent_until:
            return None
        if self._joinable is None:
            self._joinable = asyncio.create_task(self._round())
            self._rounds.add(self._joinable)
            self._joinable.add_done_callback(self._forget)
        try:
            async with asyncio.timeout(wait):
                return await asyncio.shield(self._joinable)
        except (KafkaError, MissingTopicError, TimeoutError, OSError) as error:
            logger.debug("the ends of the event topics cannot be read: %r", error)
            self._silent_until = time.monotonic() + WAIT_SECONDS
            return None

    def records(self, ends: Ends | None) -> int | None:
        """How many records the figures lack as they are now; None if it can't be told."""
        return None if ends is None else self._figures.lacking(ends)

    async def stop(self) -> None:
        """Ask no more."""
        for waiting in self._rounds:
            waiting.cancel()
        if self._rounds:
            await asyncio.wait(self._rounds)

    async def _round(self) -> Ends:
        async with self._asking:
            self._joinable = None
            return await self._ask()

    def _forget(self, finished: asyncio.Task[Ends]) -> None:
        self._rounds.discard(finished)
        if self._joinable is finished:
            self._joinable = None
        if not finished.cancelled():
            finished.exception()  # seen, also when nobody waited for it
