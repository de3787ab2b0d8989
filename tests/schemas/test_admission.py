"""Key, agency, source and clock are checked in that order, on the topics they are meant for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from schemas.admission import TOLERANCE_MS, admit
from schemas.decoder import Reason, Rejection, decode
from schemas.events import Event
from schemas.instants import epoch_us, record_time
from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, TOPIC_OF_TYPE, Topic
from tests.schemas.samples import good, wire

MARCH_2022_MS = 1_646_092_800_000
ANYONE: Mapping[str, frozenset[str]] = {"H56": frozenset()}


def event(topic: Topic, **data: Any) -> Event:
    document = good(topic)
    document["data"].update(data)
    decoded = decode(topic, wire(document))
    assert not isinstance(decoded, Rejection), decoded
    return decoded


def reason(verdict: Rejection | None) -> Reason | None:
    return None if verdict is None else verdict.reason


@pytest.mark.parametrize("topic", TOPIC_OF_TYPE.values())
def test_a_good_event_under_its_key_is_admitted(topic: Topic) -> None:
    subject = event(topic)
    assert admit(subject, subject.key.encode(), MARCH_2022_MS, ANYONE) is None


@pytest.mark.parametrize("topic", TOPIC_OF_TYPE.values())
@pytest.mark.parametrize("key", [None, b"", b"H57", b"h56", b"H56 ", b"\xff"])
def test_any_other_key_is_a_mismatch_and_never_raises(topic: Topic, key: bytes | None) -> None:
    verdict = admit(event(topic), key, MARCH_2022_MS, ANYONE)
    assert verdict is not None
    assert verdict.reason is Reason.key_mismatch
    assert verdict.agency == (None if topic is Topic.targets else "H56")


@pytest.mark.parametrize("topic", sorted(EVENT_TOPICS))
def test_facts_of_an_agency_nobody_registered_are_refused(topic: Topic) -> None:
    assert reason(admit(event(topic), b"H56", MARCH_2022_MS, {})) is Reason.unknown_agency


@pytest.mark.parametrize("topic", sorted(REFERENCE_TOPICS))
def test_reference_data_needs_no_registered_agency_and_no_clock(topic: Topic) -> None:
    subject = event(topic)
    assert admit(subject, subject.key.encode(), 0, {}) is None


@pytest.mark.parametrize("topic", sorted(EVENT_TOPICS))
@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (frozenset(), None),
        (frozenset({"/portals/H56"}), None),
        (frozenset({"/portals/H56", "/portals/H57"}), None),
        (frozenset({"/portals/H57"}), Reason.source_not_allowed),
        (frozenset({"/portals/H5"}), Reason.source_not_allowed),
        (frozenset({"/portals/h56"}), Reason.source_not_allowed),
    ],
)
def test_only_allowed_sources_speak_for_an_agency_and_an_empty_set_allows_any(
    topic: Topic, allowed: frozenset[str], expected: Reason | None
) -> None:
    assert reason(admit(event(topic), b"H56", MARCH_2022_MS, {"H56": allowed})) is expected


@pytest.mark.parametrize(
    ("topic", "field"), [(Topic.submissions, "submitted_at"), (Topic.processing, "at")]
)
@pytest.mark.parametrize("written", ["2022-01-05T08:59:58+07:00", "2022-01-04T20:59:58-05:00"])
def test_five_minutes_ahead_of_the_broker_pass_and_a_millisecond_more_does_not(
    topic: Topic, field: str, written: str
) -> None:
    subject = event(topic, **{field: written})
    limit_ms = epoch_us(getattr(subject.data, field)) // 1000 - TOLERANCE_MS
    assert admit(subject, b"H56", limit_ms, ANYONE) is None
    verdict = admit(subject, b"H56", limit_ms - 1, ANYONE)
    assert reason(verdict) is Reason.future_time


def test_a_microsecond_beyond_five_minutes_is_ahead() -> None:
    subject = event(Topic.submissions, submitted_at="2022-01-05T01:59:58.000001Z")
    assert reason(admit(subject, b"H56", 1_641_347_998_000 - 300_000, ANYONE)) is Reason.future_time


@pytest.mark.parametrize(
    ("topic", "field", "written"),
    [
        (Topic.submissions, "due_at", "2099-01-01T00:00:00Z"),
        (Topic.catalogue, "effective_from", "2099-01-01"),
    ],
)
def test_due_dates_and_coming_listings_may_lie_in_the_future(
    topic: Topic, field: str, written: str
) -> None:
    assert admit(event(topic, **{field: written}), b"H56", MARCH_2022_MS, ANYONE) is None


def test_the_envelope_time_may_lie_in_the_future() -> None:
    document = good(Topic.submissions) | {"time": "2099-01-01T00:00:00Z"}
    subject = decode(Topic.submissions, wire(document))
    assert not isinstance(subject, Rejection)
    assert admit(subject, b"H56", MARCH_2022_MS, ANYONE) is None


def test_the_first_reason_in_the_contracts_order_is_given() -> None:
    subject = event(Topic.submissions, submitted_at="2099-01-01T00:00:00Z")
    other = {"H56": frozenset({"/portals/H57"})}
    assert reason(admit(subject, b"H57", MARCH_2022_MS, {})) is Reason.key_mismatch
    assert reason(admit(subject, b"H56", MARCH_2022_MS, {})) is Reason.unknown_agency
    assert reason(admit(subject, b"H56", MARCH_2022_MS, other)) is Reason.source_not_allowed
    assert reason(admit(subject, b"H56", MARCH_2022_MS, ANYONE)) is Reason.future_time


@pytest.mark.parametrize("topic", [Topic.submissions, Topic.processing])
@pytest.mark.parametrize("timestamp", [None, -1, -(2**63), 1_795_680_000_000_000, 2**63 - 1])
def test_nothing_is_ahead_of_a_timestamp_that_is_no_time(
    topic: Topic, timestamp: int | None
) -> None:
    """So a replay, whenever it is, judges the record as it was judged first."""
    instant = {Topic.submissions: "submitted_at", Topic.processing: "at"}[topic]
    subject = event(topic, **{instant: "2099-01-01T00:00:00Z"})
    assert admit(subject, b"H56", timestamp, ANYONE) is None


def test_the_first_and_the_last_millisecond_of_the_calendar_are_times() -> None:
    for good_time in (0, 253_402_275_599_999):
        assert record_time(good_time) == good_time
    for bad_time in (None, -1, 253_402_275_600_000):
        assert record_time(bad_time) is None
