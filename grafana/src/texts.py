"""Two languages from one source, and the agencies' names, which metrics do not carry."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal, NamedTuple

from streams.domain.names import in_order

Language = Literal["vi", "en"]
LANGUAGES: tuple[Language, ...] = ("vi", "en")

_AGENCIES = Path(__file__).parents[2] / "streams" / "data" / "agencies.csv"


class Text(NamedTuple):
    """The same words in Vietnamese and in English."""

    vi: str
    en: str

    def of(self, language: Language) -> str:
        return self.vi if language == "vi" else self.en


class Agency(NamedTuple):
    """An agency as the reference data names it; names are not translated."""

    code: str
    name: str
    kind: str


def agencies() -> list[Agency]:
    """Every agency, by name as Vietnamese dictionaries have it within its kind, ministries first.

    Fixed when the dashboards are generated: an agency registered later shows with its code.
    """
    with _AGENCIES.open(encoding="utf-8", newline="") as file:
        found = [Agency(row["code"], row["name"], row["kind"]) for row in csv.DictReader(file)]
    return sorted(found, key=lambda agency: (agency.kind, in_order(agency.name), agency.code))


GROUPS: dict[str, Text] = {
    "national": Text("Cả nước", "Nation"),
    "ministry": Text("Bộ, ngành", "Ministries"),
    "province": Text("Tỉnh, thành phố", "Provinces"),
}

SERVICES = Text("DVC trực tuyến phát sinh hồ sơ", "Services with online dossiers")
ONLINE = Text("Hồ sơ xử lý trực tuyến", "Dossiers processed online")
SHORT = {
    "services_with_dossiers": Text("DVC", "services"),
    "online_processed": Text("hồ sơ", "dossiers"),
}
"""Indicator → one word where there is no room for its name."""
NOW = Text("Hiện nay", "Now")
TARGET = Text("Mục tiêu", "Target")
PACE = Text("Tiến độ cần có", "Pace")
LAST_YEAR = Text("Cùng kỳ năm trước", "Same day last year")
AGENCY = Text("Cơ quan", "Agency")

PERIODS: dict[str, Text] = {
    "year": Text("Năm", "Year"),
    "half": Text("Nửa năm", "Half-year"),
    "quarter": Text("Quý", "Quarter"),
    "month": Text("Tháng", "Month"),
}

CHANNELS: dict[str, Text] = {
    "online": Text("Trực tuyến", "Online"),
    "in_person": Text("Trực tiếp", "In person"),
    "postal": Text("Bưu chính", "By post"),
}
