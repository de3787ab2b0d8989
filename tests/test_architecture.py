"""docs/architecture.md shows the code as it is: tree, floors, and what follows a failure."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from streams.kafka import batch_writer
from streams.processing import changelogs, chunk, intake, restore, tasks
from streams.runtime import faust_driver
from streams.state import partition

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TREE = PAGE.split("## The tree")[1].split("```")[1]
_CONTINUED = 20


def _named() -> list[str]:
    """Every module in the page's tree, as a path without .py; each room is a line ending in /."""
    found = []
    place: list[str] = []
    for line in TREE.strip("\n").splitlines():
        depth = len(line) - len(line.lstrip())
        if depth >= _CONTINUED:
            continue
        names = re.split(r"\s{2,}", line.strip())[0].split()
        place = place[: depth // 2]
        if names[0].endswith("/"):
            place.append(names[0].strip("/"))
        else:
            found += ["/".join([*place, name]) for name in names]
    return found


def test_the_tree_names_every_module_once_and_no_other() -> None:
    modules = [
        str(path.relative_to(ROOT).with_suffix(""))
        for package in ("schemas", "streams")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    ]
    assert sorted(_named()) == sorted(modules)


def test_the_floors_are_those_that_the_imports_are_held_to() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = next(
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    held = {
        room.removeprefix("streams."): len(layers) - floor
        for floor, rooms in enumerate(layers)
        for room in re.findall(r"[\w.]+", rooms)
    }
    drawn = {room: int(floor) for room, floor in re.findall(r"^  (\w+)/ +floor (\d)", TREE, re.M)}
    assert drawn == {room: floor for room, floor in held.items() if room != "settings"}
    apart = re.findall(r"^  (\w+)/ +apart", TREE, re.M)
    rooms = {path.parent.name for path in (ROOT / "streams").glob("*/__init__.py")}
    assert drawn.keys() | set(apart) == rooms


Step = tuple[str, str, str]
_STEP = re.compile(r"^(\d+\. .+?) \(``(.+?)``\): (.+(?:\n {3}.+)*)", re.M)


def _in_code(module: ModuleType) -> list[Step]:
    return [
        (step, where, " ".join(follows.split()))
        for step, where, follows in _STEP.findall(module.__doc__ or "")
    ]


def _on_the_page(heading: str) -> list[Step]:
    table = PAGE.split(heading)[1].split("| --- | --- | --- |\n")[1].split("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()]
    return [(step, where.strip("`"), follows) for step, where, follows in rows]


@pytest.mark.parametrize(("heading", "module"), [("Of a chunk", intake), ("Of a restore", restore)])
def test_what_follows_a_failed_step_is_the_same_on_the_page_and_in_the_code(
    heading: str, module: ModuleType
) -> None:
    steps = _in_code(module)
    assert _on_the_page(heading) == steps
    assert [step.split(".")[0] for step, _, _ in steps] == [str(n + 1) for n in range(len(steps))]


@pytest.mark.parametrize("where", [where for m in (intake, restore) for _, where, _ in _in_code(m)])
def test_every_step_is_where_the_table_says(where: str) -> None:
    owner, _, name = where.rpartition(".")
    rooms = (
        intake,
        chunk,
        changelogs,
        restore,
        tasks,
        partition,
        batch_writer,
        faust_driver,
    )
    if not owner:
        assert any(hasattr(room, name) for room in rooms)
        return
    (found,) = {getattr(room, owner) for room in rooms if hasattr(room, owner)}
    assert hasattr(found, name) or re.search(rf"self\.{name}\b", _source(found))


def _source(kind: type) -> str:
    path = importlib.import_module(kind.__module__).__file__
    assert path is not None
    return Path(path).read_text(encoding="utf-8")


def test_every_function_on_an_events_way_exists() -> None:
    """``module.function`` or ``Class.method``, as the page's section writes them."""
    section = PAGE.split("## An event's way")[1].split("\n## ")[0]
    sources: dict[str, str] = {}
    for path in _files():
        sources[path.stem] = sources.get(path.stem, "") + path.read_text(encoding="utf-8")
    everything = "\n".join(sources.values())
    missing = []
    for name in re.findall(r"`([A-Za-z_]+\.[A-Za-z_]+)`", section):
        owner, part = name.split(".")
        if owner == "hoso":
            continue
        text = sources.get(owner, everything)
        defined = rf"^\s*(?:async )?(?:def|class) {part}\b"
        if not re.search(defined, text, re.M):
            missing.append(name)
        if owner not in sources and not re.search(rf"^class {owner}\b", everything, re.M):
            missing.append(name)
    assert not missing


def _files() -> list[Path]:
    return [path for p in ("schemas", "streams") for path in (ROOT / p).rglob("*.py")]
