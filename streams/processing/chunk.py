"""One chunk of records, start to finish: judge → merge → name everything that must be written.

No Faust and no I/O in it, so crash tests drive it directly. The order of a chunk (design rule 1):

1. ``validate`` decodes and admits each record: an event, or a rejection with its reason.
2. ``process_chunk`` merges the events into the partition's state and returns the :class:`Writes`.
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

from schemas.admission import admit
from schemas.decoder import Reason, Rejection, decode, too_large
from schemas.events import Event, ListedEvent, ProcessedEvent, SubmittedEvent
from schemas.fast_path import PlainProcessedEvent, read_plain
from schemas.instants import record_time
from schemas.topics import EVENT_TOPICS, Topic
from streams.domain.dossier import DossierFact, StepFact, SubmissionFact
from streams.kafka.batch_writer import Outgoing
from streams.kafka.log import Record
from streams.kafka.partitioner import partition_for
from streams.processing.dead_letter import dead_letter
from streams.processing.facts import listing_fact, step_fact, submission_fact
from streams.state.codecs import (
    Checkpoint,
    agency_month_key,
    checkpoint_key,
    encode_agency_month,
    encode_checkpoint,
    encode_taken_in,
    taken_in_key,
)
from streams.state.merge import Merge
from streams.state.partition import Partition
from streams.views.reference_rule import restores, without_mark

Outcome = Literal["applied", "duplicate", "superseded", "rejected", "forwarded"]

RETRYABLE = frozenset({Reason.unknown_agency, Reason.source_not_allowed})
"""Reasons that newer reference data may lift: worth a second look before they stand."""


class Tombstone(NamedTuple):
    """A null value on a compacted reference topic: the entry is removed."""


TOMBSTONE = Tombstone()
Validated = DossierFact | Event | Rejection | Tombstone


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


def validate(topic: Topic, record: Record, agencies: Mapping[str, frozenset[str]]) -> Validated:
    """The fact or event in a record, or why it counts for nothing."""
    plain = read_plain(topic, record, agencies)
    if plain is None:
        return validate_in_full(topic, record, agencies)
    event, at, due_at = plain
    if type(event) is PlainProcessedEvent:
        return step_fact(event, at)
    return submission_fact(event, at, due_at)


def validate_in_full(
    topic: Topic, record: Record, agencies: Mapping[str, frozenset[str]]
) -> Validated:
    """As :func:`validate`, by the full validator alone, which decides whatever is not plain."""
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
        return submission_fact(event, event.data.submitted_at_us, event.data.due_at_us)
    if isinstance(event, ProcessedEvent):
        return step_fact(event, event.data.at_us)
    return event


def process_chunk(
    topic: Topic,
    topic_name: str,
    partition: Partition,
    partitions: int,
    records: Sequence[Record],
    results: Iterable[Validated],
    agencies: Mapping[str, frozenset[str]],
    checkpoint: Checkpoint,
) -> Writes:
    """Merge what was accepted into ``partition`` and say what must be written.

    ``records`` are one chunk of ``topic`` (``topic_name`` in full), in offset order, with a
    result each. ``checkpoint`` holds once all of it is written; it is written after it.
    """
    writes = Writes()
    chunk = Merge(partition)
    outcomes = writes.outcomes
    number = partition.number
    at_home: dict[bytes | None, bool] = {None: True}
    """By key; a record without one is never accepted, whatever its partition."""
    facts: list[DossierFact] = []
    arrived: list[int | None] = []
    for record, result in zip(records, results, strict=True):
        if type(result) is Rejection:
            outcomes["rejected"] += 1
            agency = result.agency if result.agency in agencies else None
            writes.rejected[agency or "", result.reason.value] += 1
            writes.dead_letters.append(
                dead_letter(
                    topic_name,
                    number,
                    record.offset,
                    record.key,
                    record.value,
                    record.headers,
                    result,
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
        elif type(result) is StepFact or type(result) is SubmissionFact:
            facts.append(result)
            arrived.append(record.timestamp)
        elif isinstance(result, ListedEvent):
            listed = result.data
            outcomes[
                chunk.listing(
                    listed.agency,
                    listed.service,
                    listed.effective_from.toordinal(),
                    listing_fact(result),
                )
            ] += 1
            chunk.note(listed.agency, record_time(record.timestamp), None)
    outcomes.update(chunk.merge(facts, arrived))
    chunk.close()
    _write_rows(writes, chunk, partition)
    rows = writes.services if topic is Topic.catalogue else writes.dossiers
    rows.append(checkpoint_row(topic_name, checkpoint))
    if topic in EVENT_TOPICS:
        writes.months += marks({topic_name: checkpoint.next})
    return writes


def _write_rows(writes: Writes, chunk: Merge, partition: Partition) -> None:
    writes.dossiers = [Outgoing(key, row) for key, row in chunk.dossier_rows.items()]
    writes.services = [Outgoing(key, row) for key, row in chunk.service_rows.items()]
    writes.months = month_rows(partition, chunk.months)


def checkpoint_row(topic: str, checkpoint: Checkpoint) -> Outgoing:
    """The row of a changelog that goes behind everything before the checkpoint."""
    return Outgoing(checkpoint_key(topic), encode_checkpoint(checkpoint))


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
