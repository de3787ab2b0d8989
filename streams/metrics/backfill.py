"""The register's past as OpenMetrics text: what ``/metrics`` would have shown when each day ended.

Prometheus knows only what it scraped; the register knows every day. Figures come from the collector
that answers scrapes, over what ``agency-months`` says now (late events included).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, cast

from prometheus_client.utils import floatToGoString

from streams.domain.calendar import start_of_day
from streams.domain.definitions import DEFINITIONS
from streams.domain.indicators import Agency
from streams.domain.ledger import Months
from streams.domain.targets import Targets
from streams.metrics import catalogue as metrics
from streams.metrics.collector import StateCollector
from streams.processing.tasks import Tables
from streams.state.partition import Seen
from streams.views.published_months import Register
from streams.views.reference_data import Reference

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
    register: Register,
    reference: Reference,
    definition: str,
    first: int,
    last: int,
    progress: Callable[[], None] = lambda: None,
) -> int:
    """Write a sample a day of every state metric for the days ``first`` to ``last``, both included.

    Families stand together, and in them the samples of a series, by time: ready for ``promtool
    tsdb create-blocks-from openmetrics``. Agencies are those registered now, targets those of each
    day's year. ``progress`` is called after each agency. Gives the number of samples. Raises
    ``KeyError`` for a definition that is not in ``DEFINITIONS``.
    """
    days = range(first, last + 1)
    stamps = [end_of_day(day) for day in days]
    known = DEFINITIONS[definition]
    months, targets = register.months(), reference.targets
    count = len(days)
    _head(out, metrics.AS_OF)
    for day, stamp in zip(days, stamps, strict=True):
        out.write(f"{metrics.AS_OF.name} {_number(start_of_day(day).timestamp())} {stamp}\n")
    with ExitStack() as stack:
        # A file a family: a nation's years do not fit into memory.
        spools = {
            metric: stack.enter_context(TemporaryFile("w+", encoding="utf-8", newline="\n"))
            for metric in _EXPORTED
        }
        for agency in sorted(reference.agencies.values()):
            own = months.get(agency.code)
            past = _past(agency, Months() if own is None else own, targets, known.name)
            series: dict[tuple[metrics.Metric, tuple[str, ...]], tuple[array[int], array[float]]]
            series = {}
            for day, stamp in zip(days, stamps, strict=True):
                for metric, samples in past(day).items():
                    for labels, value in samples:
                        at, values = series.setdefault((metric, labels), (array("q"), array("d")))
                        at.append(stamp)
                        values.append(value)
            for (metric, labels), (at, values) in series.items():
                if metric not in spools:
                    continue
                spool = spools[metric]
                named = ",".join(
                    f'{name}="{_escaped(label)}"'
                    for name, label in zip(metric.labels, labels, strict=True)
                )
                spool.writelines(
                    f"{metric.name}{{{named}}} {_number(value)} {stamp}\n"
                    for stamp, value in zip(at, values, strict=True)
                )
                count += len(at)
            progress()
        for metric in _EXPORTED:
            _head(out, metric)
            spool = spools[metric]
            spool.seek(0)
            while chunk := spool.read(1 << 20):
                out.write(chunk)
    out.write("# EOF\n")
    return count


Samples = Mapping[metrics.Metric, list[tuple[tuple[str, ...], float]]]


@dataclass
class _Partition:
    ledgers: Mapping[str, _Ledger]
    seen: Mapping[str, Seen]


@dataclass
class _Ledger:
    months: Months


@dataclass
class _Owned:
    partition: _Partition
    ready: bool = True


@dataclass
class _Tables:
    """As much of a worker's tables as the collector reads: one partition that holds one agency."""

    owned: Mapping[int, _Owned]

    def publishes(self, _: _Owned) -> bool:
        return True


@dataclass
class _Reference:
    agencies: Mapping[str, Agency]
    targets: Targets


def _past(
    agency: Agency, months: Months, targets: Targets, definition: str
) -> Callable[[int], Samples]:
    """The samples of one agency as of a day, from the collector that answers scrapes."""
    day = 0

    def as_of() -> int:
        return day

    partition = _Partition({agency.code: _Ledger(months)}, {})
    collector = StateCollector(
        cast(Tables, _Tables({0: _Owned(partition)})),
        cast(Reference, _Reference({agency.code: agency}, targets)),
        1,
        DEFINITIONS[definition],
        as_of,
    )

    def samples(of: int) -> Samples:
        nonlocal day
        day = of
        return collector.samples()

    return samples


def _head(out: IO[str], metric: metrics.Metric) -> None:
    out.write(f"# TYPE {metric.name} gauge\n# HELP {metric.name} {_escaped(metric.help)}\n")


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]
