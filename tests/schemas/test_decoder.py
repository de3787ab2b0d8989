"""Whatever the bytes: an event by the contract's rules, or one reason from the closed list."""

from __future__ import annotations

import json
import re
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from dataclasses import fields
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from schemas.decoder import _STRUCTURED, MAX_VALUE_BYTES, Reason, Rejection, _classify, decode
from schemas.events import (
    Event,
    Listed,
    Processed,
    Registered,
    Submitted,
    SubmittedEvent,
    TargetAssigned,
)
from schemas.explain import EXPECTED, LONGEST_VALUE, shorten
from schemas.instants import FIRST_INSTANT, LAST_INSTANT, epoch_us
from schemas.topics import TOPIC_OF_TYPE, Topic
from tests.schemas.samples import binary, good, wire

EXAMPLE_EVENTS = Path(__file__).parents[1] / "data" / "example_events.jsonl"
REASONS_OF_DECODING = list(Reason)[: list(Reason).index(Reason.bad_data) + 1]

topics = st.sampled_from(list(Topic))
event_topics = st.sampled_from(list(TOPIC_OF_TYPE.values()))


def check_verdict(verdict: Event | Rejection) -> None:
    """What holds of every verdict, whatever was judged."""
    if isinstance(verdict, Rejection):
        assert verdict.reason in REASONS_OF_DECODING
        assert verdict.detail
        assert verdict.detail.splitlines() == [verdict.detail]
        assert len(verdict.detail) < 400
        assert verdict.agency is None or is_code(verdict.agency)
    else:
        assert verdict.type in TOPIC_OF_TYPE


# The contract's rules once more, in other code: json.loads and plain comparisons.


def is_code(value: object) -> bool:
    return (
        isinstance(value, str)
        and 1 <= len(value) <= 64
        and not any(c.isspace() or unicodedata.category(c) == "Cc" for c in value)
    )


def instant(value: object) -> datetime | None:
    form = r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:[0-5]\d)"
    match = re.fullmatch(form, value.upper(), re.ASCII) if isinstance(value, str) else None
    if match is None:
        return None
    day, time, fraction, offset = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{time}.{(fraction or '').ljust(6, '0')[:6]}{offset}")
    except ValueError:
        return None


def is_instant(value: object) -> bool:
    return instant(value) is not None


def is_dated_instant(value: object) -> bool:
    found = instant(value)
    return found is not None and (
        epoch_us(FIRST_INSTANT) <= epoch_us(found) <= epoch_us(LAST_INSTANT)
    )


def is_day(value: object) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        return False
    try:
        return bool(date.fromisoformat(value))
    except ValueError:
        return False


def whole(low: int, high: int) -> Callable[[object], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high


def one_of(*choices: str) -> Callable[[object], bool]:
    return lambda v: isinstance(v, str) and v in choices


def is_bool(value: object) -> bool:
    return isinstance(value, bool)


def is_text(value: object) -> bool:
    return isinstance(value, str)


def or_null(rule: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda v: v is None or rule(v)


def is_ratio(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def is_sources(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) and v for v in value)


REVISION = whole(0, 2**31 - 1)
RULES: dict[Topic, dict[str, Callable[[object], bool]]] = {
    Topic.submissions: {
        "dossier": is_code,
        "agency": is_code,
        "service": is_code,
        "channel": or_null(one_of("online", "in_person", "postal")),
        "submitted_at": is_dated_instant,
        "due_at": or_null(is_instant),
        "revision": REVISION,
        "void": is_bool,
    },
    Topic.processing: {
        "dossier": is_code,
        "agency": is_code,
        "status": whole(2, 10),
        "at": is_dated_instant,
        "revision": REVISION,
        "void": is_bool,
    },
    Topic.catalogue: {
        "agency": is_code,
        "service": is_code,
        "name": or_null(is_text),
        "level": whole(1, 4),
        "eligible": is_bool,
        "listed": is_bool,
        "effective_from": is_day,
        "revision": REVISION,
    },
    Topic.agencies: {
        "agency": is_code,
        "name": is_text,
        "kind": one_of("ministry", "province"),
        "sources": is_sources,
    },
    Topic.targets: {
        "scope": is_code,
        "indicator": one_of("services_with_dossiers", "online_processed"),
        "year": whole(1900, 9999),
        "ratio": is_ratio,
    },
}
OPTIONAL = {
    Topic.submissions: {"channel", "due_at", "revision", "void"},
    Topic.processing: {"revision", "void"},
    Topic.catalogue: {"name", "revision"},
    Topic.agencies: set(),
    Topic.targets: set(),
}

timestamp_texts = st.one_of(
    st.builds(
        lambda local, sep, frac, offset: (
            local.strftime("%Y").rjust(4, "0")
            + local.strftime(f"-%m-%d{sep}%H:%M:%S")
            + frac
            + offset
        ),
        st.datetimes(),
        st.sampled_from(["T", "t", " ", "_", ""]),
        st.sampled_from(["", ".5", ".123456789", ".", ",5"]),
        st.sampled_from(["Z", "z", "+07:00", "-00:00", "+23:59", "-23:59", "+24:00", "+0700", ""]),
    ),
    st.builds(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}{:02}:{:02}".format,
        st.sampled_from([0, 1, 1900, 2022, 2024, 9999]),
        st.integers(0, 13),
        st.integers(0, 32),
        st.integers(0, 24),
        st.integers(0, 60),
        st.integers(0, 60),
        st.sampled_from("+-"),
        st.integers(0, 24),
        st.integers(0, 60),
    ),
    st.dates().map(str),
)
texts = st.text(
    st.sampled_from(
        "aZ09.-/_ĐồệỆ𝄞\u200b\ufeff\"'\\ \t\n\r\x00\x1c\x7f\x85\x9f\xa0\u2003\u2028\u3000"
    ),
    max_size=8,
)
codes = st.one_of(texts, st.text(st.sampled_from("aĐ"), min_size=60, max_size=66))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 12),
    st.integers(),
    st.sampled_from([2**31 - 1, 2**31, 10**25, 1899, 1900, 9999, 10_000]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1),
    codes,
    timestamp_texts,
    st.sampled_from(
        ["online", "in_person", "postal", "Online", "ministry", "province", "1", "true"]
    ),
    st.sampled_from(
        ["online_processed", "services_with_dossiers", "1641347998", "A" * 64, "A" * 65]
    ),
)
json_values = st.one_of(
    scalars,
    st.lists(texts | scalars, max_size=3),
    st.dictionaries(texts, scalars, max_size=3),
)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Topic, dict[str, Any]]:
    """A good event with up to three data fields replaced, removed or added."""
    topic = draw(event_topics)
    document = good(topic)
    names = st.sampled_from([*RULES[topic], "extra"])
    for name in draw(st.lists(names, max_size=3, unique=True)):
        if draw(st.booleans()) or name not in document["data"]:
            document["data"][name] = draw(json_values)
        else:
            del document["data"][name]
    return topic, document


def follows_the_rules(topic: Topic, data: dict[str, Any]) -> bool:
    rules = RULES[topic]
    return (
        data.keys() <= rules.keys()
        and rules.keys() - data.keys() <= OPTIONAL[topic]
        and all(rules[name](value) for name, value in data.items())
    )


@settings(max_examples=600)
@given(mutated())
def test_an_event_is_accepted_exactly_if_its_data_follow_the_contract(
    case: tuple[Topic, dict[str, Any]],
) -> None:
    topic, document = case
    verdict = decode(topic, wire(document))
    check_verdict(verdict)
    if follows_the_rules(topic, document["data"]):
        assert not isinstance(verdict, Rejection), verdict
    else:
        assert isinstance(verdict, Rejection), verdict
        assert verdict.reason is Reason.bad_data


@settings(max_examples=300)
@given(event_topics, st.data())
def test_each_single_field_is_judged_by_its_own_rule(topic: Topic, data: st.DataObject) -> None:
    document = good(topic)
    name = data.draw(st.sampled_from(list(RULES[topic])))
    document["data"][name] = data.draw(json_values)
    verdict = decode(topic, wire(document))
    accepted = RULES[topic][name](document["data"][name])
    assert isinstance(verdict, Rejection) is not accepted, verdict
    if isinstance(verdict, Rejection):
        assert verdict.detail.startswith(f"data.{name}")


@settings(max_examples=300)
@given(mutated())
def test_the_three_ways_to_carry_the_same_data_get_the_same_verdict(
    case: tuple[Topic, dict[str, Any]],
) -> None:
    topic, document = case
    structured = decode(topic, wire(document))
    as_binary = decode(topic, *binary(document))
    encoded = {k: v for k, v in document.items() if k != "data"}
    encoded["data_base64"] = b64encode(wire(document["data"])).decode()
    assert as_binary == structured
    assert decode(topic, wire(encoded)) == structured


@settings(max_examples=300)
@given(mutated(), topics)
def test_the_slow_path_accepts_what_the_fast_path_accepts(
    case: tuple[Topic, dict[str, Any]], topic: Topic
) -> None:
    value = wire(case[1])
    assert decode(topic, value) == _classify(topic, value, _STRUCTURED)


@given(topics, st.one_of(st.none(), st.binary(max_size=300)))
@example(Topic.submissions, b"1" * 5000)
@example(Topic.submissions, b"[" * 60_000)
@example(Topic.submissions, b'{"a":' * 10_000)
@example(Topic.submissions, b"-")
@example(Topic.submissions, b'"\\ud800"')
def test_no_bytes_make_the_decoder_raise(topic: Topic, value: bytes | None) -> None:
    verdict = decode(topic, value)
    check_verdict(verdict)
    assert isinstance(verdict, Rejection)


ODD_BYTES = [
    b"\xef\xbb\xbf",
    b"\xff",
    b"\x00",
    b"NaN",
    b"-Infinity",
    b'"\\ud800"',
    b"1e999",
    b"}",
    b"]",
]


@settings(max_examples=500)
@given(event_topics, st.data())
def test_a_good_event_with_damaged_bytes_is_judged_and_never_raises(
    topic: Topic, data: st.DataObject
) -> None:
    value = bytearray(wire(good(topic)))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(value)))
        end = data.draw(st.integers(start, min(len(value), start + 8)))
        value[start:end] = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from(ODD_BYTES)))
    raw = bytes(value)
    verdict = decode(topic, raw)
    check_verdict(verdict)
    assert verdict == _classify(topic, raw, _STRUCTURED)
    if not isinstance(verdict, Rejection):
        json.loads(raw.decode("utf-8"), parse_constant=pytest.fail)


@given(event_topics, st.lists(st.tuples(st.text(max_size=12), st.none() | st.binary(max_size=12))))
def test_no_headers_make_the_decoder_raise(
    topic: Topic, headers: list[tuple[str, bytes | None]]
) -> None:
    check_verdict(decode(topic, wire(good(topic)), headers))
    prefixed = [(f"ce_{name}", raw) for name, raw in headers]
    check_verdict(decode(topic, wire(good(topic)["data"]), prefixed))


envelope_values = json_values | st.sampled_from(["1.0", "", *TOPIC_OF_TYPE])


@settings(max_examples=400)
@given(event_topics, event_topics, st.data())
def test_reasons_come_in_the_contracts_order(
    topic: Topic, sent_to: Topic, data: st.DataObject
) -> None:
    document = good(topic)
    name = data.draw(st.sampled_from(["specversion", "id", "source", "type", "time", "data"]))
    document[name] = data.draw(envelope_values)
    verdict = decode(sent_to, wire(document))
    check_verdict(verdict)

    required = all(isinstance(document[n], str) and document[n] for n in ("id", "source", "type"))
    timed = document["time"] is None or is_instant(document["time"])
    payload = document["data"]
    if document["specversion"] != "1.0" or not required or not timed:
        expected: Reason | None = Reason.bad_envelope
    elif document["type"] not in TOPIC_OF_TYPE:
        expected = Reason.unknown_type
    elif TOPIC_OF_TYPE[document["type"]] is not sent_to:
        expected = Reason.wrong_topic
    elif not isinstance(payload, dict) or not follows_the_rules(sent_to, payload):
        expected = Reason.bad_data
    else:
        expected = None
    assert (verdict.reason if isinstance(verdict, Rejection) else None) == expected, verdict


def test_all_records_of_the_worked_example_are_events_under_their_keys() -> None:
    lines = [json.loads(line) for line in EXAMPLE_EVENTS.read_text("utf-8").splitlines()]
    assert len(lines) == 878
    for line in lines:
        verdict = decode(Topic(line["topic"]), wire(line["value"]))
        assert not isinstance(verdict, Rejection), verdict
        assert (verdict.id, verdict.key) == (line["value"]["id"], line["key"])


def test_the_fields_of_an_event_are_those_that_were_sent() -> None:
    verdict = decode(Topic.submissions, wire(good(Topic.submissions)))
    assert isinstance(verdict, SubmittedEvent)
    assert (verdict.source, verdict.type) == ("/portals/H56", "hoso.dossier.submitted.v1")
    assert verdict.time == datetime.fromisoformat("2022-01-05T09:00:00+07:00")
    assert verdict.data == Submitted(
        dossier="H56.14-220105-0001",
        agency="H56",
        service="1.004873",
        channel="online",
        submitted_at=datetime.fromisoformat("2022-01-05T08:59:58+07:00"),
        due_at=datetime.fromisoformat("2022-01-20T17:00:00+07:00"),
    )


def test_an_event_cannot_be_changed() -> None:
    verdict = decode(Topic.submissions, wire(good(Topic.submissions)))
    assert isinstance(verdict, SubmittedEvent)
    with pytest.raises(AttributeError):
        verdict.data.revision = 1  # type: ignore[misc]


@pytest.mark.parametrize("topic", [Topic.agency_months, Topic.dead_letters])
def test_no_event_belongs_on_a_topic_of_ours(topic: Topic) -> None:
    verdict = decode(topic, wire(good(Topic.submissions)))
    assert isinstance(verdict, Rejection)
    assert verdict.reason is Reason.wrong_topic


def test_size_comes_before_everything_else() -> None:
    verdict = decode(Topic.submissions, b"x" * (MAX_VALUE_BYTES + 1))
    assert isinstance(verdict, Rejection)
    assert verdict.reason is Reason.too_large


def test_a_rejection_names_the_agency_only_if_its_code_is_well_formed() -> None:
    document = good(Topic.submissions)
    document["data"]["channel"] = "fax"
    verdict = decode(Topic.submissions, wire(document))
    assert isinstance(verdict, Rejection)
    assert verdict.agency == "H56"
    document["data"]["agency"] = 'H56"} 1\n'
    verdict = decode(Topic.submissions, wire(document))
    assert isinstance(verdict, Rejection)
    assert verdict.agency is None


def test_of_a_header_given_twice_no_mode_picks_one() -> None:
    value, headers = binary(good(Topic.submissions))
    verdict = decode(Topic.submissions, value, [*headers, ("ce_id", b"another")])
    assert isinstance(verdict, Rejection)
    assert verdict.reason is Reason.bad_envelope
    assert verdict.detail == "header 'ce_id': given twice, expected once"


@given(st.decimals(0, 1, places=6, allow_nan=False))
def test_a_ratio_is_the_decimal_that_was_written(written: Any) -> None:
    document = good(Topic.targets)
    text = wire(document).replace(b"0.5", str(written).encode())
    verdict = decode(Topic.targets, text)
    assert not isinstance(verdict, Rejection), verdict
    assert isinstance(verdict.data, TargetAssigned)
    assert verdict.data.exact_ratio == Fraction(str(written))


@pytest.mark.parametrize("data", [Submitted, Processed, Listed, Registered, TargetAssigned])
def test_every_field_says_what_is_expected_of_it(data: type[Submitted]) -> None:
    assert {f"data.{field.name}" for field in fields(data)} <= EXPECTED.keys()


@pytest.mark.parametrize("data", [Submitted, Processed, Listed, Registered, TargetAssigned])
def test_data_have_a_json_schema_that_forbids_unknown_fields(data: type[Submitted]) -> None:
    schema = TypeAdapter(data).json_schema()
    assert schema["additionalProperties"] is False
    assert schema["properties"].keys() == {field.name for field in fields(data)}


@given(json_values)
@example("line\nline\u2028line\x85")
@example({"a": "\x85\u2029"})
def test_a_shown_value_is_short_and_on_one_line(value: object) -> None:
    shown = shorten(value)
    assert len(shown) <= LONGEST_VALUE
    assert shown.isprintable()
