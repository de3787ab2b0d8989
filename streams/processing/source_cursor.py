"""How far one partition of a source topic has been read, processed and written.

One cursor per source topic and partition, changed by :mod:`streams.processing.intake` and by a
restore (:mod:`streams.processing.tasks`). What survives a crash is the checkpoint: it stands in a
changelog, behind every row of the records before it (:func:`streams.state.codecs.checkpoint_key`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streams.kafka.log import Record
from streams.state.codecs import Checkpoint, LastRecord, record_digest

START = Checkpoint(0)
"""Nothing is processed."""


class Fetched(NamedTuple):
    """What a consumer fetched of one partition at a time."""

    first: int
    """Where it had been, or earlier: between this and the first record it found none."""
    until: int
    """Where it goes on. All records before this have been handed over."""
    records: Sequence[Record]
    """None, where transaction markers or aborted records were all that there was."""
    epoch: int = -1
    """The leader epoch of the first record batch; -1: not known."""


@dataclass(slots=True)
class SourceCursor:
    """The state of one source partition."""

    processed: Checkpoint = START
    """Everything before it is in the state. Chunks must not begin after it: that would pass records
    over."""
    checkpoint: Checkpoint = START
    """Everything before it is processed, and its rows are in the logs. The group commits this."""
    unaccounted: int = 0
    """Offsets passed without an outcome: 0, or this program is wrong."""
    sought: int | None = None
    """Where the consumer was sent on to, past what is processed already."""
    polled: LastRecord | None = None
    """The last record that was processed when :mod:`streams.processing.cut_logs` looked last."""
    truncated: bool = False
    """The log has lost records that were read, and may have others in their place."""

    @property
    def position(self) -> int:
        """The next offset to process."""
        return self.processed.next

    def resume(self, checkpoint: Checkpoint) -> None:
        """The restored state has everything before ``checkpoint``."""
        if checkpoint.next > self.processed.next:
            self.processed = self.checkpoint = checkpoint

    def rewind(self, offset: int) -> None:
        """Read all that the log has, from ``offset``: what is known already changes nothing."""
        self.processed = self.checkpoint = Checkpoint(offset, identity=self.processed.identity)
        self.sought = None
        self.truncated = False

    def absent(self, fetched: Fetched) -> int:
        """How many offsets from the position on none of the records has."""
        start, records, until = self.position, fetched.records, fetched.until
        if len(records) == until - start:
            return 0
        absent = 0
        for record in records:
            absent += max(0, record.offset - start)
            start = record.offset + 1
        return absent + max(0, until - start)

    def after(self, fetched: Fetched) -> Checkpoint:
        """What ``processed`` is once the records are in the state."""
        if not fetched.records:
            return self.processed._replace(next=fetched.until)
        last = fetched.records[-1]
        return self.processed._replace(
            next=fetched.until,
            last=LastRecord(last.offset, record_digest(last)),
            epoch=max(self.processed.epoch, fetched.epoch),
        )
