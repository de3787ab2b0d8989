"""One chunk of records, start to finish: judge → merge → name everything that must be written.

No Faust and no I/O in it, so crash tests drive it directly. The order of a chunk (design rule 1):

1. ``judge`` decodes and admits each record: an event, or a rejection with its reason.
2. ``take_in`` merges the events into the partition's state and returns the :class:`Writes`.
3. The caller sends the writes and waits until the broker has acknowledged every one.
4. Only then may the chunk be acknowledged to the consumer.

A crash before 3 loses nothing: the chunk is read again, every touched row is written again, and
merging the same facts twice changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from schemas.admission import TOLERANCE_MS, admit
from schemas.decoder import MAX_VALUE_BYTES, Reason, Rejection, decode, too_large
from schemas.events import GROUPS, Event, ListedEvent, ProcessedEvent, SubmittedEvent
from schemas.fast_path import (
    PlainError,
    PlainProcessed,
    PlainProcessedEvent,
    PlainSubmittedEvent,
    instant_us,
    plain_code,
    read_processed,
    read_submitted,
)
from schemas.instants import record_time
from schemas.topics import EVENT_TOPICS, Topic
from streams.domain import dossier
from streams.domain.catalogue import Listing
from streams.domain.dossier import Step, Submission
from streams.kafka.batch_writer import Outgoing
from streams.kafka.log import Record
from streams.kafka.partitioner import partition_for
from streams.processing.dead_letter import dead_letter
from streams.state.codecs import (
    Checkpoint,
    agency_month_key,
    checkpoint_key,
    encode_agency_month,
    encode_checkpoint,
    encode_taken_in,
    taken_in_key,
)
from streams.state.partition import Chunk, DossierFact, Partition
from streams.views.reference_rule import restores, without_mark

Outcome = Literal["applied", "duplicate", "superseded", "rejected", "forwarded"]

MENDABLE = frozenset({Reason.unknown_agency, Reason.source_not_allowed})
"""Reasons that newer reference data may lift: worth a second look before they stand."""


class Tombstone(NamedTuple):
    """A null value on a compacted reference topic: the entry is removed."""


TOMBSTONE = Tombstone()
Verdict = DossierFact | Event | Rejection | Tombstone


@dataclass(slots=True)
class Writes:
    """Everything one chunk must have written before it may be acknowledged, and its tally."""

    dossiers: list[Outgoing] = field(default_factory=list)
    services: list[Outgoing] = field(default_factory=list)
    months: list[Outgoing] = field(default_factory=list)
    dead_letters: list[Outgoing] = field(default_factory=list)
    forwards: list[tuple[int, Outgoing]] = field(default_factory=list)
    """(right partition of the same topic, record)."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(agency or "" where it is not registered, reason) → records."""


def judge(topic: Topic, record: Record, agencies: Mapping[str, frozenset[str]]) -> Verdict:
    """The fact or event in a record, or why it counts for nothing."""
    fact = plain_fact(topic, record, agencies)
    if fact is not None:
        return fact
    return judge_in_full(topic, record, agencies)


def judge_in_full(topic: Topic, record: Record, agencies: Mapping[str, frozenset[str]]) -> Verdict:
    """As :func:`judge`, by the full validator alone, which decides whatever is not plain."""
    if record.value is None and topic not in EVENT_TOPICS:
        return too_large(None, without_mark(record.headers), record.key) or TOMBSTONE
    # A copy that restores a reference record is judged as the original was.
    headers = record.headers if topic in EVENT_TOPICS else without_mark(record.headers)
    event = decode(topic, record.value, headers, record.key)
    if isinstance(event, Rejection):
        return event
    rejection = admit(event, record.key, record.timestamp, agencies)
    if rejection is not None:
        return rejection
    if isinstance(event, SubmittedEvent):
        submitted = event.data
        return DossierFact(
            submitted.agency,
            submitted.dossier,
            0,
            Submission(
                submitted.revision,
                submitted.submitted_at_us,
                event.id,
                submitted.void,
                submitted.service,
                _CHANNEL[submitted.channel],
                submitted.due_at_us,
            ),
        )
    if isinstance(event, ProcessedEvent):
        processed = event.data
        return DossierFact(
            processed.agency,
            processed.dossier,
            processed.status,
            Step(processed.revision, processed.at_us, event.id, processed.void),
        )
    return event


_TOLERANCE_US = TOLERANCE_MS * 1000

# Repeats what ``decode`` and ``admit`` say of a good record, for the plain form only, and leaves
# everything else to them. Named tuples are made by ``tuple.__new__``: their own constructor is a
# Python call, and these are made for every event there is.
_new = tuple.__new__


def plain_fact(
    topic: Topic, record: Record, agencies: Mapping[str, frozenset[str]]
) -> DossierFact | None:
    """The fact in a good submission or step of the plain form; None says nothing of any other."""
    value = record.value
    if value is None:
        return None
    event: PlainSubmittedEvent | PlainProcessedEvent
    try:
        if topic is Topic.processing:
            event = read_processed(value)
        elif topic is Topic.submissions:
            event = read_submitted(value)
        else:
            return None
    except PlainError:
        return None
    data = event.data
    sources = agencies.get(data.agency)
    at = instant_us(data.at)
    if (
        sources is None
        or (sources and event.source not in sources)
        or at is None
        or record.key != data.agency.encode()
        or record.headers
        or data.agency in GROUPS
        or not plain_code(data.dossier)
        or record.timestamp is None
        or record.timestamp < 0
        or at > record.timestamp * 1000 + _TOLERANCE_US
        or len(value) > MAX_VALUE_BYTES
    ):
        return None
    time = event.time
    if time is not None and time != data.at and instant_us(time) is None:
        return None
    if isinstance(data, PlainProcessed):
        step = _new(Step, (data.revision, at, event.id, data.void))
        return _new(DossierFact, (data.agency, data.dossier, data.status, step))
    if not plain_code(data.service):
        return None
    due_at = None
    if data.due_at is not None:
        due_at = instant_us(data.due_at)
        if due_at is None:
            return None
    submission = _new(
        Submission,
        (data.revision, at, event.id, data.void, data.service, _CHANNEL[data.channel], due_at),
    )
    return _new(DossierFact, (data.agency, data.dossier, 0, submission))


def take_in(
    topic: Topic,
    topic_name: str,
    partition: Partition,
    partitions: int,
    records: Sequence[Record],
    verdicts: Iterable[Verdict],
    agencies: Mapping[str, frozenset[str]],
    checkpoint: Checkpoint,
) -> Writes:
    """Merge what was accepted into ``partition`` and say what must be written.

    ``records`` are one chunk of ``topic`` (``topic_name`` in full), in offset order, with a
    verdict each. ``checkpoint`` holds once all of it is written; it is written after it.
    """
    writes = Writes()
    chunk = Chunk(partition)
    outcomes = writes.outcomes
    number = partition.number
    at_home: dict[bytes | None, bool] = {None: True}
    """By key; a record without one is never accepted, whatever its partition."""
    facts: list[DossierFact] = []
    arrived: list[int | None] = []
    for record, verdict in zip(records, verdicts, strict=True):
        if type(verdict) is Rejection:
            outcomes["rejected"] += 1
            agency = verdict.agency if verdict.agency in agencies else None
            writes.rejected[agency or "", verdict.reason.value] += 1
            writes.dead_letters.append(
                dead_letter(
                    topic_name,
                    number,
                    record.offset,
                    record.key,
                    record.value,
                    record.headers,
                    verdict,
                )
            )
            continue
        if topic not in EVENT_TOPICS:
            # Every process reads these through a view of its own; here they are judged.
            again = restores(record.headers, record.timestamp)
            outcomes["duplicate" if again else "applied"] += 1
            continue
        key = record.key
        if key not in at_home:
            at_home[key] = partition_for(key, partitions) == number
        if not at_home[key]:
            outcomes["forwarded"] += 1
            right = partition_for(key, partitions)
            writes.forwards.append((right, Outgoing(key, record.value, record.headers)))
        elif type(verdict) is DossierFact:
            facts.append(verdict)
            arrived.append(record.timestamp)
        elif isinstance(verdict, ListedEvent):
            listed = verdict.data
            outcomes[
                chunk.listing(
                    listed.agency,
                    listed.service,
                    listed.effective_from.toordinal(),
                    Listing(
                        listed.revision,
                        verdict.id,
                        listed.listed,
                        listed.level,
                        listed.eligible,
                        listed.name or "",
                    ),
                )
            ] += 1
            chunk.note(listed.agency, record_time(record.timestamp), None)
    outcomes.update(chunk.merge(facts, arrived))
    chunk.close()
    _write_rows(writes, chunk, partition)
    row = Outgoing(checkpoint_key(topic_name), encode_checkpoint(checkpoint))
    (writes.services if topic is Topic.catalogue else writes.dossiers).append(row)
    if topic in EVENT_TOPICS:
        writes.months += marks({topic_name: checkpoint.next})
    return writes


_CHANNEL = {
    None: dossier.IN_PERSON,
    "online": dossier.ONLINE,
    "in_person": dossier.IN_PERSON,
    "postal": dossier.POSTAL,
}


def _write_rows(writes: Writes, chunk: Chunk, partition: Partition) -> None:
    writes.dossiers = [Outgoing(key, row) for key, row in chunk.dossier_rows.items()]
    writes.services = [Outgoing(key, row) for key, row in chunk.service_rows.items()]
    writes.months = month_rows(partition, chunk.months)


def marks(reached: Mapping[str, int]) -> list[Outgoing]:
    """The marks for ``agency-months``: source topic → the next offset. They go behind the rows that
    hold everything before it, and on the same partition (contract, section 1)."""
    return [
        Outgoing(taken_in_key(topic), encode_taken_in(offset))
        for topic, offset in sorted(reached.items())
    ]


def month_rows(partition: Partition, months: Iterable[tuple[str, int]]) -> list[Outgoing]:
    """The agency-months rows of ``months`` as they stand."""
    return [
        Outgoing(
            agency_month_key(agency, month),
            encode_agency_month(partition.month_row(agency, month)),
        )
        for agency, month in sorted(months)
    ]
