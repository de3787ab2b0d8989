"""Code that moves takes its mutant along."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import FAST, MUTANTS, ROOT, Mutant, places


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_replaces_stands_once_in_its_file(mutant: Mutant) -> None:
    assert places(mutant) == 1, f"{mutant.path} has moved on: aim the mutant at the new place"
    assert mutant.old != mutant.new


def test_the_fast_tests_are_there_and_no_two_mutants_have_a_name() -> None:
    assert all((ROOT / tests).exists() for tests in FAST)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
