"""On the reference topics the accepted record with the latest broker timestamp stands, now and
after compaction: pure tests of the rule, and a model of logs, late owners and compaction."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from functools import reduce
from random import Random
from typing import Any, NamedTuple

import pytest

from schemas.topics import Topic
from streams.settings import load
from streams.views.reference_data import ReferenceData
from streams.views.reference_rule import (
    RESTORES,
    Standing,
    merge,
    owed,
    restores,
    standing,
)

KEY = b"H56"
PARTITIONS = 3


class Record(NamedTuple):
    """A record as aiokafka gives it, as far as anyone looks."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def registration(name: str, kind: str = "province") -> bytes:
    data = {"agency": KEY.decode(), "name": name, "kind": kind, "sources": []}
    return json.dumps(
        {
            "specversion": "1.0",
            "id": name,
            "source": "/reference",
            "type": "hoso.agency.registered.v1",
            "data": data,
        }
    ).encode()


REFUSED = registration("refused", kind="tinh")


def record(partition: int, offset: int, timestamp: int, value: bytes | None) -> Record:
    return Record("hoso.agencies", partition, offset, timestamp, KEY, value)


def folded(records: Iterable[Record]) -> Standing:
    parts = [standing(Topic.agencies, each) for each in records]
    return reduce(merge, parts[1:], parts[0])


def name_of(found: Standing) -> str | None:
    return found.event.data.name if found.event is not None else None  # type: ignore[union-attr]


class Logs:
    """The partitions of a topic, and what has really been said."""

    def __init__(self) -> None:
        self.logs: list[list[Record]] = [[] for _ in range(PARTITIONS)]
        self.ends = [0] * PARTITIONS
        self.clock = 1_000
        self.said: list[Record] = []

    def append(
        self, partition: int, value: bytes | None, headers: Sequence[Any] = (), tick: int = 1
    ) -> Record:
        self.clock += tick
        row = Record(
            "hoso.agencies", partition, self.ends[partition], self.clock, KEY, value, tuple(headers)
        )
        self.logs[partition].append(row)
        self.ends[partition] += 1
        return row

    def expected(self) -> str | None:
        """The contract's rule, told again: the latest of what was said and not refused."""
        good = [r for r in self.said if r.value != REFUSED]
        if not good:
            return None
        last = max(good, key=lambda r: (r.timestamp, r.partition, r.offset))
        return None if last.value is None else str(json.loads(last.value)["data"]["name"])

    def compact(self) -> None:
        """Everything but the last record of each partition goes, and tombstones with it."""
        self.clock += 10  # delete.retention.ms is no instant
        for log in self.logs:
            log[:] = [row for row in log[-1:] if row.value is not None]

    @property
    def records(self) -> list[Record]:
        return [row for log in self.logs for row in log]


def settle(logs: Logs) -> int:
    """Owners who have read everything write what they owe, until nothing is; how many records."""
    written = 0
    while logs.records:
        found = folded(logs.records)
        rows = [(p, owed(KEY, found, p)) for p in range(PARTITIONS)]
        rows = [(p, row) for p, row in rows if row is not None]
        if not rows:
            break
        for partition, row in rows:
            assert row is not None
            logs.append(partition, row.value, row.headers)
            written += 1
        assert written < 50, "the owners never come to rest"
    return written


def test_the_latest_broker_timestamp_wins_whatever_partition_it_is_on() -> None:
    early, late = record(2, 7, 1_000, registration("early")), record(0, 0, 2_000, REFUSED)
    newest = record(1, 3, 1_500, registration("newest"))
    assert name_of(folded([newest, early, late])) == "newest"


def test_between_equal_timestamps_every_reader_decides_alike() -> None:
    rows = [record(p, o, 5, registration(f"{p}-{o}")) for p in (0, 1) for o in (0, 1)]
    assert {name_of(folded(order)) for order in (rows, rows[::-1])} == {"1-1"}


@pytest.mark.parametrize("refused_first", [True, False])
def test_a_refused_record_changes_nothing_before_and_after_compaction(refused_first: bool) -> None:
    logs = Logs()
    for value in [REFUSED, registration("good")][:: 1 if refused_first else -1]:
        logs.append(0, value)
    assert name_of(folded(logs.records)) == "good"
    # What is refused and has something good behind it needs no repair.
    assert settle(logs) == (0 if refused_first else 1)
    logs.compact()
    assert name_of(folded(logs.records)) == "good"
    assert settle(logs) == 0


def test_a_copy_has_the_bytes_and_headers_of_the_original_and_is_known_for_one() -> None:
    logs = Logs()
    logs.append(0, registration("good"), [("portal", b"1")])
    logs.append(0, REFUSED)
    settle(logs)
    copy = logs.records[-1]
    assert (copy.key, copy.value) == (KEY, registration("good"))
    assert copy.headers == (("portal", b"1"), (RESTORES, b"1001/0/0"))
    assert restores(copy.headers, copy.timestamp)
    assert not restores(logs.records[0].headers, 1_001)
    assert folded([copy]).last[0][1] is not None


def test_a_removed_agency_stays_removed_though_another_partition_still_holds_it() -> None:
    logs = Logs()
    logs.append(2, registration("old"))
    logs.append(0, None)
    assert settle(logs) == 1
    logs.compact()  # the tombstones are dropped as well
    assert logs.records == []


def test_an_older_value_elsewhere_is_left_alone_while_a_newer_one_stands() -> None:
    logs = Logs()
    logs.append(2, registration("old"))
    logs.append(0, registration("new"))
    assert settle(logs) == 0


def test_where_only_refused_records_are_nothing_is_written() -> None:
    logs = Logs()
    logs.append(0, REFUSED)
    assert settle(logs) == 0
    assert name_of(folded(logs.records)) is None


def test_a_copy_that_lands_late_never_outranks_a_newer_record() -> None:
    logs = Logs()
    logs.append(0, registration("old"))
    logs.append(0, REFUSED)
    copy = owed(KEY, folded(logs.records), 0)
    assert copy is not None
    logs.append(0, registration("new"))  # read by nobody yet when the copy was made
    logs.append(0, copy.value, copy.headers)
    assert name_of(folded(logs.records)) == "new"
    assert settle(logs) == 1
    logs.compact()
    assert name_of(folded(logs.records)) == "new"


@pytest.mark.parametrize("mark", [b"", b"x/y/z", b"1/2", b"99999999999999/0/0", None])
def test_a_mark_that_cannot_be_true_is_none(mark: bytes | None) -> None:
    row = record(0, 0, 1_000, registration("good"))._replace(headers=((RESTORES, mark),))  # type: ignore[arg-type]
    assert not restores(row.headers, row.timestamp)
    found = standing(Topic.agencies, row)
    assert found.best is not None
    assert found.best.stamp == (1_000, 0, 0)


def test_any_order_of_arrival_and_repeated_reading_give_the_same() -> None:
    seed = time.time_ns()
    random = Random(seed)
    for _ in range(300):
        rows = [
            record(
                random.randrange(PARTITIONS),
                offset,
                random.randint(1, 6),
                random.choice([None, REFUSED, registration("a"), registration("b")]),
            )
            for offset in range(random.randint(1, 8))
        ]
        once = folded(rows)
        again = random.choices(rows, k=5) + random.sample(rows, len(rows))
        assert folded(again) == once, f"seed {seed}"
        owing = [owed(KEY, once, p) for p in range(PARTITIONS)]
        assert owing == [owed(KEY, folded(again), p) for p in range(PARTITIONS)], f"seed {seed}"


def test_late_owners_compaction_and_races_never_change_what_stands() -> None:
    seed = time.time_ns()
    random = Random(seed)
    for _ in range(500):
        logs = Logs()
        seen = [[0] * PARTITIONS for _ in range(PARTITIONS)]  # owner → how far it has read
        for step in range(random.randint(2, 25)):
            partition = random.randrange(PARTITIONS)
            what = random.random()
            if what < 0.5:
                value = random.choice([None, REFUSED, registration(f"n{step}")])
                logs.said.append(logs.append(partition, value, tick=random.randint(0, 2)))
            elif what < 0.75:  # an owner reads on, anywhere
                for other in range(PARTITIONS):
                    end = logs.ends[other]
                    seen[partition][other] = random.randint(min(seen[partition][other], end), end)
            elif what < 0.9:  # an owner writes by what it has read so far
                known = [r for r in logs.records if r.offset < seen[partition][r.partition]]
                row = owed(KEY, folded(known), partition) if known else None
                if row is not None:
                    logs.append(partition, row.value, row.headers, tick=random.randint(0, 2))
            else:  # min.compaction.lag.ms lets the owners settle first
                settle(logs)
                logs.compact()
                seen = [[0] * PARTITIONS for _ in range(PARTITIONS)]
        settle(logs)
        for stage in ("settled", "compacted"):
            found = folded(logs.records) if logs.records else Standing(None, {})
            assert name_of(found) == logs.expected(), f"{stage}, seed {seed}"
            # Whoever knows nothing of copies and goes by the timestamps alone sees the same.
            plain = [r._replace(headers=()) for r in logs.records]
            found = folded(plain) if plain else Standing(None, {})
            assert name_of(found) == logs.expected(), f"{stage}, seed {seed}"
            logs.compact()


def test_reference_data_follows_the_rule_and_names_what_each_partition_owes() -> None:
    reference = ReferenceData(load({}))
    old, refused = record(7, 0, 1_000, registration("old")), record(7, 1, 1_001, REFUSED)
    reference.view._apply([old, refused])
    assert reference.agencies["H56"].name == "old"
    assert [row.value for row in reference.owed(7)[Topic.agencies]] == [registration("old")]
    assert reference.owed(3) == {}
    reference.view._apply([record(3, 0, 1_002, registration("new"))])
    assert reference.agencies["H56"].name == "new"
    assert [row.value for row in reference.owed(7)[Topic.agencies]] == [registration("new")]
    copy = reference.owed(7)[Topic.agencies][0]
    reference.view._apply(
        [Record("hoso.agencies", 7, 2, 1_003, copy.key, copy.value, tuple(copy.headers))]
    )
    assert reference.owed(7) == {}
    reference.view._apply([record(3, 1, 1_004, None)])
    assert reference.agencies == {}
    assert [row.value for row in reference.owed(7)[Topic.agencies]] == [None]
