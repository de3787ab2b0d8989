"""Prometheus state metrics, read from the owned and recovered ledgers at scrape time.

Runs on the event loop that owns the tables, so a scrape sees whole chunks only. Series of
partitions that are not owned, not recovered or suspended by a rebalance are simply absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from streams.domain.calendar import PERIOD_KINDS, period_of, previous_year, start_of_day
from streams.domain.definitions import Definition
from streams.domain.dossier import CHANNELS
from streams.domain.indicators import Agency, Counts, counts, sums_by_kind
from streams.domain.ledger import Months
from streams.domain.targets import INDICATORS, Indicator, Targets
from streams.kafka.partitioner import partition_for
from streams.metrics import catalogue as metrics
from streams.processing.tasks import Tables
from streams.state.partition import NOT_SEEN
from streams.views.reference_data import Reference

_NO_MONTHS = Months()

Sample = tuple[metrics.Metric, tuple[str, ...], float]
"""A state metric, the values of its labels, and its value."""
Samples = dict[metrics.Metric, list[tuple[tuple[str, ...], float]]]
"""Per state metric, in the catalogue's order: label values and value of each series."""


class StateCollector(Collector):
    """Every state metric of section 5 of the contract for the agencies this worker owns."""

    def __init__(
        self,
        tables: Tables,
        reference: Reference,
        partitions: int,
        definition: Definition,
        as_of: Callable[[], int],
    ) -> None:
        self._tables = tables
        self._reference = reference
        self._partitions = partitions
        self._definition = definition
        self._as_of = as_of
        self._text: dict[_Part, list[tuple[metrics.Metric, str]]] = {}
        """The text of what was shown last."""

    def describe(self) -> Iterable[Metric]:
        """Names only, so that registering asks for no figures."""
        return [GaugeMetricFamily(m.name, m.help, labels=m.labels) for m in metrics.STATE]

    def collect(self) -> Iterator[Metric]:
        """The samples as prometheus_client's families."""
        for metric, samples in self.samples().items():
            family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in samples:
                family.add_metric(labels, value)
            yield family

    def samples(self) -> Samples:
        """What there is to show now."""
        found: Samples = {metric: [] for metric in metrics.STATE}
        for part in self._parts():
            for metric, labels, value in part.samples():
                found[metric].append((labels, value))
        return found

    def text(self) -> str:
        """The samples as exposition text, the same in Prometheus' and the OpenMetrics format.

        Far faster than prometheus_client's encoder, which would hold up the event loop for a tenth
        of a second when there are 91 agencies; a test holds one against the other. Text whose
        numbers have not changed since the last scrape is not made again.
        """
        series: dict[metrics.Metric, list[str]] = {metric: [] for metric in metrics.STATE}
        known, self._text = self._text, {}
        for part in self._parts():
            text = known.get(part)
            if text is None:
                text = _text(part.samples())
            self._text[part] = text
            for metric, lines in text:
                series[metric].append(lines)
        return "".join(
            f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} gauge\n{''.join(lines)}"
            for metric, lines in series.items()
        )

    def _parts(self) -> Iterator[_Part]:
        """What there is to show now, in the order in which it is shown."""
        day = self._as_of()
        yield _AsOf(day)
        days = [("", day)]
        before = previous_year(day)
        if before is not None:
            days.append(("_last_year", before))
        targets = self._reference.targets
        for agency in sorted(self._reference.agencies.values()):
            number = partition_for(agency.code.encode(), self._partitions)
            owned = self._tables.owned.get(number)
            if owned is None or not self._tables.publishes(owned):
                continue
            ledger = owned.partition.ledgers.get(agency.code)
            months = ledger.months if ledger is not None else _NO_MONTHS
            for suffix, as_of in days:
                by_kind = sums_by_kind(months, as_of)
                for kind in PERIOD_KINDS:
                    counted = counts(by_kind[kind], self._definition, kind)
                    yield _Figures(agency.code, agency.kind, f"{kind}{suffix}", counted)
                if not suffix:
                    yield _Listed(agency.code, agency.kind, counted.level)
            seen = owned.partition.seen.get(agency.code, NOT_SEEN)
            yield _Known(agency.code, agency.kind, self._targets(agency, targets, day), seen.at)

    def _targets(
        self, agency: Agency, targets: Targets, day: int
    ) -> tuple[tuple[Indicator, float], ...]:
        year = period_of("year", day)
        found = (
            (indicator, targets.of(agency.code, agency.kind, indicator, year))
            for indicator in INDICATORS
        )
        return tuple(
            (indicator, float(target)) for indicator, target in found if target is not None
        )


class _AsOf(NamedTuple):
    """The as-of day (an ordinal)."""

    day: int

    def samples(self) -> Iterator[Sample]:
        yield metrics.AS_OF, (), start_of_day(self.day).timestamp()


class _Figures(NamedTuple):
    """An agency's figures of one period."""

    agency: str
    kind: str
    period: str
    counted: Counts

    def samples(self) -> Iterator[Sample]:
        code, kind, period, counted = self
        labels = code, kind, period
        yield metrics.SERVICES_WITH_DOSSIERS, labels, counted.services_with_dossiers
        for metric, (numerator, denominator) in (
            (
                metrics.SERVICES_WITH_DOSSIERS_RATIO,
                counted.fraction("services_with_dossiers"),
            ),
            (metrics.ONLINE_PROCESSED_RATIO, counted.fraction("online_processed")),
        ):
            if denominator:
                # Division of whole numbers gives the float nearest to the fraction.
                yield metric, labels, numerator / denominator
        for channel, submitted, processed in zip(
            CHANNELS, counted.submitted, counted.processed, strict=True
        ):
            by_channel = code, kind, channel, period
            yield metrics.DOSSIERS_SUBMITTED, by_channel, submitted
            yield metrics.DOSSIERS_PROCESSED, by_channel, processed
        yield metrics.DOSSIERS_ON_TIME, labels, counted.on_time
        yield metrics.DOSSIERS_DUE, labels, counted.due


class _Listed(NamedTuple):
    """How many services an agency has listed at levels 1, 2, 3, 4."""

    agency: str
    kind: str
    level: tuple[int, int, int, int]

    def samples(self) -> Iterator[Sample]:
        for level, listed in enumerate(self.level, start=1):
            yield metrics.SERVICES_LISTED, (self.agency, self.kind, str(level)), listed


class _Known(NamedTuple):
    """An agency's targets, and when it was last heard of."""

    agency: str
    kind: str
    targets: tuple[tuple[Indicator, float], ...]
    seen_at: int | None
    """ms since the epoch."""

    def samples(self) -> Iterator[Sample]:
        for indicator, target in self.targets:
            yield metrics.TARGET_RATIO, (self.agency, self.kind, indicator), target
        if self.seen_at is not None:
            yield metrics.LAST_EVENT, (self.agency, self.kind), self.seen_at / 1000


_Part = _AsOf | _Figures | _Listed | _Known
"""Samples that are shown, or not, together: they depend on nothing but the part's own values."""


def _text(samples: Iterable[Sample]) -> list[tuple[metrics.Metric, str]]:
    """The lines of each metric among ``samples``."""
    lines: dict[metrics.Metric, str] = {}
    for metric, labels, value in samples:
        line = f"{_series(metric, labels)} {_number(value)}\n"
        lines[metric] = lines[metric] + line if metric in lines else line
    return list(lines.items())


@lru_cache(maxsize=32_768)
def _series(metric: metrics.Metric, labels: tuple[str, ...]) -> str:
    if not labels:
        return metric.name
    pairs = zip(metric.labels, map(_escaped, labels), strict=True)
    return metric.name + "{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@lru_cache(maxsize=4096)
def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]
