"""A question to the brokers that all share who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedQuestion(Generic[T]):
    """Nobody gets the answer to a question that went out before theirs: it could lack what they
    have just written. So who comes while one is out waits for the next, together with others."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asking = asyncio.Lock()
        self._joinable: asyncio.Task[T] | None = None  # the round that has not asked yet
        self._rounds: set[asyncio.Task[T]] = set()

    async def answer(self) -> T:
        """What the brokers say, as of some moment after the call. Raises what ``ask`` raises."""
        if self._joinable is None:
            self._joinable = asyncio.create_task(self._round())
            self._rounds.add(self._joinable)
            self._joinable.add_done_callback(self._forget)
        return await asyncio.shield(self._joinable)

    async def stop(self) -> None:
        """Ask no more; whoever waits is cancelled."""
        for waiting in self._rounds:
            waiting.cancel()
        if self._rounds:
            await asyncio.wait(self._rounds)

    async def _round(self) -> T:
        async with self._asking:
            self._joinable = None
            return await self._ask()

    def _forget(self, finished: asyncio.Task[T]) -> None:
        self._rounds.discard(finished)
        if self._joinable is finished:  # cancelled before it began
            self._joinable = None
        if not finished.cancelled():
            finished.exception()  # seen, also when every caller's time was up
