"""Whether a database has lost writes from the middle: asked when it is opened, without a scan.

RocksDB checks all that it reads, and what a crash cuts off is the end. But a write-ahead log that
is missing, or a manifest that was cut, takes writes out before others that are still there, and no
checksum tells. A row that such a write had moved on would be read as it was before, and written to
the changelog with facts missing.

So each write has a number. The numbers are kept by spans: a new one begins with every opening and
every ``SPAN_BYTES``, and says its first and its last write so far. What RocksDB can lose whole is
a memtable that was flushed, or the log of one: since every opening begins new files, that is either
one span or more, or the end of one, which the next span then does not continue.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SPAN_BYTES = 64 * 1024
SPANS = 512
"""So many are kept: 32 MiB, more than is in memtables and logs that could outlive what they
follow (two of 8 MiB)."""


class WriteSequence:
    """The numbers of a database's writes."""

    def __init__(self, prefix: bytes, known: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """``known``: the entries under ``prefix``, in order.

        Raises ``ValueError`` if writes are missing.
        """
        self._prefix = prefix
        self._span = -1
        self._first = 0
        self.last = 0
        """The number of the last write; 0 if there is none."""
        self._bytes = SPAN_BYTES  # the next write begins a span
        oldest: int | None = None
        for key, value in known:
            span = int.from_bytes(key[len(prefix) :], "big")
            first, last = map(int, value.split())
            if oldest is None:
                oldest = span
            elif (span, first) != (self._span + 1, self.last + 1):
                raise ValueError(f"writes {self.last + 1} to {first - 1} are missing")
            self._span, self.last = span, last
        if oldest is not None and oldest != max(0, self._span - SPANS + 1):
            raise ValueError(f"writes before number {self.last} are missing")

    def number(self, batch: Any) -> None:
        """Add its number to a write batch; to be written next."""
        self.last += 1
        if self._bytes >= SPAN_BYTES:
            self._span += 1
            self._first = self.last
            self._bytes = 0
            if self._span >= SPANS:
                batch.delete(self._key(self._span - SPANS))
        self._bytes += batch.size_in_bytes()
        batch.put(self._key(self._span), b"%d %d" % (self._first, self.last))

    def _key(self, span: int) -> bytes:
        return self._prefix + span.to_bytes(8, "big")
