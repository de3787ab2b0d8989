"""The catalogue of metric names, and the instruments that count what this process did.

State (how many services, which share) is read from the tables by
:mod:`streams.metrics.collector` at scrape time; only events of this process are counted here.
The registry is a parameter, never the global one.
"""

from __future__ import annotations

from collections import Counter as Counter_
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import product
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from schemas.decoder import Reason
from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS
from streams.settings import Settings

# A `_created` series beside every counter says nothing that a dashboard needs.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metric(NamedTuple):
    """A metric's name, help text and labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


_AGENCY = ("agency", "kind")
_PERIOD = (*_AGENCY, "period")
_CHANNEL = (*_AGENCY, "channel", "period")

SERVICES_LISTED = Metric(
    "hoso_services_listed", "Services listed on the as-of day, by level.", (*_AGENCY, "level")
)
SERVICES_WITH_DOSSIERS = Metric(
    "hoso_services_with_dossiers",
    "Services listed at the definition's levels on the as-of day that had an online dossier.",
    _PERIOD,
)
SERVICES_WITH_DOSSIERS_RATIO = Metric(
    "hoso_services_with_dossiers_ratio",
    "Share of the services listed at the definition's levels that had an online dossier.",
    _PERIOD,
)
SERVICES_COUNTED = Metric(
    "hoso_services_counted",
    "Services listed at the definition's levels on the as-of day: what the share is a share of.",
    _PERIOD,
)
DOSSIERS_SUBMITTED = Metric(
    "hoso_dossiers_submitted", "Counted dossiers submitted in the period.", _CHANNEL
)
DOSSIERS_PROCESSED = Metric(
    "hoso_dossiers_processed",
    "Counted dossiers processed in the period, as the definition understands it.",
    _CHANNEL,
)
ONLINE_PROCESSED_RATIO = Metric(
    "hoso_online_processed_ratio", "Share of the processed dossiers that count as online.", _PERIOD
)
DOSSIERS_ON_TIME = Metric(
    "hoso_dossiers_on_time",
    "Dossiers resolved in the period, at or before their due date.",
    _PERIOD,
)
DOSSIERS_DUE = Metric(
    "hoso_dossiers_due", "Dossiers resolved in the period that had a due date.", _PERIOD
)
TARGET_RATIO = Metric(
    "hoso_target_ratio",
    "The agency's target for the as-of day's year: its own, its group's or the national one.",
    (*_AGENCY, "indicator"),
)
LAST_EVENT = Metric(
    "hoso_last_event_timestamp_seconds", "Broker time of the agency's last accepted event.", _AGENCY
)
AS_OF = Metric("hoso_as_of_timestamp_seconds", "Start of the as-of day in Asia/Ho_Chi_Minh.", ())
DEFINITION = Metric(
    "hoso_definition_info", "1, of the definition by which this worker counts.", ("definition",)
)
EVENTS = Metric("hoso_events_total", "Records processed, by outcome.", ("topic", "outcome"))
REJECTED = Metric(
    "hoso_events_rejected_total",
    "Records put into the dead letters; agency is empty where it is unknown.",
    ("agency", "reason"),
)
BATCH_SECONDS = Metric(
    "hoso_batch_seconds", "From a chunk of records handed over to its rows acknowledged.", ()
)
CONSUMER_LAG = Metric(
    "hoso_consumer_lag", "Records in the partition not yet processed.", ("topic", "partition")
)
BEHIND = Metric(
    "hoso_behind_records",
    "Records in the event topics that the API's figures lack, of the whole country; no "
    "sample while it cannot be told.",
    (),
)
CONSERVATION = Metric(
    "hoso_conservation_difference",
    "Offsets moved past without an outcome; anything but 0 is a fault of hoso.",
    ("topic", "partition"),
)
RECORDS_LOST = Metric(
    "hoso_records_lost_total",
    "Records of event topics that were removed from the log before they were read.",
    ("topic", "partition"),
)
READY = Metric("hoso_ready", "1 while every owned partition is recovered and published.", ())

STATE: tuple[Metric, ...] = (
    SERVICES_LISTED,
    SERVICES_WITH_DOSSIERS,
    SERVICES_WITH_DOSSIERS_RATIO,
    SERVICES_COUNTED,
    DOSSIERS_SUBMITTED,
    DOSSIERS_PROCESSED,
    ONLINE_PROCESSED_RATIO,
    DOSSIERS_ON_TIME,
    DOSSIERS_DUE,
    TARGET_RATIO,
    LAST_EVENT,
    AS_OF,
    DEFINITION,
)
EVENT: tuple[Metric, ...] = (
    EVENTS,
    REJECTED,
    BATCH_SECONDS,
    CONSUMER_LAG,
    BEHIND,
    CONSERVATION,
    RECORDS_LOST,
    READY,
)


OUTCOMES = ("applied", "duplicate", "superseded", "rejected", "forwarded")
"""The values of ``outcome`` (contract, section 5)."""


class Instruments:
    """What this process counts.

    Every outcome of every topic is there from the start with 0, so that the first event of a kind
    is an increase; so is every partition of the event topics, for the lost, and every reason for a
    rejection of an unknown sender. Those of an agency begin with its first one, since every agency
    times every reason is a thousand series that mostly stay 0; prometheus/rules/pipeline.yml counts
    that first one.
    """

    def __init__(self, registry: CollectorRegistry, settings: Settings) -> None:
        self.registry = registry
        self.began = datetime.now(UTC)
        self._rejected_of: defaultdict[str, Counter_[str]] = defaultdict(Counter_)
        self.events = Counter(*EVENTS, registry=registry)
        topics = sorted(map(settings.topic, EVENT_TOPICS | REFERENCE_TOPICS))
        for topic, outcome in product(topics, OUTCOMES):
            self.events.labels(topic, outcome)
        self.rejected = Counter(*REJECTED, registry=registry)
        for reason in Reason:
            self.rejected.labels("", reason.value)
        self.batch_seconds = Histogram(
            *BATCH_SECONDS,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self.lag = Gauge(*CONSUMER_LAG, registry=registry)
        self.behind: int | None = None
        """How many records the figures lack, as of the scrape; None if it cannot be told."""
        registry.register(_Behind(self))
        self.conservation = Gauge(*CONSERVATION, registry=registry)
        self.records_lost = Counter(*RECORDS_LOST, registry=registry)
        events = sorted(map(settings.topic, EVENT_TOPICS))
        for topic, number in product(events, range(settings.partitions)):
            self.records_lost.labels(topic, str(number))
        self.ready = Gauge(*READY, registry=registry)

    def count_chunk(
        self,
        topic: str,
        outcomes: Iterable[tuple[str, int]],
        rejected: Iterable[tuple[tuple[str, str], int]],
        seconds: float,
    ) -> None:
        """A chunk is done: records by outcome, and those rejected by (agency, reason)."""
        self.batch_seconds.observe(seconds)
        for outcome, records in outcomes:
            self.events.labels(topic, outcome).inc(records)
        for (agency, reason), records in rejected:
            self.rejected.labels(agency, reason).inc(records)
            self._rejected_of[agency][reason] += records

    def rejected_of(self, agency: str) -> dict[str, int]:
        """How many records of an agency were rejected, by reason."""
        return dict(self._rejected_of.get(agency, {}))

    def count_lost(self, at: tuple[str, int], records: int) -> None:
        """So many records of (topic, partition) are gone that nobody has read."""
        self.records_lost.labels(at[0], str(at[1])).inc(records)

    def observe(
        self,
        lag: Mapping[tuple[str, int], int],
        unaccounted: Mapping[tuple[str, int], int],
        behind: int | None,
    ) -> None:
        """Set what is measured at a scrape, by (topic, partition); what is left out is gone."""
        self.behind = behind
        for gauge, found in ((self.lag, lag), (self.conservation, unaccounted)):
            gauge.clear()
            for (topic, number), records in found.items():
                gauge.labels(topic, str(number)).set(records)


class _Behind(Collector):
    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(BEHIND.name, BEHIND.help)
        if self._instruments.behind is not None:
            family.add_metric([], self._instruments.behind)
        yield family
