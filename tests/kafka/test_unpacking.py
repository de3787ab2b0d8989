"""What is wrong within a batch costs the records it holds, never a consumer or the records after.

Batches are made by aiokafka's builder and walked through as its fetcher walks, without a broker.
"""

from __future__ import annotations

import hashlib
import re
import struct
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

import streams
from streams.kafka import unpacking
from streams.kafka.aiokafka_internals import leave_as_unpacked
from streams.kafka.unpacking import Cut, unreadable_within
from tests.kafka.batches import CODECS, Headers, at, batch, sealed, with_header_name

UNCOMMITTED = 0
assert leave_as_unpacked, "importing it is what puts the unpacking into aiokafka"


def fetched(data: bytes, position: int = 0, tp: TopicPartition | None = None) -> Any:
    """What aiokafka makes of an answer to a fetch from ``position``."""
    tp = tp or TopicPartition(uuid4().hex, 0)
    return fetcher.PartitionRecords(
        tp, fetcher.MemoryRecords(data), [], position, None, None, True, UNCOMMITTED
    )


def offsets(records: Iterable[Any]) -> list[int]:
    return [record.offset for record in records]


def walk(log: bytes, end: int, tp: TopicPartition) -> Iterator[Any]:
    """All records of a log that is read to its end, fetch by fetch, each a few batches long."""
    position = 0
    for _ in range(2 * end + 2):
        if position >= end:
            return
        start = 0
        while True:  # a broker answers from the batch that has the offset, or the first after it
            base, length = struct.unpack_from(">qi", log, start)
            following = start + 12 + length
            if following >= len(log) or struct.unpack_from(">q", log, following)[0] > position:
                break
            start = following
        del base
        answer = fetched(log[start:], position, tp)
        yield from answer
        assert answer.next_fetch_offset > position, "the consumer stands still"
        position = answer.next_fetch_offset
    raise AssertionError("the end is never reached")


@pytest.mark.parametrize("codec", CODECS)
def test_records_of_every_codec_are_read_as_they_were_sent(codec: str) -> None:
    headers: Headers = [("a", b"1"), ("a", None), ("", b""), ("đ", b"\xff")]
    values = [b"{}", b"", None, b"x" * 100_000]
    records = list(fetched(batch(values, 5, codec, None, headers), 6))
    assert [(r.offset, r.key, r.value, r.headers) for r in records] == [
        (6, None, b"", tuple(headers)),
        (7, None, None, tuple(headers)),
        (8, None, b"x" * 100_000, tuple(headers)),
    ]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"tr\xe4ger", "\\x74r\\xe4ger"),
        (b"ce_\xff\xfe\xfe\xfe", "\\x63e_\\xff\\xfe\\xfe\\xfe"),
        (b"\xff1234567", "\\xff1234567"),
        (b"hoso-\xed\xa0\x80", "\\x68oso-\\xed\\xa0\\x80"),
    ],
)
def test_a_header_name_that_is_not_utf8_is_kept_escaped_and_means_nothing(
    codec: str, raw: bytes, name: str
) -> None:
    records = list(fetched(with_header_name([b"1", b"2"], raw, codec) + batch([b"3"], 2)))
    assert offsets(records) == [0, 1, 2]
    assert [r.headers for r in records] == [((name, b"x"),), ((name, b"x"),), ()]
    assert [r.value for r in records] == [b"1", b"2", b"3"]


def test_what_a_damaged_batch_holds_is_lost_and_named_once(caplog: Any) -> None:
    tp = TopicPartition(uuid4().hex, 3)
    damaged = bytearray(batch([b"a", b"b", b"c"], 2))
    damaged[-2] ^= 1
    log = batch([b"0", b"1"]) + bytes(damaged) + batch([b"5"], 5)
    for _ in range(2):
        assert offsets(walk(log, 6, tp)) == [0, 1, 5]
    assert [(one.first, one.next) for one in unreadable_within(tp, 0, 6)] == [(2, 5)]
    assert unreadable_within(tp, 0, 2) == unreadable_within(tp, 5, 6) == []
    (line,) = (r.message for r in caplog.records if tp.topic in r.message)
    assert "[3]: records from 2 to 4 can't be read and are lost: its checksum is wrong" in line


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_a_codec_that_nobody_knows_is_named(codec: int) -> None:
    tp = TopicPartition(uuid4().hex, 0)
    strange = bytearray(batch([b"a", b"b"], 1))
    strange[22] |= codec
    log = batch([b"0"]) + sealed(strange) + batch([b"3"], 3)
    assert offsets(walk(log, 4, tp)) == [0, 3]
    (lost,) = unreadable_within(tp, 0, 4)
    assert (lost.first, lost.next, lost.why) == (1, 3, f"no codec has the number {codec}")


def test_records_before_one_that_is_none_are_read() -> None:
    tp = TopicPartition(uuid4().hex, 0)
    raw = bytearray(batch([b"aaaa", b"bbbb", b"cccc"]))
    raw[raw.index(b"bbbb") - 1] = 100  # a value longer than its record
    log = sealed(raw) + batch([b"3"], 3)
    assert offsets(walk(log, 4, tp)) == [0, 3]
    assert [(one.first, one.next) for one in unreadable_within(tp, 0, 4)] == [(1, 3)]


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", [0, 1, 2])
def test_the_oldest_message_formats_are_read_and_their_faults_survived(
    magic: Any, codec: int
) -> None:
    tp = TopicPartition(uuid4().hex, 0)
    builder = LegacyRecordBatchBuilder(magic, codec, 1 << 20)
    for offset in range(2):
        builder.append(offset, 1_700_000_000_000, b"H56", b"%d" % offset)
    old = bytes(builder.build())
    records = list(fetched(old))
    assert [(r.offset, r.value, r.headers) for r in records] == [(0, b"0", ()), (1, b"1", ())]
    assert {r.timestamp for r in records} == {None if magic == 0 else 1_700_000_000_000}
    damaged = bytearray(old)
    damaged[-1] ^= 1
    good = list(walk(bytes(damaged) + batch([b"2"], 2), 3, tp))
    assert good[-1].offset == 2
    assert unreadable_within(tp, 0, 2)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "lz4"])
def test_a_value_of_hundreds_of_megabytes_is_cut_with_its_length_and_digest(codec: str) -> None:
    size = 300_000_000
    value = bytes(size)
    records = list(walk(batch([b"0", value, b"2"], codec=codec) + batch([b"3"], 3), 4, _tp()))
    assert offsets(records) == [0, 1, 2, 3]
    found = records[1].value
    assert isinstance(found, Cut)
    assert found == bytes(65_537)
    assert (found.length, found.sha256) == (size, hashlib.sha256(value).hexdigest())


def test_a_batch_that_unpacks_to_more_than_is_looked_at_gives_what_is_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unpacking, "BATCH_BYTES", 8_000_000)
    tp = _tp()
    log = batch([b"0", bytes(20_000_000), b"2"], codec="zstd") + batch([b"3"], 3)
    records = list(walk(log, 4, tp))
    assert offsets(records) == [0, 1, 3]
    assert (records[1].value.length, records[1].value.sha256) == (20_000_000, None)
    assert [(one.first, one.next) for one in unreadable_within(tp, 0, 4)] == [(2, 3)]


def test_a_fetch_of_small_records_that_unpack_to_gigabytes_comes_in_parts() -> None:
    one = batch([bytes(500_000)] * 20, codec="zstd")
    log = b"".join(at(one, 20 * n) for n in range(50))
    tracemalloc.start()
    answer = fetched(log)
    held = list(answer)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < len(held) < 200
    assert answer.next_fetch_offset == len(held)
    assert peak < 150_000_000
    assert sum(1 for _ in walk(log, 1000, _tp())) == 1000


def test_a_batch_too_large_for_one_fetch_comes_in_parts() -> None:
    log = batch([b"%04d" % n + bytes(500_000) for n in range(200)], codec="zstd")
    answer = fetched(log)
    assert 0 < len(list(answer)) < 200
    found = [record.value[:4] for record in walk(log, 200, _tp())]
    assert found == [b"%04d" % n for n in range(200)]


def test_huge_keys_and_headers_are_cut_to_what_tells_that_they_are() -> None:
    headers: Headers = [("n" * 40_000_000, b"v"), *([("", None)] * 200_000)]
    (record,) = fetched(batch([b"{}"], codec="zstd", key=bytes(50_000_000), headers=headers))
    assert isinstance(record.key, Cut)
    assert (len(record.key), record.key.length) == (65_537, 50_000_000)
    assert 65_537 <= sum(len(name) + len(raw or b"") for name, raw in record.headers) < 300_000
    assert len(record.headers) < 140_000


def test_no_damage_to_a_log_raises_or_stops_the_walk_or_costs_a_good_batch() -> None:
    seed = Random().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    random = Random(seed)
    for _ in range(1_500):
        tp = _tp()
        first = batch([b"a" * random.randrange(50) for _ in range(3)])
        codec = random.choice(list(CODECS))
        middle = bytearray(
            batch([bytes([n]) * 40 for n in range(4)], 3, codec, headers=[("h", b"v")])
        )
        # Not where the batch begins and how long it is: a broker finds its way by them. And of what
        # a producer has sealed the broker has looked at the header.
        sent_so = random.random() < 0.7
        for _ in range(random.randrange(1, 4)):
            middle[random.randrange(61 if sent_so else 12, len(middle))] = random.randrange(256)
        if sent_so:
            middle = bytearray(sealed(middle))
        last = batch([b"z"] * 2, 7)
        found = offsets(walk(first + bytes(middle) + last, 9, tp))
        assert [n for n in found if n < 3] == [0, 1, 2]
        lost = [n for one in unreadable_within(tp, 0, 9) for n in range(one.first, one.next)]
        assert {7, 8} <= set(found)
        if not sent_so:
            assert set(found) | set(lost) == set(range(9))


def test_an_answer_that_is_no_batch_at_all_costs_one_offset() -> None:
    for nonsense in (b"\x00" * 40, b"\xff" * 200, b"x"):
        tp = _tp()
        answer = fetched(nonsense, 17, tp)
        assert list(answer) == []
        assert answer.next_fetch_offset == 18
        assert unreadable_within(tp, 17, 18)


def test_every_consumer_is_made_where_the_unpacking_is_put_in() -> None:
    source = Path(streams.__file__).parent
    made = {
        path
        for path in source.rglob("*.py")
        if re.search(r"AIOKafkaConsumer(Thread)?\(", path.read_text(encoding="utf-8"))
    }
    assert made
    for path in made:
        assert "streams.kafka.aiokafka_internals" in path.read_text(encoding="utf-8"), path


def _tp() -> TopicPartition:
    return TopicPartition(uuid4().hex, 0)
