"""Files of events: what is good, what is bad and where, and what is sent."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streams.kafka.offsets import end_offsets
from streams.kafka.partitioner import partition_for
from tests.cli.conftest import Hoso
from tests.cli.example import EVENTS


def submitted(agency: str = "H56", source: str | None = None, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "1",
        "source": source or f"/portals/{agency}",
        "type": "hoso.dossier.submitted.v1",
        "data": {
            "dossier": "1",
            "agency": agency,
            "service": "1.004873",
            "channel": "online",
            "submitted_at": "2022-01-05T08:59:58+07:00",
            **data,
        },
    }


def registered(agency: str, *sources: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "r",
        "source": "/reference",
        "type": "hoso.agency.registered.v1",
        "data": {
            "agency": agency,
            "name": f"Cơ quan {agency}",
            "kind": "province",
            "sources": list(sources),
        },
    }


def wrapped(value: Any, topic: str = "submissions", key: Any = "H56") -> dict[str, Any]:
    return {"topic": topic, "key": key, "value": value}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def write(file: Path, *lines: Any) -> Path:
    file.write_text(
        "".join(
            (x if isinstance(x, str) else json.dumps(x, ensure_ascii=False)) + "\n" for x in lines
        )
    )
    return file


def problems(hoso: Hoso, file: Path, *arguments: str) -> list[str]:
    """What validate names, without the file's name, and without the summary after it."""
    result = hoso("validate", file, *arguments)
    *named, summary = result.stdout.splitlines()
    assert result.exit_code == (1 if named else 0), result.output
    assert summary.startswith(f"{file}: ")
    return [line.removeprefix(f"{file}:") for line in named]


# Validate


def test_the_worked_example_is_good(hoso: Hoso) -> None:
    result = hoso("validate", EVENTS)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{EVENTS}: 878 good, 0 bad\n"


def test_standard_input_is_read_as_a_file(hoso: Hoso) -> None:
    result = hoso("validate", "-", stdin=json.dumps(submitted()) + "\n[]\n")
    assert result.exit_code == 1
    assert result.stdout == "-:2: bad_envelope: '[]' is not a JSON object\n-: 1 good, 1 bad\n"


def test_a_bare_event_needs_neither_topic_nor_key(hoso: Hoso, file: Path) -> None:
    assert problems(hoso, write(file, submitted(), "", submitted("H26"))) == []


def test_a_value_may_be_the_raw_text(hoso: Hoso, file: Path) -> None:
    lines = wrapped(json.dumps(submitted())), wrapped("not json"), wrapped("")
    assert [p.split(":")[:2] for p in problems(hoso, write(file, *lines))] == [
        ["2", " not_json"],
        ["3", " not_json"],
    ]


def test_a_null_value_removes_an_entry_of_reference_data_only(hoso: Hoso, file: Path) -> None:
    lines = (
        wrapped(None, "agencies"),
        wrapped(None, "targets", "H56/online_processed/2022"),
        wrapped(None, "submissions"),
        wrapped(None, "agencies", None),
    )
    assert problems(hoso, write(file, *lines)) == [
        "3: not_json: value: null, expected a JSON object",
        "4: bad_line: key: missing, expected the key of the entry to be removed",
    ]


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ("{", "not_json", "is not JSON"),
        ('{"value": {"a": tru}}', "not_json", "is not JSON"),
        ("7", "bad_envelope", "'7' is not a JSON object"),
        ("null", "bad_envelope", "'null' is not a JSON object"),
        (wrapped(submitted(), "nix"), "bad_line", "topic: 'nix' is not one of submissions, "),
        (wrapped(submitted(), "agency-months"), "bad_line", "topic: 'agency-months' is not one"),
        (wrapped(submitted(), 7), "bad_line", "topic: "),  # type: ignore[arg-type]
        (wrapped(submitted()) | {"headers": []}, "bad_line", "'headers': unknown member"),
        (wrapped(submitted(), key=7), "bad_line", "is not a string"),
        (wrapped(submitted(), key="H26"), "key_mismatch", "key: 'H26' is not 'H56'"),
        (wrapped(submitted(), key=None), "key_mismatch", "key: null is not 'H56'"),
        (wrapped(7), "bad_envelope", ""),
        (wrapped(submitted(), "processing"), "wrong_topic", "belongs on submissions"),
        ({"specversion": "1.0"}, "bad_envelope", "missing"),
        (submitted() | {"type": "hoso.nix.v1"}, "unknown_type", "hoso.nix.v1"),
        (submitted(revision=-1), "bad_data", "data.revision: -1"),
        (submitted(submitted_at="2022-01-05T08:59:58"), "bad_data", "data.submitted_at"),
        (submitted(dossier="x" * 70_000), "too_large", "bytes, expected at most 65536"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_with_its_number_reason_and_detail(
    hoso: Hoso, file: Path, line: Any, reason: str, detail: str
) -> None:
    (problem,) = problems(hoso, write(file, submitted(), line, submitted()))
    assert problem.startswith(f"2: {reason}: ")
    assert detail in problem


def test_text_that_is_not_utf8_is_named(hoso: Hoso, file: Path) -> None:
    file.write_bytes(b'{"value": "\xff"}\n' + json.dumps(submitted()).encode() + b"\n")
    (problem,) = problems(hoso, file)
    assert problem.startswith("1: ")


def test_a_portal_whose_clock_runs_ahead_is_named(hoso: Hoso, file: Path) -> None:
    now = datetime.now(UTC)
    near, far = ((now + timedelta(minutes=m)).isoformat() for m in (4, 7))
    (problem,) = problems(
        hoso, write(file, submitted(submitted_at=near), submitted(submitted_at=far))
    )
    assert problem.startswith("2: future_time: data.submitted_at: ")


def test_the_topic_option_is_for_lines_that_name_none(hoso: Hoso, file: Path) -> None:
    write(file, submitted(), wrapped(submitted()), {"value": submitted()})
    assert [p.split(":")[:2] for p in problems(hoso, file, "--topic", "processing")] == [
        ["1", " wrong_topic"],
        ["3", " wrong_topic"],
    ]


def test_agencies_are_not_judged_when_the_file_registers_none(hoso: Hoso, file: Path) -> None:
    assert problems(hoso, write(file, submitted("H1"), submitted("H2", source="/else"))) == []


def test_from_the_first_registration_on_agencies_and_sources_are_judged(
    hoso: Hoso, file: Path
) -> None:
    lines = (
        registered("H56", "/portals/H56"),
        submitted("H56"),
        submitted("H56", source="/portals/H26"),
        submitted("H26"),
        wrapped(None, "agencies"),
        submitted("H56"),
    )
    assert problems(hoso, write(file, *lines)) == [
        "3: source_not_allowed: source: '/portals/H26' may not speak for H56, only '/portals/H56'",
        "4: unknown_agency: data.agency: 'H26' is not registered",
        "6: unknown_agency: data.agency: 'H56' is not registered",
    ]


# Publish


async def _records(bootstrap: str, topic: str, partitions: int) -> list[ConsumerRecord[Any, Any]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        tps = [TopicPartition(topic, n) for n in range(partitions)]
        consumer.assign(tps)
        ends = await end_offsets(consumer, tps)
        found: list[ConsumerRecord[Any, Any]] = []
        async with asyncio.timeout(20):
            while len(found) < sum(ends.values()):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += records
        return found
    finally:
        await consumer.stop()


def records_of(bootstrap: str, topic: str, partitions: int = 4) -> list[ConsumerRecord[Any, Any]]:
    """Everything on a topic, in order within each partition."""
    return asyncio.run(_records(bootstrap, topic, partitions))


@pytest.mark.broker
def test_a_good_file_is_sent_with_the_right_keys_and_in_order(
    hoso: Hoso, on_broker: str, topic_prefix: str
) -> None:
    result = hoso("publish", EVENTS)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [json.loads(line) for line in EVENTS.read_text().splitlines()]
    counts = Counter(line["topic"] for line in lines)
    told = {line.split()[1]: line.split()[0] for line in result.stdout.splitlines()}
    assert told == {f"{topic_prefix}{t}": str(n) for t, n in counts.items()} | {"sent": "878"}
    for topic in counts:
        expected: dict[str, list[Any]] = {}
        for line in lines:
            if line["topic"] == topic:
                expected.setdefault(line["key"], []).append(line["value"])
        found: dict[str, list[Any]] = {}
        for record in records_of(on_broker, topic_prefix + topic):
            assert record.partition == partition_for(record.key, 4)
            assert record.headers == (("content-type", b"application/cloudevents+json"),)
            found.setdefault(record.key.decode(), []).append(json.loads(record.value))
        assert found == expected


@pytest.mark.broker
def test_nothing_is_sent_if_any_line_is_bad(
    hoso: Hoso, on_broker: str, topic_prefix: str, file: Path
) -> None:
    assert hoso("topics", "create").exit_code == 0
    write(file, registered("H56"), submitted(), submitted(level=4), submitted(), "{")
    result = hoso("publish", file)
    assert result.exit_code == 1
    assert [line.split(": ")[:2] for line in result.stdout.splitlines()] == [
        [f"{file}:3", "bad_data"],
        [f"{file}:5", "not_json"],
    ]
    assert result.stderr == f"{file}: 2 bad, nothing was sent\n"
    for topic in ("agencies", "submissions"):
        assert records_of(on_broker, topic_prefix + topic) == []


@pytest.mark.broker
def test_agencies_on_the_broker_count_as_registered(
    hoso: Hoso, on_broker: str, topic_prefix: str, file: Path
) -> None:
    assert hoso("publish", write(file, registered("H56", "/portals/H56"))).exit_code == 0
    assert hoso("publish", write(file, submitted("H56"))).exit_code == 0
    assert len(records_of(on_broker, f"{topic_prefix}submissions")) == 1
    write(file, submitted("H56", source="/else"), submitted("H26"))
    for command in (("publish",), ("validate", "--registered")):
        result = hoso(*command, file)
        assert result.exit_code == 1
        assert "1: source_not_allowed: " in result.stdout
        assert "2: unknown_agency: " in result.stdout


@pytest.mark.broker
def test_the_bytes_of_a_value_are_sent_as_they_stand(
    hoso: Hoso, on_broker: str, topic_prefix: str, file: Path
) -> None:
    value = json.dumps(registered("H56")).replace(": ", " :  ")
    write(file, f'{{"topic": "agencies", "key": "H56", "value": {value}}}')
    with file.open("a") as lines:
        lines.write(json.dumps(wrapped(value, "agencies")) + "\n")
        lines.write(value + "\n")
        lines.write(json.dumps(wrapped(None, f"{topic_prefix}agencies")) + "\n")
    assert hoso("publish", file).exit_code == 0
    sent = [record.value for record in records_of(on_broker, f"{topic_prefix}agencies")]
    assert sent == [value.encode()] * 3 + [None]


@pytest.mark.broker
def test_topics_are_not_created_against_the_setting(
    hoso: Hoso,
    on_broker: str,
    topic_prefix: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOSO_CREATE_TOPICS", "false")
    result = hoso("publish", write(file, registered("H56")))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: no such topic: {topic_prefix}submissions, ")
    assert "`hoso topics create`" in result.stderr
