"""The register's past as OpenMetrics text: what ``/metrics`` would have shown when each day ended.

Prometheus knows only what it scraped; the register knows every day. Figures come from the collector
that answers scrapes, over what ``agency-months`` says now (late events included).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO

from streams.domain.calendar import start_of_day
from streams.domain.definitions import DEFINITIONS
from streams.domain.targets import Targets
from streams.metrics import catalogue as metrics
from streams.metrics.collector import AgencyState, agency_parts
from streams.metrics.exposition import head, number, series

_EXPORTED = tuple(
    # When an agency was last heard of is known as of now only, not as of a past day.
    metric
    for metric in metrics.STATE
    if metric not in (metrics.LAST_EVENT, metrics.AS_OF)
)


def end_of_day(day: int) -> int:
    """The last second of ``day`` in Asia/Ho_Chi_Minh, in seconds since 1970.

    There the day's figure is complete, and a panel shows it on that day and not on the next.
    """
    return int(start_of_day(day).timestamp()) + 86_400 - 1


def write_openmetrics(
    out: IO[str],
    states: Iterable[AgencyState],
    targets: Targets,
    definition: str,
    first: int,
    last: int,
    progress: Callable[[], None] = lambda: None,
) -> int:
    """Write a sample a day of every state metric for the days ``first`` to ``last``, both included.

    Families stand together, and in them the samples of a series, by time: ready for ``promtool
    tsdb create-blocks-from openmetrics``. Targets are those of each day's year. ``progress`` is
    called after each agency. Gives the number of samples. Raises ``KeyError`` for a definition that
    is not in ``DEFINITIONS``.
    """
    days = range(first, last + 1)
    rule = DEFINITIONS[definition]
    count = len(days)
    out.write(head(metrics.AS_OF))
    for day in days:
        began = number(start_of_day(day).timestamp())
        out.write(f"{metrics.AS_OF.name} {began} {end_of_day(day)}\n")
    with ExitStack() as stack:
        # A file a family: a nation's years do not fit into memory.
        spools = {
            metric: stack.enter_context(TemporaryFile("w+", encoding="utf-8", newline="\n"))
            for metric in _EXPORTED
        }
        for state in states:
            lines: dict[tuple[metrics.Metric, str], list[str]] = {}
            for day in days:
                stamp = end_of_day(day)
                for part in agency_parts(state, targets, rule, day):
                    for metric, labels, value in part.samples():
                        name = series(metric, labels)
                        line = f"{name} {number(value)} {stamp}\n"
                        lines.setdefault((metric, name), []).append(line)
            for (metric, _), its in lines.items():
                if metric in spools:
                    spools[metric].writelines(its)
                    count += len(its)
            progress()
        for metric, spool in spools.items():
            out.write(head(metric))
            spool.seek(0)
            while chunk := spool.read(1 << 20):
                out.write(chunk)
    out.write("# EOF\n")
    return count
