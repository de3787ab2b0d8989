"""What fails is named, and what fails twice is never taken for passed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import TOGETHER, group_of
from tests.suite import AT_MOST_AGAIN, ROOT, Failure, Results, read, run, verdict, worth_another_try

ONE, OTHER = "tests/a/test_b.py::test_one", "tests/a/test_b.py::test_other[x-1]"


def results(code: int, *failed: str, ran: tuple[str, ...] = (ONE, OTHER)) -> Results:
    return Results(code, frozenset(ran), [Failure(test, "assert 1 == 2") for test in failed])


def test_a_run_is_read_with_the_names_and_first_lines_of_what_failed(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "@pytest.fixture\n"
        "def broken(): raise RuntimeError('no broker\\nat all')\n"
        "@pytest.fixture\n"
        "def untidy():\n"
        "    yield\n"
        "    raise RuntimeError('left over')\n"
        "def test_good(): pass\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_lists(n): assert [n, 2] == [1, 2]\n"
        "def test_setup(broken): pass\n"
        "def test_teardown(untidy): pass\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", ".", "-q"]
    command += ["-p", "no:cacheprovider", "-o", "junit_family=xunit1", "--junit-xml=found.xml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    found = read(done.returncode, tmp_path / "found.xml")
    assert found.code == 1
    assert {test for test, _ in found.failures} == {
        "test_some.py::test_lists[2]",
        "test_some.py::test_setup",
        "test_some.py::test_teardown",
    }
    assert found.ran >= {"test_some.py::test_good", "test_some.py::test_lists[1]"}
    why = dict(found.failures)
    assert why["test_some.py::test_lists[2]"].startswith("assert [2, 2] == [1, 2]")
    assert "no broker" in why["test_some.py::test_setup"]
    assert not any("\n" in line for line in found.lines)


def test_a_run_without_results_has_not_passed(tmp_path: Path) -> None:
    for code in (0, 1, 3):
        found = read(code, tmp_path / "none.xml")
        assert found.code != 0
        assert not worth_another_try(found)
        assert verdict(found, None)[0] != 0


def test_what_passed_is_counted() -> None:
    assert verdict(results(0), None) == (0, ["passed: 2 tests"])


def test_what_failed_once_and_was_not_tried_again_has_failed() -> None:
    code, said = verdict(results(1, ONE), None)
    assert code == 1
    assert said == ["failed:", f"  {ONE}: assert 1 == 2", "NOT PASSED: 1 of 2 tests failed"]


def test_what_passes_at_the_second_try_is_named_all_the_same() -> None:
    code, said = verdict(results(1, ONE), results(0, ran=(ONE,)))
    assert code == 0
    assert said[:2] == ["failed:", f"  {ONE}: assert 1 == 2"]
    assert said[-1] == "passed: 2 tests, 1 at the second try"


def test_what_fails_twice_has_failed() -> None:
    code, said = verdict(results(1, ONE, OTHER), results(1, OTHER, ran=(ONE, OTHER)))
    assert code == 1
    assert said[-3:] == [
        "failed again, alone:",
        f"  {OTHER}: assert 1 == 2",
        "NOT PASSED: 1 failed twice, exit 1",
    ]


def test_what_was_not_run_again_has_failed() -> None:
    code, said = verdict(results(1, ONE, OTHER), results(0, ran=(ONE,)))
    assert code != 0
    assert f"  {OTHER}: was not run again" in said


@pytest.mark.parametrize("code", [2, 3, 4, 5])
def test_a_run_that_did_not_come_to_its_end_has_failed_and_gets_no_second_try(code: int) -> None:
    assert not worth_another_try(results(code, ONE))
    assert verdict(results(code, ONE), None)[0] == code
    assert verdict(results(1, ONE), results(code, ran=()))[0] == code


def test_many_failures_get_no_second_try() -> None:
    few = tuple(f"{ONE}[{n}]" for n in range(AT_MOST_AGAIN))
    assert worth_another_try(results(1, *few))
    assert not worth_another_try(results(1, *few, OTHER))


def test_a_run_that_takes_too_long_is_ended_and_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = tmp_path / "test_endless.py"
    endless.write_text("import time\ndef test_it(): time.sleep(600)\n", encoding="utf-8")
    monkeypatch.setattr("tests.suite.RESULTS", tmp_path)
    found = run("first", ["-c", "/dev/null", "-p", "no:cacheprovider", str(endless)], 5)
    assert found.code == pytest.ExitCode.INTERRUPTED
    assert not worth_another_try(found)


def test_every_group_of_the_suite_has_tests() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    command += sorted({start.partition("::")[0] for starts in TOGETHER for start in starts})
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sizes = Counter(group_of(line) for line in listed.splitlines() if "::" in line)
    assert all(sizes[starts[0]] > 1 for starts in TOGETHER), sizes
