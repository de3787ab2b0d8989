"""A worker without a broker: real tables, views, intake counters and web server, fed by hand.

Records go the way they go in a worker: reference data through the views' own record handling,
events through ``validate`` and ``process_chunk``, and the agency-months rows those name into the
register.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from aiohttp import web
from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry

from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, Topic
from streams.api.server import WebServer
from streams.domain.calendar import ZONE
from streams.domain.definitions import DEFINITIONS
from streams.kafka.partitioner import partition_for
from streams.metrics.catalogue import Instruments
from streams.metrics.collector import Sample, state_parts
from streams.metrics.exposition import Exposition
from streams.processing.chunk import process_chunk, validate
from streams.processing.intake import Intake
from streams.processing.reference_repair import ReferenceRepair
from streams.processing.source_cursor import SourceCursor
from streams.processing.task import Phase, Task
from streams.processing.tasks import Tasks
from streams.runtime.app import Worker
from streams.runtime.view import View
from streams.settings import Settings, load
from streams.state.codecs import Checkpoint
from streams.state.partition import Partition
from streams.state.stores import MemoryStore
from streams.views.behind import Behind
from streams.views.published_months import PublishedMonths
from streams.views.reference_data import ReferenceData

EXAMPLES = Path(__file__).parents[1] / "data" / "example_events.jsonl"
NOW = datetime(2022, 8, 25, 9, 30, tzinfo=ZONE)
BROKER_START = datetime(2023, 2, 1, tzinfo=ZONE)
"""After every instant in the worked example, so that none of it is from the future."""


@dataclass(frozen=True)
class Record:
    """As much of a consumed record as anything here reads."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def _no_writer() -> Any:
    raise AssertionError("nothing is written in these tests")


@dataclass
class World:
    """A worker's parts, and the view of them that its API has."""

    settings: Settings = field(default_factory=lambda: load({}))
    owns: frozenset[int] | None = None
    """The partitions this worker owns; None: all."""

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self.clock: Callable[[], datetime] = lambda: NOW
        self.reference = ReferenceData(self.settings)
        self.register = PublishedMonths(self.settings)
        self.register.behind = Behind(self._high_watermarks)
        self.instruments = Instruments(self.registry, self.settings)
        self.fatal: list[str] = []
        self.log: Any = None
        self.tasks = Tasks(
            self.settings, _no_writer, self.log, self.register, self.log, self.fatal.append
        )
        self.intake = Intake(
            self.settings,
            self.tasks,
            self.reference,
            ReferenceRepair(self.settings, self.reference, _no_writer),
            self.log,
            self.instruments,
            self.fatal.append,
        )
        self.view = View(
            self.settings,
            self.reference,
            self.register,
            self.tasks,
            self.intake,
            Exposition(self.instruments, DEFINITIONS[self.settings.definition]),
            self.as_of,
            lambda: self.lags,
            lambda partition: self.owners.get(partition),
        )
        self.instruments.ready.set_function(lambda: float(self.tasks.ready))
        self._partitions = {
            number: Partition(number, MemoryStore()) for number in range(self.settings.partitions)
        }
        self.tasks._assigned = True  # as after a rebalance
        for number in self._partitions if self.owns is None else self.owns:
            self.tasks.tasks[number] = self.task(number, Phase.RUNNING)
        self.lags: dict[tuple[str, int], int] = {}
        self.owners: dict[int, str] = {}
        self.broker_ms = int(BROKER_START.timestamp() * 1000)
        self._offsets: dict[tuple[str, int], int] = {}

    async def _high_watermarks(self) -> dict[TopicPartition, int]:
        events = {self.settings.topic(topic) for topic in EVENT_TOPICS}
        sent = {at: offset + 1 for at, offset in self._offsets.items() if at[0] in events}
        return {TopicPartition(*at): end for at, end in sent.items()}

    def task(self, number: int, phase: Phase) -> Task:
        """A task that has processed nothing."""
        cursors = defaultdict(SourceCursor) if phase is Phase.RUNNING else {}
        return Task(number, self._partitions[number], phase, cursors=cursors)

    def as_of(self) -> int:
        return Worker.as_of(self)  # type: ignore[arg-type]

    def application(self) -> web.Application:
        return WebServer(self.view, lambda: self.clock(), self.view.scrape).application()

    def state_text(self) -> str:
        """The state metrics as text."""
        states = self.view.agency_states()
        return self.view.exposition.state(states, self.reference.targets, self.as_of())

    def samples(self) -> Iterator[Sample]:
        """The state metrics as samples."""
        definition = DEFINITIONS[self.settings.definition]
        states, targets = self.view.agency_states(), self.reference.targets
        for part in state_parts(states, targets, definition, self.as_of()):
            yield from part.samples()

    # Feeding

    def send(self, topic: Topic, key: str, value: Mapping[str, Any] | bytes | None) -> None:
        """One record, taken in as a chunk of its own."""
        self.feed([self.record(topic, key, value)])

    def record(self, topic: Topic, key: str, value: Mapping[str, Any] | bytes | None) -> Record:
        """The next record of its partition. The broker's clock goes on by a second with each."""
        raw: bytes | None
        if value is None or isinstance(value, bytes):
            raw = value
        else:
            raw = json.dumps(value, ensure_ascii=False).encode()
        self.broker_ms += 1000
        name = self.settings.topic(topic)
        number = partition_for(key.encode(), self.settings.partitions)
        offset = self._offsets[name, number] = self._offsets.get((name, number), -1) + 1
        return Record(name, number, offset, self.broker_ms, key.encode(), raw)

    def feed(self, records: Iterable[Record]) -> None:
        """Runs of records of one partition are its chunks."""
        topics = {self.settings.topic(t): t for t in EVENT_TOPICS | REFERENCE_TOPICS}
        for (name, number), run in groupby(records, lambda r: (r.topic, r.partition)):
            chunk = list(run)
            if topics[name] in REFERENCE_TOPICS:
                self.reference.view._apply(chunk)
            sources = self.reference.sources
            results = [validate(topics[name], record, sources) for record in chunk]
            writes = process_chunk(
                topics[name],
                name,
                self._partitions[number],
                self.settings.partitions,
                chunk,
                results,
                sources,
                Checkpoint(chunk[-1].offset + 1),
            )
            self.register.view._apply(
                [
                    Record(
                        self.settings.topic(Topic.agency_months), number, 0, 0, row.key, row.value
                    )
                    for row in writes.months
                ]
            )
            if number in self.tasks.tasks:
                self.intake._count(name, writes, 0.02)

    def feed_examples(self) -> World:
        """The events of the worked example."""
        with EXAMPLES.open(encoding="utf-8") as lines:
            read = map(json.loads, lines)
            self.feed([self.record(Topic(e["topic"]), e["key"], e["value"]) for e in read])
        return self


def event(kind: str, /, **data: Any) -> dict[str, Any]:
    """A CloudEvent of ``hoso.<kind>.v1``."""
    return {
        "specversion": "1.0",
        "id": f"{kind}-{json.dumps(data, sort_keys=True)}"[:200],
        "source": "/portals/test",
        "type": f"hoso.{kind}.v1",
        "time": "2022-08-25T09:00:00+07:00",
        "datacontenttype": "application/json",
        "data": data,
    }


def register(world: World, code: str, name: str = "", kind: str = "province") -> None:
    """PublishedMonths an agency."""
    agency = event("agency.registered", agency=code, name=name or code, kind=kind, sources=[])
    world.send(Topic.agencies, code, agency)


def list_service(world: World, code: str, service: str, level: int = 4, **more: Any) -> None:
    """List a service of an agency from 2021 on."""
    data = {"eligible": True, "listed": True, "effective_from": "2021-01-01"} | more
    listing = event("service.listed", agency=code, service=service, level=level, **data)
    world.send(Topic.catalogue, code, listing)


def submit(world: World, code: str, service: str, dossier: str, at: str, **more: Any) -> None:
    """Submit a dossier, online unless ``channel`` is given; ``at`` is a day."""
    data = {"channel": "online", "submitted_at": f"{at}T09:00:00+07:00"} | more
    submission = event("dossier.submitted", agency=code, service=service, dossier=dossier, **data)
    world.send(Topic.submissions, code, submission)


def process(world: World, code: str, dossier: str, status: int, at: str) -> None:
    """A processing step at noon of a day."""
    step = event(
        "dossier.processed", agency=code, dossier=dossier, status=status, at=f"{at}T12:00:00+07:00"
    )
    world.send(Topic.processing, code, step)
