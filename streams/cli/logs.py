"""Logging of every command: text for people, JSON lines for machines, always to stderr.

A message may hold what somebody sent us. It never breaks a line in two, so that nobody can write
a line of ours, and no character of it does anything to a terminal.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from streams.cli.terminal import json_text, plain
from streams.settings import Settings


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


def configure(settings: Settings) -> None:
    """Set up the root logger; libraries speak up from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
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
