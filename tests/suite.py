"""Run the test suite and say at the very end, line by line, what failed.

``python -m tests.suite [--once-more] [--minutes N] [arguments of pytest]``. Brokers are killed and
clocks are short, with several processes on the machine at once: with ``--once-more`` what failed
has one more chance, alone. What fails twice has failed, as has a run that did not come to its end.

Exit code 0 when everything passed, at the second try at the latest; else pytest's.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "tests"
AT_MOST_AGAIN = 20
"""Where more failed than this, it was no accident, and no second run is made."""

_WIDTH = 200
_PARTING_SECONDS = 60
"""For pytest to write down what it knows, once interrupted."""


class Failure(NamedTuple):
    """A test that failed."""

    test: str
    """Its node id."""
    why: str
    """The first line of the error."""


class Results(NamedTuple):
    """One run of pytest."""

    code: int
    """Its exit code, or a failure's where it passed without leaving results."""
    ran: frozenset[str]
    """The node ids of all tests that were run."""
    failures: list[Failure]

    @property
    def lines(self) -> list[str]:
        return [f"  {test}: {why}" for test, why in self.failures]


def read(code: int, file: Path) -> Results:
    """The results in a JUnit file (of family xunit1) beside the exit code of the run."""
    if not file.exists():
        return Results(code or pytest.ExitCode.INTERNAL_ERROR, frozenset(), [])
    ran: set[str] = set()
    failures: dict[str, str] = {}
    for case in ET.parse(file).getroot().iter("testcase"):
        test = "::".join(filter(None, (case.get("file"), case.get("name"))))
        ran.add(test)
        for problem in (*case.findall("failure"), *case.findall("error")):
            said = (problem.get("message") or problem.text or "").strip().splitlines()
            failures.setdefault(test, (said or [problem.tag])[0][:_WIDTH])
    return Results(code, frozenset(ran), [Failure(*failure) for failure in failures.items()])


def run(name: str, arguments: Sequence[str], seconds: float | None = None) -> Results:
    """Run pytest, showing what it prints; after so many seconds it is interrupted.

    pytest-xdist 3.8 waits for ever when one of its processes has died.
    """
    file = RESULTS / f"{name}.xml"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"--junit-xml={file}", "-o", "junit_family=xunit1"]
    pytest_run = subprocess.Popen([*command, *arguments], cwd=ROOT)
    try:
        code = pytest_run.wait(seconds)
    except subprocess.TimeoutExpired:
        click.echo(f"\ninterrupted after {seconds:.0f} s")
        pytest_run.send_signal(signal.SIGINT)
        try:
            pytest_run.wait(_PARTING_SECONDS)
        except subprocess.TimeoutExpired:
            pytest_run.kill()
            pytest_run.wait()
        code = pytest.ExitCode.INTERRUPTED
    return read(code, file)


def worth_another_try(first: Results) -> bool:
    """Whether the run came to its end, and so few failed that it may have been the machine."""
    return first.code == pytest.ExitCode.TESTS_FAILED and 0 < len(first.failures) <= AT_MOST_AGAIN


def verdict(first: Results, second: Results | None) -> tuple[int, list[str]]:
    """The exit code, and what to say of one run, or of two."""
    if first.code == 0:
        return 0, [f"passed: {len(first.ran)} tests"]
    said = []
    if first.failures:
        said += ["failed:", *first.lines]
    if first.code != pytest.ExitCode.TESTS_FAILED or not first.failures:
        return first.code, [*said, f"NOT PASSED: pytest did not do its work, exit {first.code}"]
    if second is None:
        of = f"{len(first.failures)} of {len(first.ran)} tests failed"
        return first.code, [*said, f"NOT PASSED: {of}"]
    if second.failures:
        said += ["failed again, alone:", *second.lines]
    left_out = {test for test, _ in first.failures} - second.ran
    said += [f"  {test}: was not run again" for test in sorted(left_out)]
    if second.code != 0 or left_out:
        twice = len(second.failures) + len(left_out)
        code = second.code or pytest.ExitCode.TESTS_FAILED
        return code, [*said, f"NOT PASSED: {twice} failed twice, exit {code}"]
    return 0, [*said, f"passed: {len(first.ran)} tests, {len(first.failures)} at the second try"]


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--once-more", is_flag=True, help="Run what failed a second time, alone.")
@click.option("--minutes", type=float, help="Interrupt a run that takes longer.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(once_more: bool, minutes: float | None, arguments: tuple[str, ...]) -> None:
    """Run pytest with ARGUMENTS."""
    began = time.monotonic()

    def left() -> float | None:
        return None if minutes is None else began + minutes * 60 - time.monotonic()

    first, second = run("first", arguments, left()), None
    if once_more and worth_another_try(first):
        click.echo("\n".join(["failed:", *first.lines, "once more, alone:"]))
        second = run("second", ["--last-failed", "--last-failed-no-failures=none"], left())
    code, said = verdict(first, second)
    click.echo("\n" + "\n".join(said))
    sys.exit(code)


if __name__ == "__main__":
    main()
