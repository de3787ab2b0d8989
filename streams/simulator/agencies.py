"""The 91 agencies of reference/agencies.csv and what is chosen of each: its size and its habits."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Final, NamedTuple


class Agency(NamedTuple):
    """An agency as it registers: code, name and kind (`ministry` or `province`)."""

    code: str
    name: str
    kind: str


def agencies() -> tuple[Agency, ...]:
    """All agencies, by code."""
    text = files("streams").joinpath("data/agencies.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(sorted(Agency(row["code"], row["name"], row["kind"]) for row in rows))


# How many dossiers an agency receives beside the others of its kind (chosen; 1 where not named).
TRAFFIC: Final = {
    "G01": 4.0, "G02": 3.0, "G04": 2.5, "G12": 3.0, "G24": 4.0, "G20": 0.2, "G21": 0.2,
    "G27": 0.05, "G28": 0.05, "G30": 0.05, "G34": 0.05, "G36": 0.1,
    "H29": 6.0, "H26": 5.0, "H17": 2.0, "H24": 2.0, "H13": 1.8, "H19": 2.2, "H09": 2.2,
}  # fmt: skip

# How many services a ministry has beside the others (chosen; 1 where not named).
SERVICES: Final = {
    "G02": 1.5, "G04": 1.6, "G10": 1.3, "G18": 1.4, "G20": 0.3, "G21": 0.3, "G22": 0.3,
    "G27": 0.15, "G28": 0.15, "G30": 0.15, "G34": 0.2, "G36": 0.25,
}  # fmt: skip
