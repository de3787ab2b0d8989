"""Two languages from one source, and the agencies' names, which metrics do not carry."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal, NamedTuple

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
    """Every agency, by name within its kind, ministries first.

    Fixed when the dashboards are generated: an agency registered later shows with its code.
    """
    with _AGENCIES.open(encoding="utf-8", newline="") as file:
        found = [Agency(row["code"], row["name"], row["kind"]) for row in csv.DictReader(file)]
    return sorted(found, key=lambda agency: (agency.kind, agency.name, agency.code))


GROUPS: dict[str, Text] = {
    "national": Text("Cả nước", "Nation"),
    "ministry": Text("Bộ, ngành", "Ministries"),
    "province": Text("Tỉnh, thành phố", "Provinces"),
}

SERVICES = Text("Dịch vụ có hồ sơ trực tuyến", "Services with online dossiers")
ONLINE = Text("Hồ sơ xử lý trực tuyến", "Dossiers processed online")
TARGET = Text("Mục tiêu", "Target")
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

DEFINITIONS: dict[str, str] = {"mic-2022": "3|4", "emc-2024": "4", "qd766": "1|2|3|4"}
"""Definition → the levels at which listed services are its denominator (docs/metrics.md)."""
