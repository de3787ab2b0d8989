"""Names: found with and without diacritics, and sorted as Vietnamese dictionaries sort them."""

from __future__ import annotations

from random import Random
from unicodedata import normalize

import pytest

from streams.domain.indicators import Agency
from streams.domain.names import (
    AmbiguousNameError,
    UnknownAgencyError,
    find,
    fold,
    in_order,
    matches,
)
from streams.simulator.agencies import agencies

AGENCIES = [
    Agency(agency.code, agency.name, "ministry" if agency.kind == "ministry" else "province")
    for agency in agencies()
]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("H26", "H26"),
        ("h26", "H26"),
        ("Hà Nội", "H26"),
        ("ha noi", "H26"),
        ("HA  NOI ", "H26"),
        ("tp ha noi", "H26"),
        ("thành phố Hà Nội", "H26"),
        (normalize("NFD", "Hà Nội"), "H26"),
        ("thanh hoa", "H56"),
        ("Thanh Hoá", "H56"),  # the older place of the tone
        ("tỉnh Thanh Hóa", "H56"),
        ("dak lak", "H15"),
        ("ho chi minh", "H29"),
        ("TP. Hồ Chí Minh", "H29"),
        ("ba ria vung tau", "H06"),
        ("ba ria", "H06"),
        ("bo y te", "G18"),
        ("y te", "G18"),
        ("thua thien", "H57"),
        ("cong thuong", "G02"),
    ],
)
def test_a_name_or_a_code_finds_its_agency(text: str, code: str) -> None:
    assert find(AGENCIES, text).code == code


def test_every_agency_is_found_by_its_name_without_diacritics_and_by_its_code() -> None:
    for agency in AGENCIES:
        assert find(AGENCIES, agency.name) == agency
        assert find(AGENCIES, fold(agency.name)) == agency
        assert find(AGENCIES, agency.code.lower()) == agency


def test_an_ambiguous_name_lists_the_candidates_in_order() -> None:
    with pytest.raises(AmbiguousNameError) as error:
        find(AGENCIES, "quang")
    assert [agency.name for agency in error.value.candidates] == [
        "Quảng Bình",
        "Quảng Nam",
        "Quảng Ngãi",
        "Quảng Ninh",
        "Quảng Trị",
        "Tuyên Quang",
    ]
    assert str(error.value).startswith("'quang' may be any of: H46 Quảng Bình, H47 Quảng Nam")


def test_diacritics_that_are_given_decide_between_names_that_differ_by_them_alone() -> None:
    twins = [Agency("A", "Hòa Bình", "province"), Agency("B", "Hỏa Bình", "province")]
    assert find(twins, "Hỏa Bình").code == "B"
    with pytest.raises(AmbiguousNameError):
        find(twins, "hoa binh")


@pytest.mark.parametrize("text", ["atlantis", "", " ", "-", "oi"])
def test_what_names_nobody_is_unknown(text: str) -> None:
    with pytest.raises(UnknownAgencyError):
        find(AGENCIES, text)


def test_a_code_goes_before_every_name_and_is_taken_as_it_is() -> None:
    odd = [Agency("-", "Hà Nội", "province"), Agency("x", "-", "province")]
    assert find(odd, "-").code == "-"
    cases = [Agency("ab", "1", "province"), Agency("AB", "2", "province")]
    assert find(cases, "AB").name == "2"
    with pytest.raises(AmbiguousNameError):
        find(cases, "Ab")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", 91),
        (" ", 91),
        ("-", 0),
        ("quảng", 6),
        ("QUANG", 6),
        ("G1", 10),
        ("noi", 3),  # Bộ Nội vụ, Đài Tiếng nói Việt Nam, Hà Nội
        ("ội", 0),  # inside a word
        ("<script>", 0),
    ],
)
def test_filters_by_the_beginning_of_words_or_of_the_code(text: str, shown: int) -> None:
    assert len([agency for agency in AGENCIES if matches(agency.code, agency.name, text)]) == shown


def test_names_are_sorted_as_vietnamese_dictionaries_do() -> None:
    expected = [
        *("2 tháng 9", "an", "án", "ang", "ăn", "ân", "Bạc Liêu", "Bắc Giang", "Cần Thơ"),
        *("Da Cam", "Đà Lạt", "Đà Nẵng", "Đắk Lắk", "Đắk Nông", "em", "ém", "êm", "Lào Cai"),
        *("ma", "mà", "mả", "mã", "má", "mạ", "oan", "ôn", "ơn", "um", "ừm", "y tế", "Ωμέγα"),
    ]
    shuffled = Random(1).sample(expected, len(expected))
    assert sorted(shuffled, key=in_order) == expected
    assert in_order(normalize("NFD", "Đắk Lắk"))[:2] == in_order("Đắk Lắk")[:2]
    provinces = sorted((a.name for a in AGENCIES if a.kind == "province"), key=in_order)
    assert provinces[:8] == [
        "An Giang",
        "Bà Rịa - Vũng Tàu",
        "Bạc Liêu",
        "Bắc Giang",
        "Bắc Kạn",
        "Bắc Ninh",
        "Bến Tre",
        "Bình Dương",
    ]
    assert provinces.index("Gia Lai") - provinces.index("Đồng Tháp") == 1
    assert provinces.index("Điện Biên") - provinces.index("Đắk Nông") == 1
