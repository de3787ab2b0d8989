"""Logging of every command: text for people, JSON lines for machines, always to stderr.

A message may hold what somebody sent us. It never breaks a line in two, so that nobody can write
a line of ours, and no character of it does anything to a terminal.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from streams.cli.terminal import json_text
from streams.settings import Settings
from streams.views.spreadsheet import plain


class TextFormatter(logging.Formatter):
    """A line a message; those of a traceback follow, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        return plain(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return _indented(super().formatStack(stack_info))


def _indented(traceback: str) -> str:
    return "\n".join(f"    {plain(line)}" for line in traceback.split("\n"))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and error where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json_text(line)


class Repeats(logging.Filter):
    """Lets through what is new, and says of repeats only how many there were.

    Clients of a broker that is away say so some 150 times a second. Of a library's message, which
    is its logger and its template, up to ``VARIANTS`` texts are shown, each once in
    ``LIBRARY_SECONDS``; numbers that change make no new text. Of ours a text is shown once in
    ``OWN_SECONDS``, and every different text always. The next line of the kind says how many were
    left out. Only warnings and errors are ever left out.
    """

    VARIANTS = 3
    LIBRARY_SECONDS = 600.0
    OWN_SECONDS = 60.0

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        self._lock = threading.Lock()  # Faust logs from its consumer's thread too

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written; one that is may have the number of repeats added."""
        if not logging.WARNING <= record.levelno < logging.CRITICAL:
            return True
        text = record.getMessage()
        if record.name.split(".")[0] in _OURS:
            template, variant, seconds = text, "", self.OWN_SECONDS
        else:
            template, variant = _NUMBERS.sub("#", str(record.msg)), _NUMBERS.sub("#", text)
            seconds = self.LIBRARY_SECONDS
        with self._lock:
            now, left_out = self._now(), 0
            name = (record.name, record.levelno, template)
            kind = self._kinds.get(name)
            if kind is None or now - kind.since >= seconds:
                left_out = 0 if kind is None else kind.left_out
                self._forget(now)
                kind = self._kinds[name] = _Kind(now)
            if variant in kind.shown or len(kind.shown) >= self.VARIANTS:
                kind.left_out += 1
                return False
            kind.shown.add(variant)
        if left_out:
            record.msg, record.args = f"{text} ({left_out:,} more of this before)", ()
        return True

    def _forget(self, now: float) -> None:
        self._kinds = {
            name: kind
            for name, kind in self._kinds.items()
            if kind.left_out or now - kind.since < self.LIBRARY_SECONDS
        }


class _Kind:
    def __init__(self, since: float) -> None:
        self.since = since
        self.shown: set[str] = set()
        self.left_out = 0


_OURS = ("streams", "schemas")
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\d+\.\d+|\d{3,}")


def configure(settings: Settings) -> None:
    """Set up the root logger; libraries speak up from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Repeats())
    handler.setFormatter(
        JsonFormatter()
        if settings.log_format == "json"
        else TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("streams").setLevel(settings.log_level.upper())
    if settings.log_level == "debug":
        logging.getLogger("faust").setLevel(logging.INFO)
        logging.getLogger("aiokafka").setLevel(logging.INFO)
