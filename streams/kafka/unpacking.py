"""What a broker sends, unpacked so that no bytes in it can stop a consumer.

aiokafka 0.14 raises out of ``getmany`` for a header name that is not UTF-8, a failed checksum, an
unknown codec or anything else that is wrong within a batch, again at every start, and unpacks a
batch whole, several times over, however large it gets. Here a batch gives whatever records can be
read. What can't be is named in the log and kept in :data:`unreadable`, and the consumer goes on
behind it. :mod:`streams.kafka.aiokafka_internals` puts this into every consumer.

Memory: a fetch gives at most about :data:`FETCHED_BYTES` of a compressed partition at a time, and
the rest is fetched again. One batch may unpack to :data:`BATCH_BYTES`, which is let go once its
records are taken out; if to more than :data:`FETCHED_BYTES`, large values are cut (:class:`Cut`).

Formats: Kafka's record batch v2 (magic 2) is read here; the message formats v0 and v1 by aiokafka.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import cramjam
from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

logger = logging.getLogger(__name__)

KEPT_BYTES: Final = 65_536
"""So much is kept of what is cut (the contract, section 2)."""
WHOLE_BYTES: Final = 524_288
"""A longer value is cut (the contract, section 2)."""
BATCH_BYTES: Final = 512 * 1024 * 1024
"""What a compressed batch unpacks to beyond this is not looked at."""
FETCHED_BYTES: Final = 32 * 1024 * 1024

_SCRATCH_BYTES = 4 * 1024 * 1024


class Cut(bytes):
    """The beginning of a value or key that was too long to be kept, one byte more than the bound.

    So whoever judges it finds it too long, whatever it knows of this class.
    """

    length: int
    """In bytes, of the whole."""
    sha256: str | None
    """Of the whole, in hexadecimal; None where the end was beyond :data:`BATCH_BYTES`."""


def cut(whole: memoryview, length: int | None = None) -> Cut:
    """``whole`` cut; ``length`` if only that much of a longer one is there."""
    found = Cut(whole[: KEPT_BYTES + 1])
    found.length = len(whole) if length is None else length
    found.sha256 = hashlib.sha256(whole).hexdigest() if length is None else None
    return found


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Offsets of a partition whose records can't be read."""

    first: int
    next: int
    """The first offset after them."""
    why: str


unreadable: Final[dict[TopicPartition, dict[int, Unreadable]]] = {}
"""What this process came across, by partition and first offset; each is logged once.

Whoever answers for completeness looks here: the worker counts them as lost, the audit can't vouch.
"""


def unreadable_within(tp: TopicPartition, start: int, end: int) -> list[Unreadable]:
    """What can't be read of ``tp`` from offset ``start`` up to ``end``, as far as it was met."""
    found = sorted(unreadable.get(tp, {}).copy().values(), key=lambda one: one.first)
    return [one for one in found if one.first < end and one.next > start]


def unreadable_offsets(tp: TopicPartition, start: int, end: int) -> int:
    """How many offsets those are, each counted once."""
    count = 0
    for one in unreadable_within(tp, start, end):
        count += max(0, min(one.next, end) - max(one.first, start))
        start = max(start, one.next)
    return count


def _report(tp: TopicPartition, first: int, next_: int, why: str) -> None:
    known = unreadable.setdefault(tp, {})
    if first not in known:
        logger.error(
            "%s[%d]: records from %d to %d can't be read and are lost: %s",
            tp.topic,
            tp.partition,
            first,
            next_ - 1,
            why,
        )
    known[first] = Unreadable(first, next_, why)


class _FaultError(Exception):
    """What is wrong within a batch; never leaves this module."""


class Record(NamedTuple):
    """A record as this module reads it; aiokafka's own has the same names."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


_FRAME = struct.Struct(">qi")
_BEGINNING = struct.Struct(">8xi4xb4xH")
"""Length, version and attributes."""
_MAGIC_AT = 16
_HEADER = struct.Struct(">qiibIhiqqqhii")
_CODEC, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_CODEC_AT = 22
_NOT_PLAIN = _CODEC | _TRANSACTIONAL | _CONTROL
_MARKER = struct.Struct(">hh")
_NO_MARKER = _MARKER.pack(0, -1)

_OURS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""Not faults of the data. All else is: a panic of the codecs' library is no ``Exception``."""


class Batches:
    """The batches of a fetched partition; what aiokafka knows as ``MemoryRecords``.

    A batch that is not compressed is given as aiokafka's own reader of it, for its speed. If that
    raises, call :meth:`again`, and the batch is given as a :class:`Batch`, which does not.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._start = self._at = 0
        self._careful = False
        self._given_careful = True
        self.tp = TopicPartition("?", -1)
        self.position = 0
        """Where the fetch began; nothing before it is asked for, or lost."""
        self.unpacked = 0
        """Bytes that compressed batches have unpacked to."""

    def size_in_bytes(self) -> int:
        """Of all."""
        return len(self._data)

    def plain(self) -> Iterator[Any]:
        """The batches from here on, up to one that is compressed, in a transaction or faulty.

        For speed: clients that do not wait for more make a batch of each record. They are given as
        aiokafka's own reader of them; if that raises, call :meth:`again`.
        """
        data, size, at = self._data, len(self._data), self._at
        while size - at >= _HEADER.size:
            length, magic, attributes = _BEGINNING.unpack_from(data, at)
            end = at + _FRAME.size + length
            if magic != 2 or attributes & _NOT_PLAIN or not at + _HEADER.size <= end <= size:
                return
            batch = DefaultRecordBatch(data[at:end])
            if not batch.validate_crc():
                return
            self._start, self._at = at, end
            self._given_careful = False
            yield batch
            at = end

    def has_next(self) -> bool:
        """Whether a batch follows; a fetch ends early when it has given much already."""
        if self.unpacked > FETCHED_BYTES:
            return False
        # Only a later batch may be incomplete: a broker answers with a whole one at least.
        return self._frame() is not None or (self._at == 0 and len(self._data) > 0)

    def next_batch(self) -> Any:
        """The next batch, after :meth:`has_next`."""
        start, end = self._at, self._frame()
        if end is None:
            self._at = len(self._data)
            return Batch(self, None, self.position, "it has no length that could be right")
        self._start, self._at = start, end
        raw = self._data[start:end]
        theirs: Any = None
        try:
            if raw[_MAGIC_AT] < 2:
                theirs = LegacyRecordBatch(raw, raw[_MAGIC_AT])
            else:
                theirs = DefaultRecordBatch(raw)
            fault = None if theirs.validate_crc() else "its checksum is wrong"
        except _OURS:
            raise
        except BaseException as error:
            fault = f"its header is none: {error}"
        careful, self._careful = self._careful, False
        if fault is None and not careful and raw[_MAGIC_AT] == 2 and not raw[_CODEC_AT] & _CODEC:
            self._given_careful = False
            return theirs
        self._given_careful = True
        return Batch(self, raw, _FRAME.unpack_from(raw)[0], fault, theirs)

    def again(self) -> bool:
        """Have the batch that was given last given again, as a :class:`Batch`.

        False if it was one: then the fault is not the batch's.
        """
        if self._given_careful:
            return False
        self._at, self._careful = self._start, True
        return True

    def following(self) -> int | None:
        """The base offset of the batch after the one given last, if it is here."""
        return None if self._frame() is None else _FRAME.unpack_from(self._data, self._at)[0]

    def _frame(self) -> int | None:
        """Where the next batch ends, None if no whole one is left."""
        at = self._at
        if len(self._data) - at <= _MAGIC_AT:
            return None
        end: int = at + _FRAME.size + _FRAME.unpack_from(self._data, at)[1]
        return end if at + _MAGIC_AT < end <= len(self._data) else None


class Batch:
    """A batch with the attributes aiokafka asks for, which raises for nothing in it."""

    is_control_batch = False
    is_transactional = False
    producer_id: int | None = None

    def __init__(
        self,
        batches: Batches,
        raw: memoryview | None,
        base_offset: int,
        fault: str | None,
        theirs: Any = None,
    ) -> None:
        self._batches = batches
        self._fault = fault
        self._theirs = theirs
        """aiokafka's reader of the same bytes."""
        self._raw = raw
        self.base_offset = base_offset
        self._given: int | None = None
        """The offset given last."""
        self._header = None if raw is None or raw[_MAGIC_AT] < 2 else _HEADER.unpack_from(raw)
        if fault is not None:
            self.next_offset = self._behind()
            return
        if self._header is None:
            self.next_offset = theirs.next_offset
            return
        attributes, last_delta = self._header[5], self._header[6]
        following = batches.following() or 0
        self.next_offset = base_offset + last_delta + 1
        if base_offset < following < self.next_offset:
            self.next_offset = following
        self.producer_id = self._header[9]
        self.is_transactional = bool(attributes & _TRANSACTIONAL)
        self.is_control_batch = bool(attributes & _CONTROL)

    def _behind(self) -> int:
        """Where to go on behind a batch of which nothing can be believed but where it begins."""
        first = max(self.base_offset, self._batches.position)
        following = self._batches.following()
        if following is not None and following > first:
            return following
        if self._header is not None:
            last_delta, count = self._header[6], self._header[12]
            if last_delta + 1 == count and first < self.base_offset + count:
                return int(self.base_offset + count)
        # One by one: to go too far would be to leave good records out.
        return first + 1

    def validate_crc(self) -> bool:
        """True always: a batch that fails it gives no records."""
        return True

    def __iter__(self) -> Iterator[Any]:
        try:
            if self._fault is not None:
                raise _FaultError(self._fault)
            yield from self._records()
        except _OURS:
            raise
        except BaseException as error:
            first = max(self.base_offset, self._batches.position)
            if self._given is not None:
                first = max(first, self._given + 1)
            if first < self.next_offset:
                _report(self._batches.tp, first, self.next_offset, str(error) or repr(error))

    def __next__(self) -> Any:
        """The record of a control batch, which says what became of a transaction."""
        for record in self:
            if record.key is not None and len(record.key) >= _MARKER.size:
                return record
        return Record(self.base_offset, -1, 0, _NO_MARKER, None, [])

    def _records(self) -> Iterator[Any]:
        if self._header is None:
            for record in self._theirs:
                self._given = record.offset
                yield record
            return
        assert self._raw is not None
        codec = self._header[5] & _CODEC
        if codec == 0:  # aiokafka's reader has met something in it
            yield from self._slowly(self._raw[_HEADER.size :], False)
            return
        body, missing = _unpack(codec, self._raw[_HEADER.size :])
        self._batches.unpacked += len(body)
        if len(body) <= FETCHED_BYTES:
            whole = bytearray(self._raw[: _HEADER.size])
            whole[_CODEC_AT] &= ~_CODEC
            whole += body
            body = memoryview(whole)[_HEADER.size :]
            try:
                yield from DefaultRecordBatch(whole)
                return
            except _OURS:
                raise
            except BaseException:  # a name that is no UTF-8, or ours says what it is
                pass
        yield from self._slowly(body, missing)

    def _slowly(self, body: memoryview, missing: bool) -> Iterator[Record]:
        """The records one by one; ``missing``: the end of ``body`` is not there."""
        assert self._header is not None
        large = 0
        for record in _read(body, self._header, missing):
            if record.offset < self._batches.position:
                continue
            self._given = record.offset
            yield record
            large += len(record.value or b"") + len(record.key or b"")
            if large > FETCHED_BYTES:
                # What follows is fetched again from here.
                self._batches.unpacked = FETCHED_BYTES + 1
                self.next_offset = record.offset + 1
                return


# -- codecs ----------------------------------------------------------------------------------------

_scratch = threading.local()
_XERIAL = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"


def _unpack(codec: int, packed: memoryview) -> tuple[memoryview, bool]:
    """What ``packed`` unpacks to, and whether its end is missing for being too much."""
    if codec not in _INTO:
        raise _FaultError(f"no codec has the number {codec}")
    into = _INTO[codec]
    try:
        if codec == _GZIP:
            small = zlib.decompressobj(wbits=31)
            found = small.decompress(packed, _SCRATCH_BYTES)
            if small.eof and not small.unused_data:
                return memoryview(found), False
        else:
            scratch = getattr(_scratch, "buffer", None)
            if scratch is None:
                scratch = _scratch.buffer = bytearray(_SCRATCH_BYTES)
            # Only until the next call in this thread: the caller copies it at once.
            return memoryview(scratch)[: into(packed, scratch)], False
    except _OURS:
        raise
    except BaseException:  # too much for it, or damaged: then what follows says so
        pass
    # Memory of its own that the system gives only as it is written to.
    large = mmap.mmap(-1, BATCH_BYTES)
    try:
        return memoryview(large)[: into(packed, large)], False
    except _OURS:
        raise
    except BaseException as error:
        if "whole buffer" not in str(error):
            raise _FaultError(f"it can't be unpacked: {error}") from error
    return memoryview(large), True


def _snappy(packed: memoryview, out: Any) -> int:
    if bytes(packed[: len(_XERIAL)]) != _XERIAL[: len(_XERIAL)]:
        return int(cramjam.snappy.decompress_raw_into(packed, out))
    at, done, room = 16, 0, memoryview(out)
    while at < len(packed):
        (size,) = struct.unpack_from(">i", packed, at)
        at += 4
        if size <= 0 or at + size > len(packed):
            raise _FaultError("a block of snappy has no length that could be right")
        done += cramjam.snappy.decompress_raw_into(packed[at : at + size], room[done:])
        at += size
    return done


_GZIP = 1
_INTO: Final = {
    _GZIP: cramjam.gzip.decompress_into,
    2: _snappy,
    3: cramjam.lz4.decompress_into,
    4: cramjam.zstd.decompress_into,
}
"""Codec → what unpacks into a buffer and gives the number of bytes; raises if it is too small."""


# -- records ---------------------------------------------------------------------------------------


def _read(body: memoryview, header: tuple[Any, ...], missing: bool) -> Iterator[Record]:
    base, attributes, count = header[0], header[5], header[12]
    kind = int(bool(attributes & _APPEND_TIME))
    at = 0
    for _ in range(count):
        length, at = _varint(body, at)
        end = at + length
        if length < 0 or (end > len(body) and not missing):
            raise _FaultError("a record is longer than its batch")
        delta, at = _varint(body, at + 1)
        ahead, at = _varint(body, at)
        timestamp = header[8] if kind else header[7] + delta
        key, at = _bytes(body, at, KEPT_BYTES, missing)
        value, at = _bytes(body, at, WHOLE_BYTES, missing)
        if at > len(body):
            # The value went on beyond what was unpacked: its length is known, its end is not.
            yield Record(base + ahead, timestamp, kind, key, value, [])
            raise _FaultError(f"the batch unpacks to more than {BATCH_BYTES:,} bytes")
        headers, at = _headers(body, at)
        if at != end:
            raise _FaultError("a record's length is not what is in it")
        yield Record(base + ahead, timestamp, kind, key, value, headers)


def _headers(body: memoryview, at: int) -> tuple[list[tuple[str, bytes | None]], int]:
    """The headers, as many as tell that they are too many."""
    count, at = _varint(body, at)
    if count < 0:
        raise _FaultError("a record has a negative number of headers")
    headers: list[tuple[str, bytes | None]] = []
    kept = 0
    for _ in range(count):
        name, at = _bytes(body, at, KEPT_BYTES, False)
        raw, at = _bytes(body, at, KEPT_BYTES, False)
        if name is None:
            raise _FaultError("a header has no name")
        if kept <= 2 * KEPT_BYTES:
            headers.append((header_name(name), raw))
            kept += max(1, len(name) + len(raw or b""))
    return headers, at


def header_name(raw: bytes) -> str:
    """A header's name; one that is not UTF-8 with every byte that is not escaped.

    Its first byte is escaped too, so that it is never one of the names that mean something:
    ``b"ce_\\xff"`` is no attribute of CloudEvents, and is ``\\x63e_\\xff``.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return f"\\x{raw[0]:02x}" + raw[1:].decode("utf-8", "backslashreplace")


def _bytes(body: memoryview, at: int, whole: int, missing: bool) -> tuple[bytes | None, int]:
    size, at = _varint(body, at)
    if size < 0:
        return None, at
    end = at + size
    if end > len(body):
        if not missing or len(body) - at <= KEPT_BYTES:
            raise _FaultError("a field is longer than its batch")
        return cut(body[at:], size), end
    if size > whole:
        return cut(body[at:end]), end
    return bytes(body[at:end]), end


def _varint(body: memoryview, at: int) -> tuple[int, int]:
    """A zigzag varint of 64 bits at most."""
    shift = found = 0
    while True:
        byte = body[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (found >> 1) ^ -(found & 1), at
        shift += 7
        if shift > 63:
            raise _FaultError("a number is too long")
