"""The short way to a fact never takes what the full validator would refuse, or takes it otherwise.

One-sided on purpose: whatever the short way leaves alone is judged in full, so only what it takes
must be right. That it takes the plain form at all is a test of its own.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from schemas.fast_path import instant_us, read_plain
from schemas.instants import DatedInstant, epoch_us
from schemas.topics import Topic
from streams.processing.chunk import validate, validate_in_full
from tests.schemas.samples import good, wire

SHORT = (Topic.submissions, Topic.processing)
ARRIVED_MS = 1_700_000_000_000
AGENCIES = {
    "H56": frozenset[str](),
    "G01": frozenset({"/portals/G01"}),
    "Bộ": frozenset[str](),
    "provinces": frozenset[str](),
}
"""Registered codes are codes: a registration with any other is refused. The name of a group may
have been registered before the contract reserved it."""

topics = st.sampled_from(SHORT)


class Record(NamedTuple):
    """What the pipeline needs of a consumed record."""

    value: bytes | None
    key: bytes | None = b"H56"
    timestamp: int | None = ARRIVED_MS
    headers: Sequence[tuple[str, bytes]] = ()
    offset: int = 0


def agree(topic: Topic, record: Record) -> bool:
    """Whether the short way took the record; fails if the full validator sees it otherwise."""
    taken = read_plain(topic, record, AGENCIES) is not None
    if taken:
        assert validate_in_full(topic, record, AGENCIES) == validate(topic, record, AGENCIES), (
            record
        )
    return taken


@pytest.mark.parametrize("topic", SHORT)
def test_what_portals_send_is_read_the_short_way(topic: Topic) -> None:
    event = good(topic)
    instant = "submitted_at" if topic is Topic.submissions else "at"
    assert agree(topic, Record(wire(event)))
    for text in ("2022-01-05T01:59:58Z", "2022-01-05T01:59:58.123456+00:00"):
        event["data"][instant] = event["time"] = text
        assert agree(topic, Record(wire(event)))
    for optional in ("revision", "void", "channel", "due_at"):
        event["data"].pop(optional, None)
    for optional in ("time", "datacontenttype"):
        del event[optional]
    assert agree(topic, Record(wire(event)))
    event["data"]["agency"], event["source"] = "G01", "/portals/G01"
    assert agree(topic, Record(wire(event), b"G01"))


INSTANTS = [
    "2022-01-05T08:59:58+07:00",
    "2022-01-05T08:59:58Z",
    "2022-01-05T08:59:58.1Z",
    "2022-01-05T08:59:58.1234569+07:00",
    "2022-01-05T08:59:58.-00:00",
    "2022-01-05T08:59:58-00:00",
    "2022-01-05T08:59:60Z",
    "2022-01-05T24:00:00Z",
    "2022-01-05T08:60:00Z",
    "2022-02-29T00:00:00Z",
    "2024-02-29T00:00:00Z",
    "2022-13-01T00:00:00Z",
    "2022-01-05t08:59:58z",
    "2022-01-05 08:59:58Z",
    "2022-01-05T08:59:58",
    "2022-01-05T08:59Z",
    "2022-01-05T08:59:58+0700",
    "2022-01-05T08:59:58+07",
    "2022-01-05T08:59:58+24:00",
    "2022-01-05T08:59:58+23:59",
    "2022-W01-1T08:59:58+07:00",
    "20220105T085958Z",
    "0999-12-31T23:59:59Z",
    "1000-01-01T00:00:00Z",
    "9998-12-31T23:59:59.999999-23:59",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+08:00",
    "0000-01-01T00:00:00Z",
    "２０２２-01-05T08:59:58Z",
    "2022-01-05T08:59:58Z ",
    " 2022-01-05T08:59:58Z",
    "2022-01-05T08:59:58Z\n",
    "2022-01-05T08:59:58.١Z",
    "2050-01-01T00:00:00Z",
    "1641347998",
    "",
]
ODD = [
    None, True, False, 0, 1, -1, 2, 9, 10, 11, 1.0, 9.0, 0.5, 2**31 - 1, 2**31, 2**63, 1e300,
    "", " ", "online", "ONLINE", "in_person", "postal", "1", "H56", "h56", "G01", "Bộ", "a b",
    "a\u00a0b", "a\u200bb", "a\tb", "a\x7fb", "\x00", "x" * 64, "x" * 65, "ồ" * 64, "/portals/G01",
    "provinces", "hoso.dossier.submitted.v1", "hoso.dossier.processed.v1", [], {}, [1], {"a": 1},
]  # fmt: skip
FIELDS = [
    "specversion", "id", "source", "type", "time", "datacontenttype", "subject", "dataschema",
    "traceparent", "partitionkey", "data_base64", "data", "unheard", "data.dossier", "data.agency",
    "data.service", "data.channel", "data.submitted_at", "data.due_at", "data.revision",
    "data.void", "data.status", "data.at", "data.unheard",
]  # fmt: skip


def _put(event: dict[str, Any], field: str, value: Any) -> None:
    inner = event
    if field.startswith("data."):
        data = event.get("data")
        if not isinstance(data, dict):
            return
        inner, field = data, field.removeprefix("data.")
    if value is ...:
        inner.pop(field, None)
    else:
        inner[field] = copy.deepcopy(value)


changes = st.lists(
    st.tuples(st.sampled_from(FIELDS), st.sampled_from([..., *ODD, *INSTANTS]) | st.text()),
    min_size=1,
    max_size=3,
)
records = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(
            [None, b"", b"H56", b"G01", b"provinces", "Bộ".encode(), b"a b", b"h56"]
        ),
        "timestamp": st.sampled_from(
            [None, -1, 0, 10**15, 2**63 - 1, ARRIVED_MS, 1_641_347_698_000, 1_641_347_697_999]
        ),
        "headers": st.sampled_from(
            [
                [("content-type", b"application/cloudevents+json")],
                [("content-type", b"application/json"), ("ce_type", b"x")],
                [("traceparent", b"\xff")],
            ]
        ),
    },
)


@settings(max_examples=1500)
@given(topics, changes, records)
def test_events_with_odd_values_are_never_taken_otherwise(
    topic: Topic, changed: list[tuple[str, Any]], with_: dict[str, Any]
) -> None:
    event = good(topic)
    for field, value in changed:
        _put(event, field, value)
    try:
        value = wire(event)
    except UnicodeEncodeError:  # a lone surrogate: only its escape can be sent
        value = json.dumps(event).encode()
    agree(topic, Record(value, **with_))


@settings(max_examples=1500)
@given(topics, st.randoms(use_true_random=False), st.integers(1, 4))
def test_damaged_bytes_are_never_taken_otherwise(
    topic: Topic, random: random.Random, cuts: int
) -> None:
    value = bytearray(wire(good(topic)))
    for _ in range(cuts):
        at = random.randrange(len(value))
        kind = random.randrange(4)
        if kind == 0:
            value[at] = random.randrange(256)
        elif kind == 1:
            del value[at : at + random.randrange(1, 6)]
        elif kind == 2:
            value[at:at] = random.choice(
                [b" ", b"\t", b"\x00", b"\xc3", b"\xe1\xbb\x99", b"\\ud800", b"\\u0041", b'"', b",",
                 b"-", b"0", b".0", b"e0", b"NaN", b"null", b"{}", b"\xef\xbb\xbf"]
            )  # fmt: skip
        else:
            start = random.randrange(len(value))
            value[at:at] = value[start : start + random.randrange(1, 60)]
    note(bytes(value))
    agree(topic, Record(bytes(value)))


def test_the_last_of_two_members_with_one_name_counts_either_way() -> None:
    text = wire(good(Topic.processing)).decode()
    twice = text.replace('"status": 9', '"status": 4, "status": 10')
    assert agree(Topic.processing, Record(twice.encode()))
    assert not agree(Topic.processing, Record(text.replace('"id"', '"id": 1, "id"').encode()))


def test_a_value_is_too_large_either_way() -> None:
    value = wire(good(Topic.processing))
    assert agree(Topic.processing, Record(value.ljust(65_536)))
    assert not agree(Topic.processing, Record(value.ljust(65_537)))


def test_an_instant_is_in_the_future_from_the_same_microsecond_on() -> None:
    event = good(Topic.processing)
    limit = datetime(2022, 1, 5, tzinfo=timezone(timedelta(hours=7)))
    sent_ms = epoch_us(limit) // 1000 - 300_000
    event["data"]["at"] = limit.isoformat()
    assert agree(Topic.processing, Record(wire(event), timestamp=sent_ms))
    event["data"]["at"] = (limit + timedelta(microseconds=1)).isoformat()
    assert not agree(Topic.processing, Record(wire(event), timestamp=sent_ms))
    result = validate(Topic.processing, Record(wire(event), timestamp=sent_ms), AGENCIES)
    assert result == validate_in_full(
        Topic.processing, Record(wire(event), timestamp=sent_ms), AGENCIES
    )


_FULL = TypeAdapter[datetime](DatedInstant)


@pytest.mark.parametrize("text", INSTANTS)
def test_an_instant_is_the_same_either_way(text: str) -> None:
    for _ in range(2):  # the first time it is learnt, then it is remembered
        _same_instant(text)


@given(
    st.datetimes(datetime(1000, 1, 1), datetime(9998, 12, 31)),  # noqa: DTZ001
    st.integers(-(24 * 60 - 1), 24 * 60 - 1),
)
def test_every_instant_that_python_writes_is_read(local: datetime, minutes: int) -> None:
    text = local.replace(tzinfo=timezone(timedelta(minutes=minutes))).isoformat()
    assert _same_instant(text)


@settings(max_examples=1000)
@given(st.text("0123456789-:.+TZtz W", max_size=30) | st.from_regex(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8})?(Z|[+-]\d\d:?\d\d)", fullmatch=True
))  # fmt: skip
def test_no_text_is_read_as_an_instant_that_is_none(text: str) -> None:
    _same_instant(text)


def _same_instant(text: str) -> bool:
    short = instant_us(text)
    if short is not None:
        assert epoch_us(_FULL.validate_json(json.dumps(text))) == short
    return short is not None
