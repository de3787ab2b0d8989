"""Whether the brokers answer, and let this worker do its work: said, where clients try in silence.

One line when they are away, with the reason, one a minute while they are, one when they answer
again, for outages of any length. Rights that were taken away end the process: aiokafka would wait
for them without a word. Asks over a connection of its own; nothing is kept over a restart.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime

from aiokafka.errors import KafkaError

from streams.kafka.diagnosis import diagnose
from streams.kafka.permissions import Needs, Permissions
from streams.settings import Settings

logger = logging.getLogger(__name__)

ROUND_SECONDS = 5.0
AGAIN_SECONDS = 60.0


class BrokerWatch:
    """``fatal`` is called with the rights that are missing, when they are twice in a row: a broker
    that has just started may refuse what it allows a moment later.
    """

    def __init__(
        self, settings: Settings, needs: Needs, group: str | None, fatal: Callable[[str], None]
    ) -> None:
        """``group``: the one that is joined, if any."""
        self._settings = settings
        self._needs = needs
        self._group = group
        self._fatal = fatal
        self._away_since: float | None = None
        self._said_at = 0.0
        self._refused: list[str] = []

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                async with Permissions(
                    self._settings.client_options(), timeout=ROUND_SECONDS
                ) as permissions:
                    while True:
                        missing = await permissions.missing(self._needs, self._group)
                        self._answered(missing)
                        await asyncio.sleep(ROUND_SECONDS)
            except (KafkaError, OSError, TimeoutError):
                await self._away()
            await asyncio.sleep(ROUND_SECONDS)

    def _answered(self, missing: list[str]) -> None:
        since, self._away_since = self._away_since, None
        if since is not None:
            logger.warning("a broker answers again, after %.0f s", time.monotonic() - since)
        if missing and missing == self._refused:
            self._fatal("; ".join(missing))
        self._refused = missing

    async def _away(self) -> None:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        elif now - self._said_at < AGAIN_SECONDS:
            return
        self._said_at = now
        reason = await diagnose(self._settings, seconds=ROUND_SECONDS)
        seconds = time.monotonic() - self._away_since
        logger.error(
            "no broker answers at %s since %s (%.0f s): %s",
            self._settings.brokers,
            datetime.fromtimestamp(time.time() - seconds).astimezone().strftime("%H:%M:%S"),
            seconds,
            reason,
        )
