"""Restored ledgers are verified while the worker works: one partition at a time, and slowly.

What is compared is in :mod:`streams.state.comparison`. Survives nothing: a partition that was not
verified to its end is verified again after the next start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from streams.processing.task import Task
from streams.state.comparison import first_difference
from streams.state.stores import DamagedStoreError

logger = logging.getLogger(__name__)


class WrongLedgerError(DamagedStoreError):
    """The store is damaged, or this program is wrong: the changelog says which."""


async def rest(worked: float) -> None:
    """A tenth of the time at most goes into what nobody waits for."""
    await asyncio.sleep(9 * worked)


class Verification:
    """Verifies the tasks of one worker.

    ``failed`` is called with a task and what is wrong with it: a :class:`WrongLedgerError`, or what
    kept that from being found out.
    """

    def __init__(self, failed: Callable[[Task, Exception], None]) -> None:
        self._failed = failed
        self._one_at_a_time = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()
        self.rest: Callable[[float], Awaitable[None]] = rest
        """Waits after each slice of work, which took so many seconds."""

    def soon(self, task: Task) -> None:
        """Verify a task that has just begun to run, unless its ledgers were folded or verified."""
        if task.partition.unverified:
            verifying = asyncio.create_task(self._verify_or_die(task))
            self._under_way.add(verifying)
            verifying.add_done_callback(self._under_way.discard)

    def close(self) -> None:
        """End what is under way."""
        for verifying in self._under_way:
            verifying.cancel()

    async def _verify_or_die(self, task: Task) -> None:
        try:
            async with self._one_at_a_time:
                await self._verify(task)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._failed(task, error)

    async def _verify(self, task: Task) -> None:
        if not task.running or not task.partition.unverified:
            return  # what makes it run again begins this again
        started, busy = time.monotonic(), 0.0
        work = task.verification = first_difference(task.partition)
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
            if task.verification is not work:
                return  # the store was wanted for something else
        task.verification = None
        if differing is not None:
            raise WrongLedgerError(f"the restored ledger of {differing} is not what its rows give")
        task.partition.unverified = False
        logger.info(
            "partition %d: restored ledgers agree with a fold of the rows, "
            "by %.1f s of work in %.0f s",
            task.number,
            busy,
            time.monotonic() - started,
        )
