"""Dashboards drawn by Grafana's UI library in Chromium, and what is to be seen on them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from streams.kafka.broker import die_with_parent

HERE = Path(__file__).parent
DASHBOARDS = HERE.parents[2] / "grafana" / "dashboards"
_CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
_NODE = 18


def missing() -> str | None:
    """What cannot be had here that drawing needs; None if nothing."""
    node = shutil.which("node")
    if node is None:
        return "Node.js (.ci/install-tools)"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < _NODE:
        return f"Node.js {_NODE} or later, this is {version.strip()} (.ci/install-tools)"
    if not _CHROMIUM.exists():
        return "Chromium (.ci/install-tools)"
    if not (HERE / "node_modules" / ".package-lock.json").exists():
        return "Grafana's UI library (make viewer)"
    return None


class Shot(NamedTuple):
    """What to draw: a dashboard at a moment (seconds since 1970), perhaps into a picture."""

    dashboard: str
    """``vi/nation``."""
    at: float
    width: int = 1600
    since: str = "now-90d"
    theme: str = "dark"
    rows: str = "open"
    """``open``: with the panels of collapsed rows; ``closed``: as one finds the page."""
    picture: Path | None = None
    """``.png`` or ``.webp``."""
    tall: int = 10_000
    """How much of the page is in the picture, at most."""
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """``vi/nation at 1600 px``."""
        return f"{self.dashboard} at {self.width} px"


class Drawn(NamedTuple):
    """What Grafana's UI library made of it."""

    shot: Shot
    panels: list[dict[str, Any]]
    """Each with ``title``, ``type``, ``asked`` (its queries: series, samples, seconds, error),
    ``cut`` (texts that are not whole), ``said`` (instead of data), ``legend`` (entries in sight)
    and ``lines``, ``columns`` or ``values``."""
    regions: int
    """Regions that annotations mark."""
    annotations: list[str]
    """The queries that gave them."""
    said: list[str]
    """On the browser's console."""


class Viewer:
    """Chromium with the page that draws; a context manager."""

    def __init__(self, prometheus: int, log: Path, dashboards: Path = DASHBOARDS) -> None:
        self._prometheus = prometheus
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                ["node", str(HERE / "look.mjs"), str(dashboards)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=die_with_parent(),
            )
        self._log = log

    def __enter__(self) -> Self:
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def draw(self, shots: Iterable[Shot]) -> list[Drawn]:
        """Draw them, some at a time."""
        all_shots = list(shots)
        assert self._process.stdin is not None
        for shot in all_shots:
            to = datetime.fromtimestamp(shot.at, UTC).isoformat()
            asked = {"dash": shot.dashboard, "from": shot.since, "to": to, "theme": shot.theme}
            asked |= {"rows": shot.rows} | {f"var-{name}": value for name, value in shot.variables}
            job = {
                "prometheus": self._prometheus,
                "query": urlencode(asked),
                "width": shot.width,
                "tall": shot.tall,
                "picture": str(shot.picture) if shot.picture else None,
            }
            self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        found = []
        for shot in all_shots:
            answer = self._answer()
            assert "failed" not in answer, f"{shot.name}: {answer['failed']}"
            regions = len(answer["regions"])
            drawn = Drawn(shot, answer["panels"], regions, answer["annotations"], answer["said"])
            found.append(drawn)
        return found

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the viewer ended:\n{self._log.read_text(errors='replace')[-3000:]}"
        answer: dict[str, Any] = json.loads(line)
        return answer
