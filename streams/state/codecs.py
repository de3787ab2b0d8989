"""Rows as bytes: what is written to changelogs and to the public topic, and read back.

Pure. Table rows (dossiers, services) are private: one version byte, then MessagePack. Rows of
``agency-months`` are public JSON, meant to be read by anyone with a Kafka client and DuckDB:

``{"agency": "H56", "month": "2022-01", "last_event_at": 1641348000000, "latest_day": "2022-01-05",
"columns": {"submitted_online": [0, 0, 3, …], …}}``

``columns`` has one number per day of the month (31 slots), zero columns left out; the names are
:data:`streams.domain.definitions.COLUMNS`. ``last_event_at`` (broker time, ms) and ``latest_day``
(the latest day of a submission or a processing step) speak of the agency, as far as was known when
the row was written: an agency's value is the greatest over its rows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Annotated, Final, NamedTuple, TypeVar
from zlib import crc32

import msgspec
import orjson

from schemas.instants import record_time
from streams.domain import dossier
from streams.domain.calendar import month_name, parse_month
from streams.domain.catalogue import Listing, Service
from streams.domain.dossier import Dossier
from streams.domain.ledger import Month
from streams.kafka.log import Record

_VERSION = b"\x01"
_LISTING_VERSION = b"\x02"
"""Of a row of one listing. Rows of the first version had a service's whole history, which in time
no record would have held."""

_encode = msgspec.msgpack.Encoder().encode
_decode_dossier = msgspec.msgpack.Decoder(Dossier).decode
_decode_listing = msgspec.msgpack.Decoder(Listing).decode
_decode_service = msgspec.msgpack.Decoder(dict[int, Listing]).decode


class UnreadableRowError(ValueError):
    """A changelog row that this version cannot read: never guess, never skip."""


def row_key(agency: str, code: str) -> bytes:
    """The key of a dossier's or service's row. Codes hold no spaces, so it is unambiguous."""
    return f"{agency} {code}".encode()


def split_row_key(key: bytes) -> tuple[str, str]:
    """The inverse of :func:`row_key`."""
    agency, _, code = key.decode().partition(" ")
    return agency, code


class LastRecord(NamedTuple):
    """The last record of a source partition that was processed, to know it again."""

    offset: int
    digest: int
    """Of :func:`record_digest`."""


class Checkpoint(NamedTuple):
    """How far a source partition is processed, with every row of it in the logs."""

    next: int
    """The next offset to process."""
    last: LastRecord | None = None
    """None: nothing was processed yet, or by a version that did not say."""
    epoch: int = -1
    """The partition's leader epoch as of its record batch; -1: not known."""
    identity: str = ""
    """Of which topic of that name this speaks: another one has other records at its offsets."""


def record_digest(record: Record) -> int:
    """Tells a record from another that a broker put at the same offset after it lost the first."""
    digest = crc32(record.value or b"", crc32(record.key or b""))
    return crc32(b"%d" % (record.timestamp or 0), digest)


def checkpoint_key(topic: str) -> bytes:
    """The key under which a changelog keeps the checkpoint of its source topic (full name)."""
    return f" {topic}".encode()


def is_checkpoint(key: bytes) -> bool:
    """Whether a changelog key is a checkpoint's; agency codes never start with a space."""
    return key.startswith(b" ")


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """``next offset digest epoch identity``; the offset and digest (hex) are the last record's.

    A hyphen stands for what is not known.
    """
    offset, digest = ("-", "-") if checkpoint.last is None else checkpoint.last
    mark = digest if isinstance(digest, str) else f"{digest:08x}"
    identity = checkpoint.identity or "-"
    return f"{checkpoint.next} {offset} {mark} {checkpoint.epoch} {identity}".encode()


def decode_checkpoint(row: bytes) -> Checkpoint:
    """The inverse of :func:`encode_checkpoint`. Raises :class:`UnreadableRowError`."""
    try:
        position, *more = row.decode().split()
        if not more:  # of a version that knew no more
            return Checkpoint(int(position))
        offset, digest, epoch, identity = more
        last = None if offset == "-" else LastRecord(int(offset), int(digest, 16))
        return Checkpoint(int(position), last, int(epoch), "" if identity == "-" else identity)
    except ValueError as error:
        raise UnreadableRowError(f"checkpoint: {row[:100]!r}") from error


def encode_dossier(dossier: Dossier) -> bytes:
    """One version byte and the MessagePack of the facts."""
    return _VERSION + _encode(dossier)


NO_FACTS: Final = encode_dossier(dossier.UNKNOWN)
"""The row of a dossier of which nothing is known."""

NO_LISTINGS: Final = _VERSION + _encode({})
"""The row of a service that was never listed."""


def is_row_key(key: bytes) -> bool:
    """Whether a changelog key may be a row's (:func:`row_key`): others may write there too."""
    agency, space, code = key.partition(b" ")
    try:
        return bool(agency and space and code and key.decode())
    except UnicodeDecodeError:
        return False


def decode_dossier(row: bytes) -> Dossier:
    """The inverse of :func:`encode_dossier`. Raises :class:`UnreadableRowError`."""
    if row[:1] != _VERSION:
        raise _other_version(row)
    try:
        return _decode_dossier(row[1:])
    except msgspec.MsgspecError as error:
        raise UnreadableRowError(f"dossier row: {error}") from error


def listing_key(service_key: bytes, effective_from: int) -> bytes:
    """The key of a listing's row: ``agency service YYYY-MM-DD``."""
    return b"%b %b" % (service_key, date.fromordinal(effective_from).isoformat().encode())


def encode_listing(listing: Listing) -> bytes:
    """One version byte and the MessagePack of the listing."""
    return _LISTING_VERSION + _encode(listing)


class ListingsRow(NamedTuple):
    """A row of the services changelog."""

    service_key: bytes
    """As :func:`row_key` makes it."""
    listings: Service
    whole: bool
    """A row of the first version, with all listings of the service that its writer knew."""


def decode_listings(key: bytes, row: bytes) -> ListingsRow:
    """What a row of the services changelog says. Raises :class:`UnreadableRowError`."""
    try:
        if row[:1] == _VERSION:
            return ListingsRow(key, _decode_service(row[1:]), True)
        if row[:1] == _LISTING_VERSION:
            service_key, _, day = key.rpartition(b" ")
            effective_from = date.fromisoformat(day.decode()).toordinal()
            return ListingsRow(service_key, {effective_from: _decode_listing(row[1:])}, False)
    except (ValueError, msgspec.MsgspecError) as error:
        raise UnreadableRowError(f"service row: {error}") from error
    raise _other_version(row)


def _other_version(row: bytes) -> UnreadableRowError:
    return UnreadableRowError(
        f"row: version {row[:1]!r} is none of this version's; a newer hoso wrote it"
    )


class AgencyMonth(NamedTuple):
    """A row of ``agency-months``."""

    agency: str
    month: int
    """``year * 12 + month - 1``."""
    last_event_at: int | None
    """Broker time of the agency's last accepted event, ms since the epoch."""
    latest_day: int | None
    """The latest day (ordinal) of an accepted submission or processing step of the agency."""
    cells: Month


def agency_month_key(agency: str, month: int) -> bytes:
    """``agency/YYYY-MM``."""
    return f"{agency}/{month_name(month)}".encode()


def split_agency_month_key(key: bytes) -> tuple[str, int] | None:
    """The inverse of :func:`agency_month_key`; an agency code may itself hold a slash.

    None of any other key: readers of ``agency-months`` ignore what they don't know (contract,
    section 1).
    """
    try:
        agency, _, month = key.decode().rpartition("/")
        return (agency, parse_month(month)) if agency else None
    except ValueError:
        return None


_TAKEN_IN = b"~taken-in/"


def taken_in_key(topic: str) -> bytes:
    """The key of a mark in ``agency-months``; ``topic`` is a source topic's full name.

    Its value is the next offset of that topic to be processed, on the same partition number: the
    rows before the mark in its partition hold exactly the events before that offset (and before
    those of the other topics' marks that stand before it). Contract, section 1.
    """
    return _TAKEN_IN + topic.encode()


def split_taken_in_key(key: bytes) -> str | None:
    """The source topic that a mark speaks of; None of any other key."""
    if not key.startswith(_TAKEN_IN) or split_agency_month_key(key) is not None:
        return None
    return key[len(_TAKEN_IN) :].decode("utf-8", "backslashreplace")


def encode_taken_in(next_offset: int) -> bytes:
    """Decimal text."""
    return b"%d" % next_offset


def decode_taken_in(value: bytes) -> int | None:
    """The inverse of :func:`encode_taken_in`; None of what is no offset."""
    return int(value) if value.isdigit() and len(value) < 20 else None


SERVED_AT_KEY = b"~served-at"
"""The key, in each partition of ``agency-months``, of the address at which the worker that owns the
partition is asked over HTTP. The newest stands; who reads it asks there whether it still holds."""


def encode_agency_month(row: AgencyMonth) -> bytes:
    """Public JSON, see the module's docstring."""
    return orjson.dumps(
        {
            "agency": row.agency,
            "month": month_name(row.month),
            "last_event_at": row.last_event_at,
            "latest_day": None
            if row.latest_day is None
            else date.fromordinal(row.latest_day).isoformat(),
            "columns": row.cells.rows(),
        }
    )


class _AgencySeenJson(msgspec.Struct):
    agency: str
    month: str
    last_event_at: int | None
    latest_day: date | None


class _AgencyMonthJson(_AgencySeenJson):
    """The public row as others read it; fields and columns of newer versions are left alone."""

    columns: dict[str, Annotated[list[int], msgspec.Meta(max_length=31)]]


_decode_month = msgspec.json.Decoder(_AgencyMonthJson).decode
_decode_seen = msgspec.json.Decoder(_AgencySeenJson).decode


def decode_agency_seen(value: bytes) -> tuple[str, int, int | None, int | None]:
    """The agency, month, ``last_event_at`` and ``latest_day`` of a row; its columns are not read.

    Raises :class:`UnreadableRowError`.
    """
    return _public(_decode_seen, value)[1]


def decode_agency_month(value: bytes) -> AgencyMonth:
    """The inverse of :func:`encode_agency_month`. Raises :class:`UnreadableRowError`."""
    row, said = _public(_decode_month, value)
    return AgencyMonth(*said, Month.from_rows(row.columns))


_Row = TypeVar("_Row", bound=_AgencySeenJson)


def _public(
    decode: Callable[[bytes], _Row], value: bytes
) -> tuple[_Row, tuple[str, int, int | None, int | None]]:
    try:
        row = decode(value)
        day = None if row.latest_day is None else row.latest_day.toordinal()
        return row, (row.agency, parse_month(row.month), record_time(row.last_event_at), day)
    except (ValueError, msgspec.MsgspecError) as error:
        raise UnreadableRowError(f"agency-months row: {error}") from error
