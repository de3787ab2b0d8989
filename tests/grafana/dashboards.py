"""The committed dashboards, as Grafana reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

DIRECTORY = Path(__file__).parents[2] / "grafana" / "dashboards"
FILES = sorted(DIRECTORY.glob("*/*.json"))


def name(path: Path) -> str:
    """``vi/nation``."""
    return f"{path.parent.name}/{path.stem}"


def loaded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels(path: Path) -> list[dict[str, Any]]:
    """Every panel that shows something, those of collapsed sections too; headings are left out."""
    found = []
    for panel in loaded(path)["panels"]:
        found += panel["panels"] if panel["type"] == "row" else [panel]
    return found


class Target(NamedTuple):
    """A query of a panel."""

    dashboard: str
    panel: str
    ref: str
    name: str
    expression: str
    instant: bool

    def with_variables(self, values: Mapping[str, str]) -> str:
        """The expression as Grafana would send it. Fails on a variable nobody has given."""
        return with_variables(self.expression, values)


def targets(path: Path) -> Iterator[Target]:
    for panel in panels(path):
        for target in panel["targets"]:
            yield Target(
                name(path),
                panel["title"],
                target["refId"],
                target["legendFormat"],
                target["expr"],
                target["instant"],
            )


def with_variables(text: str, values: Mapping[str, str]) -> str:
    """``$name`` and ``${name}`` replaced; ``$1`` belongs to PromQL."""

    def value(found: re.Match[str]) -> str:
        return values[found[1] or found[2]]

    return re.sub(r"\$(?:\{([a-z_]\w*)\}|([a-z_]\w*))", value, text)


VARIABLES = {
    "job": "hoso",
    "instance": ".*",
    "period": "year",
    "agency": "H56",
    "__rate_interval": "1m",
    "__interval": "1m",
    "__range": "1h",
}
