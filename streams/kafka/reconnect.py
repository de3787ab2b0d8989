"""Starting clients while the brokers come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaConnectionError

RECONNECT_SECONDS = 1.0


async def start_when_reachable(start: Callable[[], Awaitable[object]]) -> None:
    """Start a client, and again while no broker can be reached. ``start`` can be called again."""
    while True:
        try:
            await start()
        except KafkaConnectionError:
            await asyncio.sleep(RECONNECT_SECONDS)
        else:
            return
