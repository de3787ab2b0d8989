"""An end that comes, whatever the rest of the process waits for.

What is stopped in order waits: for acknowledgements, for the group's coordinator, for a lock. With
the brokers away none of it comes. To end without is what a crash is, and survived like one: nothing
was acknowledged that is not written. Imports nothing of hoso.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

STOP_SECONDS = 12.0
"""How long a worker's stop may take in order; with the brokers away it would take for ever."""

_running: list[threading.Timer] = []


def end_within(
    seconds: float, code: int, why: str, say: Callable[[str], None] = logger.critical
) -> None:
    """End this process with ``code`` after so many seconds, saying ``why``, unless :func:`ended`.

    Of several calls the first one's time counts. May be called from any thread.
    """
    if _running:
        return
    timer = threading.Timer(
        seconds, _end, (code, f"not ended within {seconds:g} s, ending now: {why}", say)
    )
    timer.daemon = True
    _running.append(timer)
    timer.start()


def ended() -> None:
    """The orderly end has come in time."""
    while _running:
        _running.pop().cancel()


def _end(code: int, why: str, say: Callable[[str], None]) -> None:
    say(why)
    logging.shutdown()
    os._exit(code)
