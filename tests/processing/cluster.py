"""The brokers of a simulation: logs in memory, and what befalls them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from faust.types import TP

from streams.kafka.partitioner import partition_for
from streams.settings import load

SETTINGS = load(topic_prefix="", app_id="sim", partitions=2)
START_MS = 16_725_225_600_000  # the year 2500: facts of busy worlds reach to 2400
LOGS = ("sim-dossiers-changelog", "sim-services-changelog", "agency-months")


class Record(NamedTuple):
    """A record as aiokafka gives it, as far as anyone looks."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    epoch: int
    """The leader's, of the batch."""


class Cluster:
    """The brokers: logs, and what the group has committed."""

    def __init__(self) -> None:
        self.logs: defaultdict[TP, list[Record]] = defaultdict(list)
        self.ends: defaultdict[TP, int] = defaultdict(int)
        self.starts: defaultdict[TP, int] = defaultdict(int)
        self.identities: dict[str, str] = {}
        """Topic → which one of that name it is."""
        self.epochs: defaultdict[TP, int] = defaultdict(int)
        self.committed: dict[TP, int] = {}
        self.clock = START_MS
        self.damage: dict[int, int] = {}
        """Partition → how often its store, opened next, can be used before damage shows."""
        self.distrusted: list[str] = []
        """What was said of restored ledgers that were not what their rows give."""

    def append(self, topic: str, partition: int, rows: Iterable[Any]) -> int:
        """Append one batch; the offset of its first record."""
        tp = TP(topic, partition)
        base = self.ends[tp]
        for key, value, headers in rows:
            self.clock += 1
            self.logs[tp].append(
                Record(
                    topic,
                    partition,
                    self.ends[tp],
                    self.clock,
                    1,
                    key,
                    value,
                    tuple(headers),
                    self.epochs[tp],
                )
            )
            self.ends[tp] += 1
        return base

    def read(self, tp: TP, offset: int, most: int) -> list[Record]:
        """Up to ``most`` records at or after ``offset``."""
        return [record for record in self.logs[tp] if record.offset >= offset][:most]

    def truncate(self, tp: TP, offset: int) -> None:
        """Lose what is at ``offset`` and after it, as an unclean leader election does."""
        self.logs[tp] = [record for record in self.logs[tp] if record.offset < offset]
        self.ends[tp] = min(self.ends[tp], offset)
        self.epochs[tp] += 1

    def expire(self, tp: TP, offset: int) -> None:
        """Delete what is before ``offset``."""
        self.logs[tp] = [record for record in self.logs[tp] if record.offset >= offset]
        self.starts[tp] = max(self.starts[tp], offset)

    def compact(self, tp: TP) -> None:
        """Keep the last record of each key."""
        last = {record.key: record for record in self.logs[tp]}
        self.logs[tp] = sorted(last.values(), key=lambda record: record.offset)

    def latest(self, topic: str) -> dict[bytes | None, bytes | None]:
        """A compacted topic as its readers see it."""
        found: dict[bytes | None, bytes | None] = {}
        for partition in range(SETTINGS.partitions):
            for record in self.logs[TP(topic, partition)]:
                found[record.key] = record.value
        return found

    def send(self, event: Mapping[str, Any], partition: int | None = None) -> None:
        """What a portal does: the right partition unless it is told another."""
        key = event["key"].encode()
        right = partition_for(key, SETTINGS.partitions)
        value = event["value"]
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        at = right if partition is None else partition
        self.append(event["topic"], at, [(key, raw, (("portal", b"1"),))])
