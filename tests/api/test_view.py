"""The API knows a worker by its view alone, the metrics know agencies alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import streams

ROOT = Path(streams.__file__).parent


@pytest.mark.parametrize(
    ("room", "unknown"),
    [
        ("api", {"runtime", "processing", "metrics", "cli"}),
        ("metrics", {"runtime", "processing", "views", "api", "cli"}),
    ],
)
def test_a_room_does_not_know_who_uses_it_not_even_for_a_type(room: str, unknown: set[str]) -> None:
    """Which the import contracts, that pass over imports for types, do not hold."""
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                assert not name.startswith(tuple(f"streams.{other}" for other in unknown)), path
