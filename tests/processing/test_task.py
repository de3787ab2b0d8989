"""A task's phases change as the diagram says, and in no other way."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from streams.processing import task as task_module
from streams.processing.task import TRANSITIONS, Cause, IllegalTransitionError, Phase, Task


def new(phase: Phase) -> Task:
    partition: Any = None
    return Task(3, partition, phase)


@pytest.mark.parametrize(("phase", "cause"), list(itertools.product(Phase, Cause)))
def test_a_phase_changes_by_the_table_or_not_at_all(phase: Phase, cause: Cause) -> None:
    task = new(phase)
    if (phase, cause) in TRANSITIONS:
        task.move(cause)
        assert task.phase is TRANSITIONS[phase, cause]
        return
    with pytest.raises(IllegalTransitionError, match=f"partition 3: {phase.value} and"):
        task.move(cause)
    assert (task.phase, task.generation) == (phase, 1)


def test_each_restore_is_a_generation_of_its_own() -> None:
    task = new(Phase.RUNNING)
    task.move(Cause.fenced)
    task.move(Cause.fenced)
    task.move(Cause.restored)
    assert task.generation == 3


def drawn(text: str) -> dict[tuple[Phase, Cause], Phase]:
    """The transitions in a diagram like that of the module."""
    found = {}
    names = r"[A-Z]+(?: \| [A-Z]+)*"
    # An arrow may begin where the last one ended, so they are looked for without being consumed.
    arrow = rf"(?=\b({names}|any) ─([a-z]+(?: \| [a-z]+)*)─► ([A-Z]+))"
    for sources, causes, target in re.findall(arrow, text):
        phases = [p for p in Phase if p is not Phase.CLOSED]
        if sources != "any":
            phases = [Phase[name] for name in sources.split(" | ")]
        for phase, cause in itertools.product(phases, causes.split(" | ")):
            found[phase, Cause(cause)] = Phase[target]
    return found


def test_the_diagram_shows_every_transition_and_no_other() -> None:
    assert drawn(task_module.__doc__ or "") == dict(TRANSITIONS)


def test_the_diagram_in_the_docs_is_the_same() -> None:
    page = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    diagram = page.split("## The phases of a task")[1].split("```")[1]
    assert drawn(diagram) == dict(TRANSITIONS)
    assert [line.strip() for line in diagram.strip().splitlines()] == [
        line.strip() for line in (task_module.__doc__ or "").splitlines() if "─►" in line
    ]


def test_every_cause_is_explained() -> None:
    for cause in Cause:
        assert re.search(rf"^{cause.value}$", task_module.__doc__ or "", re.M), cause
