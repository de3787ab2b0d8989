"""Rows as bytes: what is written comes back the same, and what cannot be read is never guessed."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.dossier import UNKNOWN, Dossier, Step, Submission
from streams.domain.ledger import Month, Months
from streams.state import codecs as rows
from streams.state.codecs import AgencyMonth, UnreadableRowError
from tests.domain.register import Register
from tests.domain.worlds import World, worlds

_DOSSIER = Dossier(
    Submission(2, -1_000_000, "id", False, "1.004873", 0, None), {9: Step(0, 5, "x", True)}
)
_JSON = {
    "agency": "H56",
    "month": "2022-01",
    "last_event_at": 1641348000000,
    "latest_day": "2022-01-05",
    "columns": {"submitted_online": [0, 2, *([0] * 29)]},
}


@given(worlds())
def test_dossiers_and_services_come_back_as_they_were_written(world: World) -> None:
    register = Register(world.events)
    for state in register.dossiers.values():
        assert rows.decode_dossier(rows.encode_dossier(state)) == state
    for listings in register.services.values():
        for day, listing in listings.items():
            key, row = rows.listing_key(b"H56 1.0", day), rows.encode_listing(listing)
            assert rows.decode_listings(key, row) == (b"H56 1.0", {day: listing}, False)


@given(worlds(), st.none() | st.integers(0, 2**43), st.none() | st.dates())
def test_agency_months_come_back_as_they_were_written(
    world: World, last_event_at: int | None, latest: date | None
) -> None:
    latest_day = None if latest is None else latest.toordinal()
    for agency, ledger in Register(world.events).ledgers.items():
        for number, month in ledger.months.items():
            row = AgencyMonth(agency, number, last_event_at, latest_day, month)
            back = rows.decode_agency_month(rows.encode_agency_month(row))
            assert back[:4] == row[:4]
            assert back.cells.rows() == month.rows()
            assert back.cells.totals == month.totals


@given(worlds())
def test_reports_from_rows_read_back_equal_those_of_the_worker(world: World) -> None:
    """What another process computes from the public topic is what the worker computes."""
    register, reader = Register(world.events), Register(world.reference)
    for agency, ledger in register.ledgers.items():
        for number, month in ledger.months.items():
            row = AgencyMonth(agency, number, None, None, month)
            back = rows.decode_agency_month(rows.encode_agency_month(row))
            reader._ledger(back.agency).months[back.month] = back.cells
    for day in world.asked:
        for definition in ("mic-2022", "qd766", "emc-2024"):
            assert reader.report(day, "half", definition) == register.report(
                day, "half", definition
            )


def test_a_dossier_nobody_knows_and_one_with_everything_come_back() -> None:
    for state in (UNKNOWN, _DOSSIER, Dossier(None, _DOSSIER.steps)):
        assert rows.decode_dossier(rows.encode_dossier(state)) == state


def test_a_row_cut_short_anywhere_is_refused() -> None:
    whole = rows.encode_dossier(_DOSSIER)
    for length in range(len(whole)):
        with pytest.raises(UnreadableRowError):
            rows.decode_dossier(whole[:length])
    with pytest.raises(UnreadableRowError):
        rows.decode_dossier(whole + b"\x00")


@pytest.mark.parametrize(
    "decode", [rows.decode_dossier, lambda row: rows.decode_listings(b"H56 1.0 2022-01-05", row)]
)
@pytest.mark.parametrize(
    "row", [b"", b"\x03\x80", b"\x02\x80", b"{}", b"\x01", b"\x01\xc1", b"\x01\xa1x"]
)
def test_a_row_of_another_version_or_shape_is_refused(decode: Any, row: bytes) -> None:
    with pytest.raises(UnreadableRowError):
        decode(row)


@pytest.mark.parametrize(
    "changes",
    [
        {"month": "2022-13"},
        {"month": None},
        {"latest_day": "soon"},
        {"latest_day": 5},
        {"columns": None},
        {"columns": []},
        {"columns": {"submitted_online": 7}},
        {"columns": {"submitted_online": [1.5]}},
        {"columns": {"submitted_online": ["1"]}},
        {"columns": {"submitted_online": [0] * 32}},
    ],
)
def test_an_agency_month_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    assert rows.decode_agency_month(json.dumps(_JSON).encode()).agency == "H56"
    with pytest.raises(UnreadableRowError):
        rows.decode_agency_month(json.dumps({**_JSON, **changes}).encode())


@pytest.mark.parametrize("value", [b"", b"null", b"[]", b"7", b"{}", b"\xff"])
def test_a_value_that_is_no_agency_month_is_refused(value: bytes) -> None:
    with pytest.raises(UnreadableRowError):
        rows.decode_agency_month(value)


def test_the_public_row_is_plain_json_of_days() -> None:
    month = Month.from_rows({"submitted_online": [0, 0, 0, 0, 3], "submitted_in_person": [0]})
    row = AgencyMonth("H56", 2022 * 12, 1641348000000, date(2022, 1, 5).toordinal(), month)
    assert json.loads(rows.encode_agency_month(row)) == {
        **_JSON,
        "columns": {"submitted_online": [0, 0, 0, 0, 3, *([0] * 26)]},
    }


def test_columns_of_a_newer_version_are_left_alone() -> None:
    columns = {**_JSON["columns"], "invented_later": [1] * 31}  # type: ignore[dict-item]
    row = rows.decode_agency_month(json.dumps({**_JSON, "columns": columns}).encode())
    assert list(row.cells.rows()) == ["submitted_online"]


def test_a_month_adds_up_by_days() -> None:
    months = Months()
    for number, day, amount in ((24264, 1, 1), (24264, 31, 2), (24265, 28, 4), (24270, 15, 8)):
        month = months.setdefault(number, Month())
        month.cells.setdefault(0, [0] * 32)[day] += amount
        month.totals[0] += amount

    def total(start: str, end: str) -> int:
        days = (date.fromisoformat(text).toordinal() for text in (start, end))
        return months.total(*days)[0]

    assert total("2022-01-01", "2022-12-31") == 15
    assert total("2022-01-02", "2022-01-30") == 0
    assert total("2022-01-01", "2022-01-28") == 1
    assert total("2022-01-01", "2022-01-31") == 3
    assert total("2022-01-31", "2022-02-28") == 6
    assert total("2022-02-01", "2022-07-14") == 4
    assert total("2022-07-15", "2022-07-15") == 8
    assert total("2022-07-16", "2022-07-15") == 0
    assert total("0001-01-01", "9999-12-31") == 15


def test_keys_are_split_as_they_were_joined() -> None:
    assert rows.split_row_key(rows.row_key("H56", "H56.14-220105-0001")) == (
        "H56",
        "H56.14-220105-0001",
    )
    for agency in ("H56", "a/b", "Bộ"):
        key = rows.agency_month_key(agency, 2022 * 12)
        assert key.decode() == f"{agency}/2022-01"
        assert rows.split_agency_month_key(key) == (agency, 2022 * 12)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"H56",
        b"/2022-01",
        b"H56/2022-1",
        b"H56/2022-13",
        b"H56/0000-01",
        "H56/２０２２-01".encode(),
        b"H56/2022-01/",
        b"\xff/2022-01",
        b"~taken-in/hoso.submissions",
    ],
)
def test_a_key_that_names_no_month_of_an_agency_is_no_row(key: bytes) -> None:
    assert rows.split_agency_month_key(key) is None


def test_a_mark_names_its_topic_and_the_next_offset() -> None:
    key = rows.taken_in_key("hoso.submissions")
    assert key == b"~taken-in/hoso.submissions"
    assert rows.split_taken_in_key(key) == "hoso.submissions"
    assert rows.encode_taken_in(17) == b"17"
    assert rows.decode_taken_in(b"17") == 17


def test_a_month_of_an_agency_with_the_code_of_marks_is_no_mark() -> None:
    assert rows.split_taken_in_key(b"~taken-in/2022-01") is None
    assert rows.split_agency_month_key(b"~taken-in/2022-01") == ("~taken-in", 2022 * 12)


@pytest.mark.parametrize("value", [b"", b"-1", b"1.0", b" 1", b"9" * 5000, b"\xff"])
def test_a_mark_that_is_no_offset_says_nothing(value: bytes) -> None:
    assert rows.decode_taken_in(value) is None


def test_a_checkpoint_is_never_mistaken_for_a_dossier() -> None:
    assert rows.is_checkpoint(rows.checkpoint_key("hoso.submissions"))
    assert not rows.is_checkpoint(rows.row_key("H56", "D"))
