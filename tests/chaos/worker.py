"""``hoso worker`` with a wall clock that can be moved while it runs.

``HOSO_CHAOS_CLOCK`` names a file with seconds to add. As when a machine's clock is set, the
monotonic clock does not move. Everything in the process that asks Python for the time sees it:
``time.time`` (clients, Faust) and the clock that the app is given.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

_FILE = Path(os.environ["HOSO_CHAOS_CLOCK"])
_REREAD_SECONDS = 0.2
_real_time = time.time
_read_at = float("-inf")
_offset = 0.0


def offset() -> float:
    """Seconds by which the clock is wrong now."""
    global _read_at, _offset
    now = time.monotonic()
    if now - _read_at > _REREAD_SECONDS:
        _read_at = now
        with contextlib.suppress(FileNotFoundError):
            _offset = float(_FILE.read_text())
    return _offset


def moved_time() -> float:
    return _real_time() + offset()


def main() -> None:
    time.time = moved_time  # before anything else takes hold of it
    import streams.app
    import streams.worker
    from streams.cli import main as hoso

    right = streams.app.system_clock

    def clock() -> datetime:
        return right() + timedelta(seconds=offset())

    create_app = streams.app.create_app
    streams.worker.create_app = (  # type: ignore[attr-defined]
        lambda settings, registry: create_app(settings, registry, clock)
    )
    sys.argv = ["hoso", "worker"]
    hoso()


if __name__ == "__main__":
    main()
