"""Restored ledgers are recounted while the worker works: one partition at a time, and slowly.

What a recount compares is in :mod:`streams.state.comparison`. Survives nothing: a partition that
was not compared to its end is compared again after the next start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from streams.processing.task import Owned
from streams.state.comparison import recount

logger = logging.getLogger(__name__)


async def rest(worked: float) -> None:
    """A tenth of the time at most goes into what nobody waits for."""
    await asyncio.sleep(9 * worked)


class Recounts:
    """The recounts of one worker.

    ``distrust`` is called with a partition and the first agency of it whose ledger is not what its
    rows give: then the store is damaged, or this program is wrong. ``failed`` is called with what
    kept that from being found out.
    """

    def __init__(
        self,
        distrust: Callable[[Owned, str], None],
        failed: Callable[[Owned, Exception], None],
    ) -> None:
        self._distrust = distrust
        self._failed = failed
        self._one_at_a_time = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()
        self.rest: Callable[[float], Awaitable[None]] = rest
        """Waits after each slice of work, which took so many seconds."""

    def soon(self, owned: Owned) -> None:
        """Recount a partition that has just become ready."""
        task = asyncio.create_task(self._recount_or_die(owned))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def close(self) -> None:
        """End what is under way."""
        for task in self._under_way:
            task.cancel()

    async def _recount_or_die(self, owned: Owned) -> None:
        try:
            async with self._one_at_a_time:
                await self._recount(owned)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._failed(owned, error)

    async def _recount(self, owned: Owned) -> None:
        if not owned.ready or not owned.unchecked:
            return  # what makes it ready again begins this again
        started, busy = time.monotonic(), 0.0
        work = owned.recount = recount(owned.partition)
        while True:
            since = time.monotonic()
            try:
                next(work)
            except StopIteration as end:
                differing = end.value
                break
            took = time.monotonic() - since
            busy += took
            await self.rest(took)
            if owned.recount is not work:
                return  # the store was wanted for something else
        owned.recount = None
        owned.unchecked = False
        if differing is not None:
            self._distrust(owned, differing)
            return
        logger.info(
            "partition %d: restored ledgers agree with a fold of the rows, "
            "by %.1f s of work in %.0f s",
            owned.number,
            busy,
            time.monotonic() - started,
        )
