"""Whether the topics are still those that this worker began with.

How many partitions a topic has, and which topic it is, is looked at once by every client there is:
consumers are assigned what was there, producers choose among it, views read it. So when a topic is
deleted, made anew or given partitions under a running worker, part of it is read by nobody, and
nothing shows. Here it is looked at all the time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiokafka.errors import KafkaError

from streams.kafka.topic_metadata import TopicState

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often to look. The contract (section 1) gives 30 s until a worker says so."""
_ANSWER_SECONDS = 15.0

Ask = Callable[[Iterable[str]], Awaitable[Mapping[str, TopicState]]]
"""Gives those of the named topics that exist; see ``TopicQuestion``."""


def wrong_topics(
    now: Mapping[str, TopicState],
    names: Iterable[str],
    partitions: int,
    begun_with: Mapping[str, TopicState] | None = None,
) -> list[str]:
    """What is wrong with the topics, a line for each; nothing if all are as they must be.

    ``begun_with``: as they were when the figures began to be counted from them.
    """
    problems = []
    for name in names:
        state, before = now.get(name), (begun_with or {}).get(name)
        if state is None:
            problems.append(f"{name}: missing")
        elif state.partitions != partitions:
            noun = "partition" if state.partitions == 1 else "partitions"
            problems.append(f"{name}: {state.partitions} {noun}, expected {partitions}")
        elif before is not None and before.identity != state.identity:
            problems.append(f"{name}: deleted and created anew")
    return problems


class TopicWatch:
    """Looks at the topics of a running worker. Survives nothing."""

    def __init__(
        self,
        ask: Ask,
        partitions: int,
        begun_with: Mapping[str, TopicState],
        changed: Callable[[list[str]], None],
    ) -> None:
        """``begun_with``: every topic to look at, as it was before the worker read anything.

        ``changed`` is called with what is wrong, by each look that finds something.
        """
        self._ask = ask
        self._partitions = partitions
        self._begun_with = dict(begun_with)
        self._changed = changed

    async def run(self) -> None:
        """Look until cancelled. Without a broker that answers nothing is known to be wrong."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self.look()
            except (KafkaError, TimeoutError, OSError) as error:
                logger.debug("the topics cannot be looked at: %r", error)

    async def look(self) -> None:
        """Look once. Raises ``KafkaError`` if no broker answers."""
        now = await self._ask(self._begun_with)
        problems = wrong_topics(now, self._begun_with, self._partitions, self._begun_with)
        if problems:
            self._changed(problems)
