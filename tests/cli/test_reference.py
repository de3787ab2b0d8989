"""Reference data from files: what is sent, what is refused, and loading twice."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from schemas.decoder import decode
from schemas.events import ListedEvent
from schemas.topics import Topic
from streams.cli.reference_files import Loader, Row, files_in
from streams.cli.reference_known import Known, compare
from streams.cli.sending import Message
from streams.kafka.partitioner import partition_for
from tests.cli.conftest import Hoso
from tests.cli.test_events import records_of
from tests.domain.events import listed

AGENCIES = "code,name,kind,founded,sources\nH56,Thanh Hóa,province,1029,/portals/H56|/gate\n"
SERVICES = (
    "agency,service,name,level,eligible,listed,effective_from,revision\n"
    "H56,1.004873,Đăng ký,4,true,true,2021-01-01,\n"
    "H56,1.004874,,3,0,1,2021-01-01,2\n"
)
TARGETS = "scope,indicator,year,ratio\nnational,online_processed,2022,0.5\nH56,online_processed,2022,0.65\n"  # noqa: E501


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "agencies.csv").write_text(AGENCIES)
    (tmp_path / "services.csv").write_text(SERVICES)
    (tmp_path / "targets.csv").write_text(TARGETS)
    return tmp_path


def loaded(directory: Path) -> Loader:
    loader = Loader({})
    for sheet, path in files_in(directory):
        loader.load(sheet, path)
    return loader


def send(bootstrap: str, topic: str, key: bytes, value: bytes, headers: Any) -> None:
    async def sent() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
            await producer.send_and_wait(topic, key=key, value=value, headers=headers)

    asyncio.run(sent())


def faults(directory: Path) -> list[str]:
    return [str(fault).removeprefix(f"{directory}/") for fault in loaded(directory).faults]


def test_files_become_events(directory: Path) -> None:
    loader = loaded(directory)
    assert loader.faults == []
    data = [
        (m.topic.value, m.key.decode(), json.loads(m.value or b"")["data"]) for m in loader.messages
    ]
    service = {
        "agency": "H56", "service": "1.004873", "name": "Đăng ký", "level": 4, "eligible": True,
        "listed": True, "effective_from": "2021-01-01", "revision": 0,
    }  # fmt: skip
    second = service | {"service": "1.004874", "level": 3, "eligible": False, "revision": 2}
    del second["name"]
    target = {"scope": "national", "indicator": "online_processed", "year": 2022, "ratio": 0.5}
    assert data == [
        (
            "agencies",
            "H56",
            {
                "agency": "H56",
                "name": "Thanh Hóa",
                "kind": "province",
                "sources": ["/portals/H56", "/gate"],
            },
        ),
        ("catalogue", "H56", service),
        ("catalogue", "H56", second),
        ("targets", "national/online_processed/2022", target),
        ("targets", "H56/online_processed/2022", target | {"scope": "H56", "ratio": 0.65}),
    ]


def test_the_same_rows_become_the_same_bytes_and_others_other_ids(directory: Path) -> None:
    first, again = loaded(directory).messages, loaded(directory).messages
    assert first == again
    ids = [json.loads(message.value or b"")["id"] for message in first]
    assert len(set(ids)) == len(ids)
    (directory / "services.csv").write_text(SERVICES.replace("true,true", "true,false"))
    changed = [json.loads(message.value or b"")["id"] for message in loaded(directory).messages]
    assert [a == b for a, b in zip(ids, changed, strict=True)] == [True, False, True, True, True]


def test_an_agency_that_restricts_its_sources_is_spoken_for_as_one_of_them(
    directory: Path,
) -> None:
    services = [m for m in loaded(directory).messages if m.topic == "catalogue"]
    assert {json.loads(m.value or b"")["source"] for m in services} == {"/gate"}
    (directory / "agencies.csv").write_text(AGENCIES.replace("/gate", "/reference"))
    services = [m for m in loaded(directory).messages if m.topic == "catalogue"]
    assert {json.loads(m.value or b"")["source"] for m in services} == {"/reference"}


def test_services_may_lie_in_several_files_and_any_file_be_missing(directory: Path) -> None:
    (directory / "services").mkdir()
    (directory / "services.csv").rename(directory / "services" / "H56.csv")
    (directory / "targets.csv").unlink()
    assert [m.topic.value for m in loaded(directory).messages] == ["agencies"] + 2 * ["catalogue"]


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("agencies.csv", "province", "city", "2: kind: 'city' is not one of ministry, province"),
        ("agencies.csv", "H56,", "H 56,", "2: code: 'H 56' is not "),
        ("agencies.csv", ",kind", ",sort", "1: no column kind, expected code,name,kind[,sources]"),
        ("agencies.csv", "1029,", "1029,,", "2: 6 cells, expected 5 as in the first line"),
        ("services.csv", ",4,", ",5,", "2: level: 5 is not "),
        ("services.csv", ",4,", ",four,", "2: level: 'four' is not a whole number"),
        ("services.csv", "4,true", "4,yes", "2: eligible: 'yes' is not true or false"),
        ("services.csv", "2021-01-01,2", "1/1/2021,2", "3: effective_from: '1/1/2021' is not "),
        ("services.csv", ",revision", ",rev", "1: 'rev': unknown column, expected agency,"),
        ("services.csv", "H56,1.004874", "H26,1.004874", "3: agency: 'H26' is not registered"),
        ("services.csv", "1.004874,,3,0,1,2021-01-01,2", "1.004873,,3,0,1,2021-01-01,",
         "3: says again what services.csv:2 says"),
        ("targets.csv", "0.5", "50%", "2: ratio: '50%' is not a number from 0 to 1"),
        ("targets.csv", "0.5", "50", "2: ratio: 50.0 is not a number from 0 to 1"),
        ("targets.csv", "0.5", "nan", "2: ratio: "),
        ("targets.csv", "H56", "H65", "3: scope: 'H65' is not national, ministries, provinces or "),
        ("targets.csv", "H56", "national", "3: says again what targets.csv:2 says"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_file_line_column_and_what_was_expected(
    directory: Path, file: str, old: str, new: str, fault: str
) -> None:
    path = directory / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert faults(directory)[0].startswith(f"{file}:{fault}")


def test_a_spreadsheets_byte_order_mark_and_blank_lines_do_no_harm(directory: Path) -> None:
    (directory / "agencies.csv").write_text(f"{AGENCIES}\n,,,,\n", encoding="utf-8-sig")
    assert faults(directory) == []


def test_other_encodings_are_refused(directory: Path) -> None:
    (directory / "agencies.csv").write_text(AGENCIES, encoding="utf-16")
    assert faults(directory)[0].startswith("agencies.csv:1: not UTF-8: ")


@pytest.mark.broker
def test_everything_is_sent_to_its_topic(
    hoso: Hoso, on_broker: str, topic_prefix: str, directory: Path
) -> None:
    result = hoso("reference", "load", directory)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].split() == ["5", "sent"]
    for topic, count in (("agencies", 1), ("catalogue", 2), ("targets", 2)):
        records = records_of(on_broker, topic_prefix + topic)
        assert len(records) == count
        assert all(r.partition == partition_for(r.key, 4) for r in records)
    # Services and targets alone: the agency is on the broker already. So are they.
    (directory / "agencies.csv").unlink()
    again = hoso("reference", "load", directory)
    assert (again.exit_code, again.stderr) == (0, "")
    assert again.stdout.split() == ["4", "unchanged", "0", "sent"]
    assert len(records_of(on_broker, f"{topic_prefix}catalogue")) == 2


@pytest.mark.broker
def test_a_corrected_row_at_the_same_revision_is_named_with_the_way_to_correct_it(
    hoso: Hoso, on_broker: str, topic_prefix: str, directory: Path
) -> None:
    assert hoso("reference", "load", directory).exit_code == 0
    services = directory / "services.csv"
    services.write_text(SERVICES.replace("Đăng ký,4,true", "Đăng ký,3,true"))
    (directory / "targets.csv").write_text(TARGETS.replace("0.65", "0.7"))
    refused = hoso("reference", "load", directory)
    assert refused.exit_code == 1
    assert refused.stdout == (
        f"{services}:2: the register knows '1.004873' from 2021-01-01 otherwise at revision 0 "
        "(level 4, here 3); to correct it, give the row revision 1 in the column revision\n"
    )
    assert refused.stderr == f"{directory}: 1 known otherwise, nothing was sent\n"
    assert len(records_of(on_broker, f"{topic_prefix}targets")) == 2
    services.write_text(
        SERVICES.replace("Đăng ký,4,true,true,2021-01-01,", "Đăng ký,3,1,1,2021-01-01,1")
    )
    corrected = hoso("reference", "load", directory)
    assert (corrected.exit_code, corrected.stderr) == (0, "")
    assert [line.split()[:2] for line in corrected.stdout.splitlines()] == [
        ["3", "unchanged"],
        ["1", f"{topic_prefix}catalogue"],
        ["1", f"{topic_prefix}targets"],
        ["2", "sent"],
    ]


@pytest.mark.broker
def test_a_listing_that_was_rejected_is_not_known_and_is_sent_again(
    hoso: Hoso, on_broker: str, topic_prefix: str, directory: Path
) -> None:
    assert hoso("reference", "load", directory).exit_code == 0
    rejected = records_of(on_broker, f"{topic_prefix}catalogue")[0]
    headers = [
        *(("hoso-reason", b"unknown_agency"), ("hoso-topic", rejected.topic.encode())),
        *(("hoso-partition", b"%d" % rejected.partition), ("hoso-offset", b"%d" % rejected.offset)),
    ]
    send(on_broker, f"{topic_prefix}dead-letters", rejected.key, rejected.value, headers)
    again = hoso("reference", "load", directory)
    assert again.stdout.splitlines()[-1].split() == ["1", "sent"]


def row(event: dict[str, Any], line: int) -> Row:
    value = json.dumps(event["value"]).encode()
    decoded = decode(Topic.catalogue, value)
    assert isinstance(decoded, ListedEvent)
    return Row(Path("services.csv"), line, decoded, Message(Topic.catalogue, b"H56", value))


def test_a_file_with_the_history_of_a_service_is_known_as_a_whole() -> None:
    history = [row(listed(level=3), 2), row(listed(level=4, revision=1), 3)]
    known = Known()
    assert compare(history, known) == ([r.message for r in history], [])
    for each in history:
        assert isinstance(each.event, ListedEvent)
        known.listing(each.event)
    assert compare(history, known) == ([], [])
    # An earlier revision that the register has never seen is history too, but not the last word.
    late = [row(listed(level=2), 2), row(listed(level=1, revision=1), 3)]
    messages, faults = compare(late, known)
    assert messages == [late[0].message]
    assert [(f.line, "revision 2" in f.what) for f in faults] == [(3, True)]


def test_a_lower_revision_than_the_register_knows_is_named_unless_it_says_the_same() -> None:
    known = Known()
    newest = row(listed(level=4, revision=5), 2).event
    assert isinstance(newest, ListedEvent)
    known.listing(newest)
    assert compare([row(listed(level=4, revision=3), 2)], known)[1] == []
    assert len(compare([row(listed(level=3, revision=3), 2)], known)[1]) == 1


@pytest.mark.broker
def test_nothing_is_sent_if_anything_is_wrong(
    hoso: Hoso, on_broker: str, topic_prefix: str, directory: Path
) -> None:
    assert hoso("topics", "create").exit_code == 0
    (directory / "targets.csv").write_text(TARGETS.replace("0.5", "5"))
    result = hoso("reference", "load", directory)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{directory}/targets.csv:2: ratio: 5.0 is not ")
    assert result.stderr == f"{directory}: 1 bad, nothing was sent\n"
    assert records_of(on_broker, f"{topic_prefix}agencies") == []


@pytest.mark.broker
def test_a_directory_without_any_of_the_files_is_an_error(
    hoso: Hoso, on_broker: str, tmp_path: Path
) -> None:
    result = hoso("reference", "load", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {tmp_path}: no agencies.csv, ")
