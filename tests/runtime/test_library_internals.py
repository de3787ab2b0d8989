"""What is used of libraries' inner parts stands in two files, for versions that are tested."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from streams.runtime import tested_versions
from streams.runtime.tested_versions import TESTED, UntestedVersionError, require_tested_versions

ROOT = Path(__file__).parents[2]
LIBRARIES = {"aiokafka", "faust", "mode"}
REACH_IN = {
    "streams/kafka/aiokafka_internals.py",
    "streams/runtime/faust_driver.py",
    # Subclasses of aiokafka's batches: it is what the first of the two hands to aiokafka, kept
    # apart since it knows of bytes only. No other module may import it for more than their names.
    "streams/kafka/unpacking.py",
}
PUBLIC = {"_asdict", "_replace", "_fields", "_make", "_exit"}
"""Named tuples' and ``os``'s, which are documented."""


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def _bases_from_libraries(tree: ast.Module) -> list[ast.ClassDef]:
    """The classes that derive from one of a library."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                (alias.asname or alias.name).split(".")[0]
                for alias in node.names
                if alias.name.split(".")[0] in LIBRARIES
            }
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            names |= {alias.asname or alias.name for alias in node.names}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).split(".")[0] in names for base in node.bases)
    ]


def reaches_in(source: str) -> list[str]:
    """Every use of a private name of somebody else, as ``line: expression``."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                found.append((node.lineno, ast.unparse(node)))
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr"):
            name = node.args[1] if len(node.args) > 1 else None
            if isinstance(name, ast.Constant) and _private(str(name.value)):
                found.append((node.lineno, ast.unparse(node)))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            path = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            found += [(node.lineno, name) for name in path if _private(name)]
    for derived in _bases_from_libraries(tree):
        own = {
            target.attr
            for node in ast.walk(derived)
            if isinstance(node, ast.Attribute | ast.AnnAssign | ast.Assign)
            for target in ast.walk(node)
            if isinstance(target, ast.Attribute) and isinstance(target.ctx, ast.Store)
        } | {
            node.name
            for node in derived.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        found += [
            (node.lineno, ast.unparse(node))
            for node in ast.walk(derived)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
            and _private(node.attr)
            and node.attr not in own
        ]
    return [f"{line}: {expression}" for line, expression in sorted(set(found))]


def _modules() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "streams").rglob("*.py"))


@pytest.mark.parametrize("module", [name for name in _modules() if name not in REACH_IN])
def test_no_other_module_uses_a_private_name_of_somebody_else(module: str) -> None:
    assert reaches_in((ROOT / module).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "consumer._client.send(1)",
        "getattr(consumer, '_client')",
        "from aiokafka.record._crecords import x",
        "import faust\nclass A(faust.App):\n    def f(self): return self._signal_stop_time",
        "super()._commit(1)",
    ],
)
def test_the_scan_sees_a_private_name_however_it_is_reached(line: str) -> None:
    assert reaches_in(line)


def test_the_files_that_may_reach_in_do() -> None:
    for module in REACH_IN - {"streams/kafka/unpacking.py"}:
        assert reaches_in((ROOT / module).read_text(encoding="utf-8"))


def test_the_requirements_allow_the_tested_versions_and_no_later_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = {
        line.split(">=")[0].split("[")[0]: line.split(">=")[1]
        for line in project["dependencies"]
        if ">=" in line
    }
    for package, tested in TESTED.items():
        major, minor, patch = map(int, tested.split("."))
        assert requirements[package] == f"{tested},<{major}.{minor}.{patch + 1}"
        assert metadata.version(package) == tested
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert {f"{package}=={tested}" for package, tested in TESTED.items()} <= set(pins)


@pytest.mark.parametrize("version", ["0.14.0", "0.14.0.post1", "0.14.0+debian2"])
def test_a_tested_version_is_started_with(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _have(monkeypatch, "aiokafka", version)
    require_tested_versions()


@pytest.mark.parametrize("version", ["0.13.0", "0.14.1", "0.14.0rc1", "1.0"])
def test_any_other_version_is_refused_with_the_way_out(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _have(monkeypatch, "aiokafka", version)
    with pytest.raises(UntestedVersionError) as refused:
        require_tested_versions()
    assert str(refused.value) == (
        f"aiokafka {version} is installed, but hoso is tested with 0.14.0 only: "
        "pip install 'aiokafka==0.14.0'"
    )


@pytest.mark.parametrize("command", ["worker", "report", "audit"])
def test_a_command_refuses_an_untested_version_in_one_line_before_anything_else(
    command: str,
) -> None:
    script = (
        "import sys\n"
        "from streams.runtime import tested_versions\n"
        "tested_versions.TESTED['faust-streaming'] = '0.16.0'\n"
        "from streams.cli import main\n"
        "main(prog_name='hoso')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, command],
        env=os.environ | {"HOSO_BROKERS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: faust-streaming 0.15.3 is installed, but hoso is tested with 0.16.0 only: "
        "pip install 'faust-streaming==0.16.0'"
    ]


def _have(monkeypatch: pytest.MonkeyPatch, package: str, version: str) -> None:
    real = metadata.version
    monkeypatch.setattr(
        tested_versions.metadata,
        "version",
        lambda name: version if name == package else real(name),
    )
