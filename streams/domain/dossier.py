"""A dossier: the facts known of it, how they merge, and what it counts for.

Pure. A dossier's state is the *set* of its facts, kept as the winner of each slot: one submission,
and one processing fact per status. ``merge_*`` are commutative, associative and idempotent, so the
state depends neither on the order nor on the number of deliveries. ``contribution`` derives what
the dossier adds to its agency's days; nothing is ever incremented on trust.

The rules are section 3 of the contract; status codes are the national ones
(reference/dossier_statuses.csv).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, final

from streams.domain.calendar import day_of

Channel = Literal[0, 1, 2]
ONLINE: Channel = 0
IN_PERSON: Channel = 1
POSTAL: Channel = 2
CHANNELS: tuple[str, ...] = ("online", "in_person", "postal")

ACCEPTED, REFUSED, WITHDRAWN, FINISHED, RETURNED = 2, 3, 7, 9, 10
RECEIVED_STATUSES = frozenset({2, 4, 5, 6, 8, 9, 10})

Outcome = Literal["applied", "duplicate", "superseded"]


class Submission(NamedTuple):
    """A submission fact. Instants in µs since the epoch."""

    revision: int
    submitted_at: int
    id: str
    void: bool
    service: str
    channel: int
    due_at: int | None


class Step(NamedTuple):
    """A processing fact: the dossier reached a status at an instant."""

    revision: int
    at: int
    id: str
    void: bool


@final
class SubmissionFact(NamedTuple):
    """A submission, and the dossier that it speaks of."""

    agency: str
    dossier: str
    submission: Submission


@final
class StepFact(NamedTuple):
    """A processing fact, and the dossier and status that it speaks of."""

    agency: str
    dossier: str
    status: int
    step: Step


DossierFact = SubmissionFact | StepFact
"""The last member of either has its instant (µs) second."""


class Dossier(NamedTuple):
    """All that is known of a dossier: the winning submission and the winner per status."""

    submission: Submission | None
    steps: dict[int, Step]


UNKNOWN = Dossier(None, {})


class Contribution(NamedTuple):
    """What a counted dossier adds to its agency's ledger. Days are ordinals."""

    service: str
    channel: int
    submitted_on: int
    received_on: int | None
    resolved_on: int | None
    due: bool
    """Resolved, and it had a due date."""
    on_time: bool
    """Resolved at or before its due date."""


def _rank(s: Submission) -> tuple[int, int, str, bool, str, int, bool, int]:
    # The contract orders by (revision, submitted_at, id). The rest only breaks ties between
    # different facts that wrongly share an id, so that even then the order of arrival is moot.
    return (
        s.revision,
        s.submitted_at,
        s.id,
        s.void,
        s.service,
        s.channel,
        s.due_at is not None,
        s.due_at or 0,
    )


def merge_submission(dossier: Dossier, fact: Submission) -> tuple[Dossier, Outcome]:
    """Take in a submission: the highest (revision, submitted_at, id) replaces the other whole."""
    known = dossier.submission
    if known is not None:
        if known == fact:
            return dossier, "duplicate"
        if _rank(fact) < _rank(known):
            return dossier, "superseded"
    return Dossier(fact, dossier.steps), "applied"


def merge_step(dossier: Dossier, status: int, fact: Step) -> tuple[Dossier, Outcome]:
    """Take in a processing fact: per status, the highest (revision, at, id) wins."""
    known = dossier.steps.get(status)
    if known is not None:
        if known == fact:
            return dossier, "duplicate"
        if fact < known:
            return dossier, "superseded"
    return Dossier(dossier.submission, {**dossier.steps, status: fact}), "applied"


def merge(one: Dossier, other: Dossier) -> Dossier:
    """The union of two states of one dossier; used when changelog rows are read back."""
    merged = one
    if other.submission is not None:
        merged, _ = merge_submission(merged, other.submission)
    for status, fact in other.steps.items():
        merged, _ = merge_step(merged, status, fact)
    return merged


def contribution(dossier: Dossier) -> Contribution | None:
    """What the dossier counts for, or None where it counts nowhere.

    None when its submission is unknown or void, or when it was refused (3) or withdrawn (7)
    without ever being received.
    """
    submission = dossier.submission
    if submission is None or submission.void:
        return None
    submitted_on = day_of(submission.submitted_at)
    present = dossier.steps
    for step in present.values():
        if step.void:
            present = {status: step for status, step in present.items() if not step.void}
            break
    if not present:
        return Contribution(
            submission.service, submission.channel, submitted_on, None, None, False, False
        )
    received = not RECEIVED_STATUSES.isdisjoint(present)
    if not received and (REFUSED in present or WITHDRAWN in present):
        return None
    received_on: int | None = None
    if received:
        accepted = present.get(ACCEPTED)
        received_on = submitted_on if accepted is None else day_of(accepted.at)
    end = present.get(FINISHED) or present.get(RETURNED)
    if end is None:
        return Contribution(
            submission.service, submission.channel, submitted_on, received_on, None, False, False
        )
    due_at = submission.due_at
    return Contribution(
        submission.service,
        submission.channel,
        submitted_on,
        received_on,
        day_of(end.at),
        due_at is not None,
        due_at is not None and end.at <= due_at,
    )
