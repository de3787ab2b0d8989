"""The audit's own reading of records, held against the examples and against the worker's."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from schemas.admission import admit
from schemas.decoder import Rejection, decode
from schemas.events import ListedEvent, ProcessedEvent, SubmittedEvent
from schemas.topics import Topic
from streams.audit.contract import (
    Headers,
    Listing,
    Read,
    RefusedError,
    Registration,
    Step,
    Submission,
    read,
)
from tests.schemas.samples import good, wire
from tests.schemas.test_examples import AGENCIES, FEBRUARY_2022_MS, load, value_of
from tests.schemas.test_examples import FILES as EXAMPLES

# How deep a parser goes is no rule of the contract.
FILES = [path for path in EXAMPLES if path.stem != "not_json-nested-too-deep"]

ON_REGISTRATIONS = {"unknown_agency", "source_not_allowed"}


def verdict(
    topic: str, key: bytes | None, value: bytes | None, headers: Headers, at_ms: int | None
) -> Read | str:
    try:
        return read(topic, key, value, headers, at_ms)
    except RefusedError as refused:
        return str(refused)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_example_record_is_read_as_its_file_says(path: Any) -> None:
    example = load(path)
    headers = {name: text.encode() for name, text in example["headers"].items()}
    headers |= {
        name: value_of({"value_base64": text})
        for name, text in example.get("headers_base64", {}).items()
    }
    key = example["key"]
    found = verdict(
        example["topic"],
        None if key is None else key.encode(),
        value_of(example),
        list(headers.items()),
        example.get("timestamp_ms", FEBRUARY_2022_MS),
    )
    reason = example["expect"].get("reason")
    if reason in ON_REGISTRATIONS:
        # Not the reader's to judge; what it does see is the source and, later in order, the clock.
        assert found == "future_time" or (
            isinstance(found, Read)
            and found.source not in example.get("agencies", AGENCIES).get(found.said.agency, ())
        )
    elif reason is not None:
        assert found == reason
    else:
        assert isinstance(found, Read)
        for name, value in example["expect"]["data"].items():
            said = _as_in_examples(found.said)
            assert name not in said or said[name] == value, name


def _as_in_examples(said: Any) -> dict[str, Any]:
    fields = said._asdict()
    if isinstance(said, Submission):
        fields |= {"submitted_at_us": said.at, "due_at_us": said.due_at}
        fields |= {"channel_or_default": ("online", "in_person", "postal")[said.channel]}
        del fields["channel"], fields["due_at"]
    elif isinstance(said, Step):
        fields["at_us"] = fields.pop("at")
    elif isinstance(said, Listing):
        del fields["effective_from"], fields["name"]
    elif isinstance(said, Registration):
        del fields["sources"]
    return fields


def test_both_readers_agree_on_ten_thousand_damaged_records() -> None:
    seed = Random().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    random = Random(seed)
    accepted = 0
    for _ in range(10_000):
        topic = random.choice(list(Topic)[:5])
        document = good(topic)
        for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
            _damage(random, document)
        key = b"H56" if topic != Topic.targets else b"national/online_processed/2022"
        headers: list[tuple[str, bytes | None]] = []
        if random.random() < 0.2:
            attributes = {n: v for n, v in document.items() if n != "data" and isinstance(v, str)}
            headers = [(f"ce_{n}", v.encode()) for n, v in attributes.items()]
            value = wire(document.get("data"))
        else:
            value = wire(document)
        if random.random() < 0.1:
            at = random.randrange(len(value))
            value = value[:at] + bytes([random.randrange(256)]) + value[at + 1 :]
        if random.random() < 0.05:
            left = 65_536 - len(key) - sum(len(n) + len(v or b"") for n, v in headers)
            headers.append(("x", b"y" * (left - 1 + random.randrange(2))))
        elif random.random() < 0.05:
            headers += [("", None)] * random.choice((65_000, 65_534, 65_536))
        at_ms: int | None = random.choice(
            (
                *(FEBRUARY_2022_MS, 1_641_347_697_998, 1_641_347_697_997, 0),
                *(None, -1, 1_795_680_000_000_000, 2**63 - 1),
            )
        )
        ours = verdict(topic, key, value, headers, at_ms)
        theirs = decode(topic, value, headers, key)
        if not isinstance(theirs, Rejection):
            theirs = admit(theirs, key, at_ms, {"H56": frozenset()}) or theirs
        where = f"{topic} {headers} {value!r} at {at_ms}"
        if isinstance(theirs, Rejection):
            assert ours == theirs.reason, where
            continue
        accepted += 1
        assert isinstance(ours, Read), (ours, where)
        assert ours.source == theirs.source
        if isinstance(theirs, SubmittedEvent):
            assert isinstance(ours.said, Submission)
            assert (ours.said.at, ours.said.due_at, ours.said.id) == (
                theirs.data.submitted_at_us,
                theirs.data.due_at_us,
                theirs.id,
            ), where
        elif isinstance(theirs, ProcessedEvent):
            assert isinstance(ours.said, Step)
            assert (ours.said.at, ours.said.status) == (theirs.data.at_us, theirs.data.status)
        elif isinstance(theirs, ListedEvent):
            assert isinstance(ours.said, Listing)
            day = theirs.data.effective_from.toordinal() - 719_163
            assert (ours.said.effective_from, ours.said.level) == (day, theirs.data.level)
    assert 1_000 < accepted < 9_000


_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 4, 10, 11, 1.0, 0.5, 2**31 - 1, 2**31, 10**30, 1e308),
    *("", " ", "H56", "x" * 64, "x" * 65, "a b", "a\u00a0b", "a\u0085b", "a\u001cb", "đường"),
    *(
        "online",
        "postal",
        "province",
        "ministry",
        "national",
        "ministries",
        "n" * 500,
        "n" * 501,
        "1.0",
        [],
        {},
        ["/portals/H56"],
        [""],
    ),
    *("2022-01-05T08:59:58+07:00", "2022-01-05t08:59:58.123456789z", "2022-01-05T08:59:58-00:00"),
    *("2022-01-05T08:59:58+23:59", "2022-01-05T08:59:58+24:00", "2022-01-05T08:59:58+07:60"),
    *("2022-01-05T24:00:00Z", "2022-01-05T23:59:60Z", "2022-02-30T00:00:00Z", "2022-01-05"),
    *("0001-01-01T00:00:00+07:00", "0001-01-01T00:00:00+07:01", "2022-01-05T08:59Z"),
    *("9999-12-31T23:59:59.999999+07:00", "2022-01-05\n"),
    *(
        "9999-12-31T23:59:59-07:00",
        "0000-01-01T00:00:00Z",
        "2022-01-05 08:59:58Z",
        "2022-01-05T08:59Z",
    ),
    *(
        "2024-02-29",
        "2023-02-29",
        "20220105",
        "2022-1-5",
        "0001-01-01",
        "9999-12-31",
        "2022-01-05\n",
    ),
    *("hoso.dossier.submitted.v1", "hoso.dossier.processed.v1", "hoso.service.listed.v2"),
    *("2022-01-05T08:59:58+07:00\n", "２022-01-05T08:59:58+07:00", "2022-01-05T08:59:58,5+07:00"),
)


def _damage(random: Random, document: dict[str, Any]) -> None:
    data = document.get("data")
    part: dict[str, Any] = document
    if isinstance(data, dict) and random.random() < 0.8:
        part = data
    name = random.choice([*part, "unheard_of"])
    if random.random() < 0.15:
        part.pop(name, None)
    elif random.random() < 0.1 and part is document:
        part["data_base64"] = random.choice((None, "e30=", "eyJhIjogMX0=", "!", 7))
    else:
        part[name] = random.choice(_ODD)
