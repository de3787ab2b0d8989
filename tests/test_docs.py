"""The README and the docs speak of what there is, and of nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from streams.cli import main
from streams.settings import Settings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_documented_and_no_other() -> None:
    table = README[README.index("### Settings") : README.index("## Work on it")]
    documented = set(re.findall(r"`(HOSO_[A-Z_]+)`", table))
    assert documented == {f"HOSO_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_documented_default_is_the_default(name: str) -> None:
    default = Settings.model_fields[name].default
    row = next(
        line
        for line in README.splitlines()
        if line.startswith("|") and f"`HOSO_{name.upper()}`" in line
    )
    shown = row.split("|")[2].strip().strip("`")
    if default is None:
        assert shown == "–"
    elif isinstance(default, bool):
        assert shown == str(default).lower()
    elif isinstance(default, Path):
        assert Path(shown) == default
    else:
        assert shown == str(default)


def _commands(group: click.Group, prefix: str = "hoso") -> set[str]:
    found = set()
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= _commands(command, f"{prefix} {name}")
        else:
            found.add(f"{prefix} {name}")
    return found


def test_every_command_is_documented_and_no_other() -> None:
    table = README[README.index("### Commands") : README.index("### Settings")]
    documented = {
        re.sub(r" (--)?[A-Z].*| --.*", "", row)
        for row in re.findall(r"^\| `(hoso [^`]+)`", table, re.M)
    }
    assert documented == _commands(main)


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")),
    ],
)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert not missing


def test_every_page_is_linked_from_the_readme() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"\]\((docs/[^)#]+)\)", README))


def test_every_name_of_the_code_in_the_glossary_is_one() -> None:
    table = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    files = [p for package in ("schemas", "streams") for p in (ROOT / package).rglob("*.py")]
    words = set(re.findall(r"\w+", " ".join(p.read_text(encoding="utf-8") for p in files)))
    cells = [row.split(" | ")[2] for row in table.splitlines() if row.count(" | ") == 2]
    names = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert len(names) > 40
    assert names <= words


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in DOCS.glob("*.md"))]
)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:streams|schemas|tests|docs|prometheus|grafana)/[\w./-]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_file_that_a_decision_names_is_there() -> None:
    """An ADR that names a file which is gone says what no longer holds."""
    missing = []
    for page in sorted((DOCS / "adr").glob("*.md")):
        for path in re.findall(
            r"`((?:streams|schemas|tests)/[\w./-]+)`", page.read_text(encoding="utf-8")
        ):
            if not (ROOT / path).exists():
                missing.append((page.name, path))
    assert missing == []


def test_every_make_target_that_a_page_names_is_one() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        target
        for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md"))
        for target in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.M)
    }
    assert {"demo", "test", "simulate", "chaos"} <= named <= targets


def test_the_readme_is_short_and_begins_with_what_it_is_and_how_to_see_it() -> None:
    lines = README.splitlines()
    assert len(lines) <= 120
    screen = "\n".join(lines[:25])
    for wanted in ("![", "make demo", "make test", "| published | measured |"):
        assert wanted in screen
