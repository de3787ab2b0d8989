"""What a query costs Prometheus at the project's density of samples, whatever the test has stored.

Nobody can wait for 90 days of scrapes, and clocks of a busy machine say little. But what Prometheus
does for a range of weeks is to decode the stored samples of every series that a selector finds,
between the first step and the last, however far apart steps are. So these are counted: series that
Prometheus has, times the seconds that the range and the selector's window cover, by a sample every
15 seconds (30, where a rule records it). A sample takes as long as it took when it was measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

SCRAPE, EVALUATION = 15.0, 30.0
"""Seconds of prometheus/prometheus.yml."""
LOOKBACK = 300.0
"""Seconds for which an instant selector sees a sample."""

PER_SAMPLE = 15e-9
PER_SAMPLE_OF_A_WINDOW = 45e-9
"""Seconds of processor time (process_cpu_seconds_total) of Prometheus 2.42, and a margin. Measured
over 20 series of 90 days, a sample every 15 seconds, at steps of two hours: 12.3 ns for sum(x),
11.9 ns for windows of a minute, 40 to 42 ns for rate(x[2h]), last_over_time(x[2h]) and
last_over_time(x[1d])."""

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_NAME = r"(?<![\w:\"])(?:hoso_\w+|\w+:hoso_[\w:]+|hoso:[\w:]+|up|ALERTS)(?![\w:(])"
_SELECTOR = re.compile(rf"({_NAME}(?:\{{[^}}]*\}})?)(?:\[(\w+)\])?")
_SUBQUERY = re.compile(r"\[(\w+):\w*\]")


class Read(NamedTuple):
    """What one selector of a query makes Prometheus decode."""

    selector: str
    samples: float
    window: bool

    @property
    def seconds(self) -> float:
        return self.samples * (PER_SAMPLE_OF_A_WINDOW if self.window else PER_SAMPLE)


def duration(text: str) -> float:
    """Seconds of a duration as in PromQL: ``1h30m``."""
    found = re.findall(r"([\d.]+)(ms|[smhdwy])", text)
    return sum(float(number) * _UNITS[unit] for number, unit in found)


def reads(query: str, span: float, series: Callable[[str], int]) -> Iterator[Read]:
    """Of every selector of a query over ``span`` seconds, 0 for an instant query; ``series``: how
    many a selector finds."""
    subqueries = [(found.start(), duration(found[1])) for found in _SUBQUERY.finditer(query)]
    for found in _SELECTOR.finditer(query):
        selector, window = found[1], found[2]
        covered = span + (duration(window) if window else LOOKBACK)
        covered += sum(
            over for end, over in subqueries if _beginning(query, end) <= found.start() < end
        )
        recorded = ":" in selector.partition("{")[0]
        samples = covered / (EVALUATION if recorded else SCRAPE) * series(selector)
        yield Read(selector, samples, bool(window))


def _beginning(query: str, end: int) -> int:
    """Where the parentheses open that close before ``end``."""
    depth = 0
    for place in range(end - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(query[place], 0)
        if depth == 0:
            return place
    return 0
