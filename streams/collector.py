"""Prometheus state metrics, read from the owned and recovered ledgers at scrape time.

Runs on the event loop that owns the tables, so a scrape sees whole chunks only. Series of
partitions that are not owned, not recovered or suspended by a rebalance are simply absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams import metrics
from streams.domain.calendar import PERIOD_KINDS, period_of, previous_year, start_of_day
from streams.domain.definitions import Definition
from streams.domain.dossier import CHANNELS
from streams.domain.indicators import Agency, counts, sums
from streams.domain.ledger import Months
from streams.domain.targets import INDICATORS
from streams.kafka.partitioner import partition_for
from streams.partition import NOT_SEEN
from streams.reference import Reference
from streams.tables import Tables

_NO_MONTHS = Months()


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
        return [GaugeMetricFamily(m.name, m.help, labels=m.labels) for m in metrics.STATE]

    def collect(self) -> Iterator[Metric]:
        families = {
            m.name: GaugeMetricFamily(m.name, m.help, labels=m.labels) for m in metrics.STATE
        }

        def add(metric: metrics.Metric, labels: tuple[str, ...], value: float) -> None:
            families[metric.name].add_metric(labels, value)

        day = self._as_of()
        add(metrics.AS_OF, (), start_of_day(day).timestamp())
        for agency in sorted(self._reference.agencies.values()):
            number = partition_for(agency.code.encode(), self._partitions)
            owned = self._tables.owned.get(number)
            if owned is None or not owned.ready:
                continue
            ledger = owned.partition.ledgers.get(agency.code)
            months = ledger.months if ledger is not None else _NO_MONTHS
            self._agency(add, agency, months, day)
            seen = owned.partition.seen.get(agency.code, NOT_SEEN)
            if seen.at is not None:
                add(metrics.LAST_EVENT, (agency.code, agency.kind), seen.at / 1000)
        yield from families.values()

    def _agency(
        self,
        add: Callable[[metrics.Metric, tuple[str, ...], float], None],
        agency: Agency,
        months: Months,
        day: int,
    ) -> None:
        own = agency.code, agency.kind
        targets = self._reference.targets
        year = period_of("year", day)
        for indicator in INDICATORS:
            target = targets.of(agency.code, agency.kind, indicator, year)
            if target is not None:
                add(metrics.TARGET_RATIO, (*own, indicator), float(target))
        days = [("", day)]
        before = previous_year(day)
        if before is not None:
            days.append(("_last_year", before))
        for suffix, as_of in days:
            for kind in PERIOD_KINDS:
                label = f"{kind}{suffix}"
                counted = counts(sums(months, period_of(kind, as_of)), self._definition, kind)
                add(metrics.SERVICES_WITH_DOSSIERS, (*own, label), counted.services_with_dossiers)
                for metric, share in (
                    (metrics.SERVICES_WITH_DOSSIERS_RATIO, counted.ratio("services_with_dossiers")),
                    (metrics.ONLINE_PROCESSED_RATIO, counted.ratio("online_processed")),
                ):
                    if share is not None:
                        add(metric, (*own, label), float(share))
                for channel, submitted, processed in zip(
                    CHANNELS, counted.submitted, counted.processed, strict=True
                ):
                    add(metrics.DOSSIERS_SUBMITTED, (*own, channel, label), submitted)
                    add(metrics.DOSSIERS_PROCESSED, (*own, channel, label), processed)
                add(metrics.DOSSIERS_ON_TIME, (*own, label), counted.on_time)
                add(metrics.DOSSIERS_DUE, (*own, label), counted.due)
            if not suffix:
                for level, listed in enumerate(counted.level, start=1):
                    add(metrics.SERVICES_LISTED, (*own, str(level)), listed)
