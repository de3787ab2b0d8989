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

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.kafka.shared_question import SharedQuestion
from streams.kafka.topic_ends import MissingTopicError

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
"""An answer waits so long for the brokers, and then says that it can't be told."""

Ends = Mapping[TopicPartition, int]
"""The high watermark of every partition of the event topics."""


class Behind:
    """Asks the brokers how far they are. Survives nothing."""

    def __init__(self, ask: Callable[[], Awaitable[Ends]]) -> None:
        """``ask`` asks the brokers; it may raise ``KafkaError``, or take long."""
        self._question = SharedQuestion(ask)
        self._silent_until = 0.0

    async def ends(self, wait: float = WAIT_SECONDS) -> Ends | None:
        """How far the brokers are, as of some moment after the call.

        None if they don't say so within ``wait`` seconds; who asks in the second after that is not
        kept waiting again.
        """
        if time.monotonic() < self._silent_until:
            return None
        try:
            async with asyncio.timeout(wait):
                return await self._question.answer()
        except (KafkaError, MissingTopicError, TimeoutError, OSError) as error:
            logger.debug("the ends of the event topics cannot be read: %r", error)
            self._silent_until = time.monotonic() + WAIT_SECONDS
            return None

    async def stop(self) -> None:
        """Ask no more."""
        await self._question.stop()
