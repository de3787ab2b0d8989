"""Events → facts of the domain: the one place where a fact is built, however its event was read.

Pure. Events come from the full validator (:mod:`schemas.decoder`) or by the fast path
(:mod:`schemas.fast_path`); what they say they have under the same names, but for the instants.
"""

from __future__ import annotations

from schemas.events import ListedEvent, ProcessedEvent, SubmittedEvent
from schemas.fast_path import PlainProcessedEvent, PlainSubmittedEvent
from streams.domain import dossier
from streams.domain.catalogue import Listing
from streams.domain.dossier import Step, StepFact, Submission, SubmissionFact

_CHANNEL = {
    None: dossier.IN_PERSON,
    "online": dossier.ONLINE,
    "in_person": dossier.IN_PERSON,
    "postal": dossier.POSTAL,
}

# Named tuples are made by ``tuple.__new__``: their own constructor is a Python call, and these are
# made for every event there is.
_new = tuple.__new__


def submission_fact(
    event: SubmittedEvent | PlainSubmittedEvent, submitted_at: int, due_at: int | None
) -> SubmissionFact:
    """The fact in a submission; its instants in µs since the epoch."""
    data = event.data
    channel = _CHANNEL[data.channel]
    said = (data.revision, submitted_at, event.id, data.void, data.service, channel, due_at)
    return _new(SubmissionFact, (data.agency, data.dossier, _new(Submission, said)))


def step_fact(event: ProcessedEvent | PlainProcessedEvent, at: int) -> StepFact:
    """The fact in a processing step; its instant in µs since the epoch."""
    data = event.data
    said = (data.revision, at, event.id, data.void)
    return _new(StepFact, (data.agency, data.dossier, data.status, _new(Step, said)))


def listing_fact(event: ListedEvent) -> Listing:
    """The fact in a catalogue event, for its service and effective day."""
    data = event.data
    return Listing(data.revision, event.id, data.listed, data.level, data.eligible, data.name or "")
