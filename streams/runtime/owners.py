"""Who owns a partition, for a process that is in no consumer group.

A worker writes where it is asked beside the rows of each partition that it has restored
(``~served-at`` in ``agency-months``), where the next one writes over it. It may be gone since, so
each is asked what it owns now. Nothing is kept over a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import aiohttp
import orjson

logger = logging.getLogger(__name__)

ROUND_SECONDS = 2.0
_ANSWER = aiohttp.ClientTimeout(total=5)


class Owners:
    """``served_at``: partition → the address that was last announced for it, kept current."""

    def __init__(self, served_at: Mapping[int, str]) -> None:
        self._served_at = served_at
        self._owners: dict[int, str] = {}

    def url(self, partition: int) -> str | None:
        """The address of the worker that shows ``partition``, or None while nobody does."""
        return self._owners.get(partition)

    async def run(self) -> None:
        """Ask until cancelled."""
        async with aiohttp.ClientSession(timeout=_ANSWER) as session:
            while True:
                await self.ask(session)
                await asyncio.sleep(ROUND_SECONDS)

    async def ask(self, session: aiohttp.ClientSession) -> None:
        """Ask every worker that was announced what it owns."""
        announced = dict(self._served_at)
        addresses = sorted(set(announced.values()))
        shown = await asyncio.gather(*(self._shown(session, address) for address in addresses))
        found = {
            number: address
            for address, numbers in zip(addresses, shown, strict=True)
            for number in numbers
        }
        # Two may take a partition for theirs for a moment: the one that wrote last has it.
        for number, address in announced.items():
            if number in shown[addresses.index(address)]:
                found[number] = address
        self._owners = found

    async def _shown(self, session: aiohttp.ClientSession, address: str) -> set[int]:
        """The partitions whose figures a worker shows; none where it does not answer."""
        try:
            async with session.get(f"{address}/readyz") as answer:
                state = orjson.loads(await answer.read())
            return set(state["partitions"]) - set(state["recovering"])
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            logger.debug("the worker at %s does not say what it owns: %r", address, error)
            return set()
