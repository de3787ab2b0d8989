"""Generate ``rules/agencies.yml``: the names of agencies and groups, for alerts and panels.

Workers export codes only. ``python prometheus/agencies.py`` writes the file from
``streams/data/agencies.csv``; a test compares.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from streams.domain.indicators import GROUP_NAMES, NATIONAL

HERE = Path(__file__).parent
AGENCIES = HERE.parent / "streams" / "data" / "agencies.csv"
RULES = HERE / "rules" / "agencies.yml"


def rules() -> str:
    """The rule file's text."""
    scopes = [
        (scope, "nation" if scope == NATIONAL else "group", name)
        for scope, name in GROUP_NAMES.items()
    ]
    with AGENCIES.open(encoding="utf-8", newline="") as file:
        scopes += [(row["code"], row["kind"], row["name"]) for row in csv.DictReader(file)]
    lines = [
        "# Written by prometheus/agencies.py from streams/data/agencies.csv; do not edit.",
        "groups:",
        "  - name: hoso-scopes",
        "    rules:",
    ]
    for scope, kind, name in scopes:
        labels = ", ".join(
            f"{label}: {json.dumps(value, ensure_ascii=False)}"
            for label, value in (("scope", scope), ("kind", kind), ("name", name))
        )
        lines += [
            "      - record: hoso_scope_info",
            "        expr: vector(1)",
            f"        labels: {{{labels}}}",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    RULES.write_text(rules(), encoding="utf-8")
