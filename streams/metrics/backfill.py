"""The register's past as OpenMetrics text: what ``/metrics`` would have shown when each day ended.

Prometheus knows only what it scraped; the register knows every day. Figures come from the collector
that answers scrapes, over what ``agency-months`` says now (late events included).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import chain
from tempfile import TemporaryFile
from typing import IO

from streams.domain.calendar import start_of_day
from streams.domain.definitions import DEFINITIONS
from streams.domain.targets import Targets
from streams.metrics import catalogue as metrics
from streams.metrics.collector import AgencyState, AsOf, agency_parts
from streams.metrics.exposition import head, number, series
from streams.metrics.recorded import RECORDED, RecordedPast

_EXPORTED = tuple(
    # When an agency was last heard of is known as of now only, not as of a past day.
    metric
    for metric in (*metrics.STATE, *RECORDED)
    if metric not in (metrics.LAST_EVENT, metrics.AS_OF, metrics.DEFINITION)
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
    """Write a sample a day of every state metric for the days ``first`` to ``last``, both included,
    and of what the rules would have recorded.

    Families stand together, and in them the samples of a series, by time: ready for ``promtool
    tsdb create-blocks-from openmetrics``. Targets are those of each day's year. ``progress`` is
    called after each agency. Gives the number of samples. Raises ``KeyError`` for a definition that
    is not in ``DEFINITIONS``.
    """
    days = range(first, last + 1)
    rule = DEFINITIONS[definition]
    count = 0
    by_day = [list(AsOf(day, rule.name).samples()) for day in days]
    for of_all in zip(*by_day, strict=True):
        out.write(head(of_all[0][0]))
        for day, (metric, labels, value) in zip(days, of_all, strict=True):
            out.write(f"{series(metric, labels)} {number(value)} {end_of_day(day)}\n")
            count += 1
    recorded = RecordedPast(days)
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
                parts = list(agency_parts(state, targets, rule, day))
                shown = (sample for part in parts for sample in part.samples())
                for metric, labels, value in chain(shown, recorded.agency(day, stamp, parts)):
                    name = series(metric, labels)
                    line = f"{name} {number(value)} {stamp}\n"
                    lines.setdefault((metric, name), []).append(line)
            for (metric, _), its in lines.items():
                if metric in spools:
                    spools[metric].writelines(its)
                    count += len(its)
            progress()
        of_groups: dict[tuple[metrics.Metric, str], list[str]] = {}
        for stamp, (metric, labels, value) in recorded.groups(map(end_of_day, days)):
            name = series(metric, labels)
            line = f"{name} {number(value)} {stamp}\n"
            of_groups.setdefault((metric, name), []).append(line)
        for (metric, _), its in of_groups.items():
            spools[metric].writelines(its)
            count += len(its)
        for metric, spool in spools.items():
            out.write(head(metric))
            spool.seek(0)
            while chunk := spool.read(1 << 20):
                out.write(chunk)
    out.write("# EOF\n")
    return count
