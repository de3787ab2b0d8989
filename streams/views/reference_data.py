"""Reference data: the registered agencies and the assigned targets, as every process sees them.

Read through a view of the compacted topics, never through a consumer group. A record that is not
a valid event, or stands on the wrong partition for its key, is passed over here: the worker that
owns its partition puts it into the dead letters or forwards it.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from aiokafka import ConsumerRecord

from schemas.admission import admit
from schemas.decoder import Rejection, decode
from schemas.events import RegisteredEvent, TargetEvent
from schemas.topics import Topic
from streams.domain.indicators import Agency
from streams.domain.targets import Targets
from streams.kafka.compacted_view import CompactedView
from streams.kafka.partitioner import partition_for
from streams.settings import Settings

_Entry = RegisteredEvent | TargetEvent


class Reference:
    """Agencies and targets, kept current. ``start`` before use."""

    def __init__(self, settings: Settings) -> None:
        self._topics = {
            settings.topic(Topic.agencies): Topic.agencies,
            settings.topic(Topic.targets): Topic.targets,
        }
        self._partitions = settings.partitions
        self._agencies: dict[str, Agency] = {}
        self._sources: dict[str, frozenset[str]] = {}
        self._assigned: dict[tuple[str, str, int], Fraction] = {}
        self.view: CompactedView[tuple[Topic, bytes], _Entry] = CompactedView(
            settings.client_options(),
            list(self._topics),
            self._decode,
            accept=self._at_home,
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

    def _at_home(self, record: ConsumerRecord[Any, Any]) -> bool:
        return (
            record.key is not None
            and partition_for(record.key, self._partitions) == record.partition
        )

    def _decode(
        self, record: ConsumerRecord[Any, Any]
    ) -> tuple[tuple[Topic, bytes], _Entry | None] | None:
        topic = self._topics[record.topic]
        key = topic, record.key
        if record.value is None:
            return key, None
        event = decode(topic, record.value, record.headers)
        if isinstance(event, Rejection) or admit(event, record.key, record.timestamp, {}):
            return None
        if not isinstance(event, RegisteredEvent | TargetEvent):
            return None
        return key, event

    def _change(self, key: tuple[Topic, bytes], old: _Entry | None, new: _Entry | None) -> None:
        if isinstance(old, RegisteredEvent):
            self._agencies.pop(old.data.agency, None)
            self._sources.pop(old.data.agency, None)
        elif isinstance(old, TargetEvent):
            self._assigned.pop((old.data.scope, old.data.indicator, old.data.year), None)
        if isinstance(new, RegisteredEvent):
            data = new.data
            self._agencies[data.agency] = Agency(data.agency, data.name, data.kind)
            self._sources[data.agency] = frozenset(data.sources)
        elif isinstance(new, TargetEvent):
            at = new.data.scope, new.data.indicator, new.data.year
            self._assigned[at] = new.data.exact_ratio
