"""``hoso worker`` with a wall clock that can be moved while it runs.

``HOSO_CHAOS_CLOCK`` names a file with seconds to add. As when a machine's clock is set, the
monotonic clock does not move. Three things in the process see it: whoever asks ``time.time``
(clients, Faust), the clock that the app is given, and the stamps of the records it writes.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

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
    from aiokafka.producer.message_accumulator import BatchBuilder

    import streams.runtime.app
    import streams.runtime.process
    from streams.cli import main as hoso

    right = streams.runtime.app.system_clock

    def clock() -> datetime:
        return right() + timedelta(seconds=offset())

    streams.runtime.process.Worker = partial(streams.runtime.app.Worker, clock=clock)  # type: ignore[attr-defined, assignment]
    append = BatchBuilder.append

    def stamped(self: Any, *, timestamp: int | None, **record: Any) -> Any:
        # aiokafka's C code would ask the system for the time by itself.
        now = int(moved_time() * 1000)
        return append(self, timestamp=now if timestamp is None else timestamp, **record)

    BatchBuilder.append = stamped

    sys.argv = ["hoso", "worker"]
    hoso()


if __name__ == "__main__":
    main()
