"""What the peers share: the command line, the clock, and the report in a file."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.counts import Counted


class Report(NamedTuple):
    """What a peer did."""

    seconds: float
    """From the first record taken in to the last one done, start-up left out."""
    events: int
    """Records done within ``seconds``."""
    counted: Counted
    rss_before: int
    """Resident bytes when the first record was there."""
    rss_after: int


class Clock:
    """Runs from the first record on. ``start`` may be called for every batch."""

    def __init__(self) -> None:
        self.started: float | None = None
        self.rss = 0

    def start(self, since: float = 0.0) -> None:
        """Note the time, ``since`` seconds ago, and the resident set; the first time only."""
        if self.started is None:
            self.rss = psutil.Process().memory_info().rss
            self.started = time.perf_counter() - since

    def report(self, events: int, counted: Counted) -> Report:
        """The report of a run that ends now. Raises ValueError if it never began."""
        ended = time.perf_counter()
        if self.started is None:
            raise ValueError("no record was taken in")
        rss = psutil.Process().memory_info().rss
        return Report(ended - self.started, events, counted, self.rss, rss)


def emit(report: Report) -> None:
    """Write the report to the file named on the command line.

    Not to stdout: some engines print there, and Faust turns it into log lines.
    """
    Path(sys.argv[3]).write_text(json.dumps(report._asdict()))


def emit_and_exit(report: Report) -> None:
    """Write the report and end the process at once: some engines cannot be stopped in order."""
    emit(report)
    os._exit(0)


def main(run: Callable[[str, int], Report | None]) -> None:
    """``BOOTSTRAP EVENTS FILE``: run until so many records are done, and report to the file."""
    bootstrap, events, _ = sys.argv[1:]
    report = run(bootstrap, int(events))
    if report is not None:
        emit(report)
