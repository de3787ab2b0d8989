"""Reference data: the registered agencies and the assigned targets, as every process sees them.

Read through a view of the compacted topics, never through a consumer group, so that a second group
or one that lost its offsets changes nothing. Which record of a key stands, and what the owner of a
partition must write there so that compaction keeps it: :mod:`streams.views.reference_rule`. Putting
a refused record into the dead letters is up to the worker that owns its partition.

The topics are the only store. Nothing here survives the process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from aiokafka import ConsumerRecord

from schemas.events import RegisteredEvent, TargetEvent
from schemas.topics import Topic
from streams.domain.indicators import Agency
from streams.domain.targets import Targets
from streams.kafka.batch_writer import Outgoing
from streams.kafka.compacted_view import CompactedView
from streams.settings import Settings
from streams.views.reference_rule import Standing, merge, owed, standing

_Key = tuple[Topic, bytes]


class ReferenceData:
    """Agencies and targets, kept current. ``start`` before use."""

    def __init__(self, settings: Settings) -> None:
        self._topics = {
            settings.topic(Topic.agencies): Topic.agencies,
            settings.topic(Topic.targets): Topic.targets,
        }
        self._agencies: dict[str, Agency] = {}
        self._sources: dict[str, frozenset[str]] = {}
        self._assigned: dict[tuple[str, str, int], Fraction] = {}
        self._unsettled: defaultdict[int, set[_Key]] = defaultdict(set)
        """Partition → the keys of which its log must be given the standing record again."""
        self.version = 0
        """Another after every change."""
        self.view: CompactedView[_Key, Standing] = CompactedView(
            settings.client_options(),
            list(self._topics),
            self._decode,
            merge=merge,
            on_change=self._change,
        )

    async def start(self) -> None:
        """Return when everything sent so far has been read. Raises what the view raises."""
        await self.view.start()

    async def stop(self) -> None:
        await self.view.stop()

    async def refresh(self) -> None:
        """Return when everything acknowledged before the call has been read."""
        await self.view.refresh()

    @property
    def agencies(self) -> Mapping[str, Agency]:
        """The registered agencies by code."""
        return self._agencies

    @property
    def sources(self) -> Mapping[str, frozenset[str]]:
        """Registered agency → the sources that may speak for it; empty: any."""
        return self._sources

    @property
    def targets(self) -> Targets:
        """The assigned targets."""
        return Targets(self._assigned)

    def owed(self, partition: int) -> dict[Topic, list[Outgoing]]:
        """What must be written to ``partition`` so that the topics keep what stands, as far as
        read; whoever owns the partition writes it. Empty once that has been read back."""
        found: dict[Topic, list[Outgoing]] = {}
        for topic, key in sorted(self._unsettled.get(partition, ())):
            record = owed(key, self.view.entries[topic, key], partition)
            if record is not None:
                found.setdefault(topic, []).append(record)
        return found

    def _decode(self, record: ConsumerRecord[Any, Any]) -> tuple[_Key, Standing] | None:
        if record.key is None:
            return None
        topic = self._topics[record.topic]
        return (topic, record.key), standing(topic, record)

    def _change(self, key: _Key, old: Standing | None, new: Standing | None) -> None:
        self.version += 1
        self._settle(key, (old, new))
        before, now = old and old.event, new and new.event
        if isinstance(before, RegisteredEvent):
            self._agencies.pop(before.data.agency, None)
            self._sources.pop(before.data.agency, None)
        elif isinstance(before, TargetEvent):
            self._assigned.pop((before.data.scope, before.data.indicator, before.data.year), None)
        if isinstance(now, RegisteredEvent):
            data = now.data
            self._agencies[data.agency] = Agency(data.agency, data.name, data.kind)
            self._sources[data.agency] = frozenset(data.sources)
        elif isinstance(now, TargetEvent):
            at = now.data.scope, now.data.indicator, now.data.year
            self._assigned[at] = now.data.exact_ratio

    def _settle(self, key: _Key, known: Iterable[Standing | None]) -> None:
        new = None
        for new in known:
            for partition in new.last if new is not None else ():
                self._unsettled[partition].discard(key)
        if new is not None:
            for partition in new.last:
                if owed(key[1], new, partition) is not None:
                    self._unsettled[partition].add(key)
