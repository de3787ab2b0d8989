"""Prometheus state metrics, read from the owned and recovered ledgers at scrape time.

Runs on the event loop that owns the tables, so a scrape sees whole chunks only. Series of
partitions that are not owned, not recovered or suspended by a rebalance are simply absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from streams import metrics
from streams.domain.calendar import PERIOD_KINDS, period_of, previous_year, start_of_day
from streams.domain.definitions import Definition
from streams.domain.dossier import CHANNELS
from streams.domain.indicators import Agency, counts, sums_by_kind
from streams.domain.ledger import Months
from streams.domain.targets import INDICATORS, Targets
from streams.kafka.partitioner import partition_for
from streams.partition import NOT_SEEN
from streams.reference import Reference
from streams.tables import Tables

_NO_MONTHS = Months()

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

    def text(self) -> str:
        """The samples as exposition text, the same in Prometheus' and the OpenMetrics format.

        Ten times as fast as prometheus_client's encoder, which would hold up the event loop for a
        tenth of a second when there are 91 agencies; a test holds one against the other.
        """
        lines: list[str] = []
        for metric, samples in self.samples().items():
            lines.append(f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} gauge\n")
            lines += [f"{_series(metric, labels)} {_number(value)}\n" for labels, value in samples]
        return "".join(lines)

    def samples(self) -> Samples:
        """What there is to show now."""
        found: Samples = {metric: [] for metric in metrics.STATE}
        day = self._as_of()
        found[metrics.AS_OF].append(((), start_of_day(day).timestamp()))
        targets = self._reference.targets
        for agency in sorted(self._reference.agencies.values()):
            number = partition_for(agency.code.encode(), self._partitions)
            owned = self._tables.owned.get(number)
            if owned is None or not self._tables.publishes(owned):
                continue
            ledger = owned.partition.ledgers.get(agency.code)
            self._figures(found, agency, ledger.months if ledger is not None else _NO_MONTHS, day)
            self._targets(found, agency, targets, day)
            seen = owned.partition.seen.get(agency.code, NOT_SEEN)
            if seen.at is not None:
                found[metrics.LAST_EVENT].append(((agency.code, agency.kind), seen.at / 1000))
        return found

    def _figures(self, found: Samples, agency: Agency, months: Months, day: int) -> None:
        own = agency.code, agency.kind
        days = [("", day)]
        before = previous_year(day)
        if before is not None:
            days.append(("_last_year", before))
        for suffix, as_of in days:
            by_kind = sums_by_kind(months, as_of)
            for kind in PERIOD_KINDS:
                labels = (*own, f"{kind}{suffix}")
                counted = counts(by_kind[kind], self._definition, kind)
                found[metrics.SERVICES_WITH_DOSSIERS].append(
                    (labels, counted.services_with_dossiers)
                )
                for metric, numerator, denominator in (
                    (
                        metrics.SERVICES_WITH_DOSSIERS_RATIO,
                        *counted.fraction("services_with_dossiers"),
                    ),
                    (metrics.ONLINE_PROCESSED_RATIO, *counted.fraction("online_processed")),
                ):
                    if denominator:
                        # Division of whole numbers gives the float nearest to the fraction.
                        found[metric].append((labels, numerator / denominator))
                for channel, submitted, processed in zip(
                    CHANNELS, counted.submitted, counted.processed, strict=True
                ):
                    by_channel = (*own, channel, labels[-1])
                    found[metrics.DOSSIERS_SUBMITTED].append((by_channel, submitted))
                    found[metrics.DOSSIERS_PROCESSED].append((by_channel, processed))
                found[metrics.DOSSIERS_ON_TIME].append((labels, counted.on_time))
                found[metrics.DOSSIERS_DUE].append((labels, counted.due))
            if not suffix:
                for level, listed in enumerate(counted.level, start=1):
                    found[metrics.SERVICES_LISTED].append(((*own, str(level)), listed))

    def _targets(self, found: Samples, agency: Agency, targets: Targets, day: int) -> None:
        year = period_of("year", day)
        for indicator in INDICATORS:
            target = targets.of(agency.code, agency.kind, indicator, year)
            if target is not None:
                labels = agency.code, agency.kind, indicator
                found[metrics.TARGET_RATIO].append((labels, float(target)))


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
