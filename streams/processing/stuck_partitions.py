"""Notices source partitions whose backlog does not move, and sends the consumer back to it.

The log has records there that this process was never handed: the consumer began after them, or its
client is stuck (seen once after a network cut). If reading on from the position does not help, a
restart does, which loses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from aiokafka import TopicPartition

from streams.kafka.log import Log
from streams.processing.tasks import Seek, Tasks

logger = logging.getLogger(__name__)

POLLS = 5
"""So many polls in a row at the same place are stuck. Polls and not seconds, so that a process that
was stopped for a while is not found guilty of it."""

At = tuple[str, int]
"""(topic, partition)."""


class StuckPartitions:
    """Polls the backlog from time to time. Survives nothing, and nothing is lost with it."""

    def __init__(
        self,
        tasks: Tasks,
        log: Log,
        lag: Callable[[], Mapping[At, int]],
        seek: Seek,
        fatal: Callable[[str], None],
    ) -> None:
        """``lag`` gives the records left by (topic, partition)."""
        self._tasks = tasks
        self._log = log
        self._lag = lag
        self._seek = seek
        self._fatal = fatal
        self._standing: dict[At, tuple[int, int]] = {}
        """Where each partition with a backlog stands, and how many polls have found it there."""
        self._sent_back: dict[At, int] = {}
        """Where the consumer was sent back to."""

    async def poll(self) -> None:
        """To be called often. Raises ``KafkaError`` or ``TimeoutError`` if the log cannot be asked.

        Where a record has been waiting and its task was running all the time, sends the consumer
        back to it; calls ``fatal`` when it is still waiting after as many polls again.
        """
        standing: dict[At, tuple[int, int]] = {}
        for at, left in self._lag().items():
            position = self._position(at)
            if left and position is not None:
                known, polls = self._standing.get(at, (position, 0))
                standing[at] = position, polls + 1 if known == position else 1
        self._standing = standing
        for at, (position, polls) in list(standing.items()):
            if polls >= POLLS:
                await self._move(at, position)

    def _position(self, at: At) -> int | None:
        """Where a partition stands that nothing is being done with; None of any other."""
        topic, number = at
        task = self._tasks.tasks.get(number)
        if task is None or not task.running or task.in_flight:
            return None
        return task.cursors[topic].position

    async def _move(self, at: At, position: int) -> None:
        waiting = await self._log.first_from({TopicPartition(*at): position})
        if not waiting or self._position(at) != position:
            return
        if self._sent_back.get(at) == position:
            self._fatal(
                f"{at[0]}[{at[1]}] is stuck at offset {position}, where there is a record: "
                "the consumer is stuck"
            )
            return
        logger.warning(
            "%s[%d] is stuck at offset %d, where there is a record: reading on from there",
            *at,
            position,
        )
        self._sent_back[at] = position
        del self._standing[at]
        await self._seek(at, position)
