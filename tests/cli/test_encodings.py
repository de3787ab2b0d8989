"""Where the output takes ASCII or Latin-1 only, names are written escaped, and nothing fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Hoso

DATA = Path(__file__).parents[2] / "streams" / "data"

NARROW = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "the C locale": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


def _run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "streams", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
    )


@pytest.mark.broker
@pytest.mark.parametrize("narrow", NARROW)
def test_figures_are_written_whatever_the_output_takes(
    hoso: Hoso, on_broker: str, narrow: str
) -> None:
    assert hoso("reference", "load", DATA).exit_code == 0
    for form in ("table", "json", "csv"):
        result = _run(NARROW[narrow], "report", "--format", form)
        assert (result.returncode, result.stderr) == (0, b"")
        assert b"\\u1ed9" in result.stdout  # the o of Nội
        if form == "table":
            rows = [line for line in result.stdout.splitlines() if line.startswith(b"|")]
            assert len(rows) > 90
            assert len({len(row) for row in rows}) == 1, "columns are aligned"
    narrowed = json.loads(_run(NARROW[narrow], "report", "--format", "json").stdout)
    assert any(row["name"] == "Hà Nội" for row in narrowed["rows"])


@pytest.mark.parametrize("narrow", NARROW)
def test_help_and_errors_are_written_whatever_the_output_takes(narrow: str) -> None:
    assert _run(NARROW[narrow], "--help").returncode == 0
    wrong = _run({**NARROW[narrow], "HOSO_DEFINITION": "Hà Nội"}, "report")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(b"error: HOSO_DEFINITION: ")
    assert wrong.stderr.count(b"\n") == 1
