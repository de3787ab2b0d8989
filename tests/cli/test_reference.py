"""Reference data from files: what is sent, what is refused, and loading twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.cli.reference_files import Loader, files_in
from streams.kafka.partitioner import partition_for
from tests.cli.conftest import Hoso
from tests.cli.test_events import records_of

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
    # Services and targets alone: the agency is on the broker already.
    (directory / "agencies.csv").unlink()
    assert hoso("reference", "load", directory).exit_code == 0
    assert len(records_of(on_broker, f"{topic_prefix}catalogue")) == 4


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
