"""Ledgers kept beside the rows they are derived from, so that a restart need not fold them anew.

Knows the store and the counting rules, nothing of logs. Beside the rows of a partition are kept

- of each agency its ledger as it was at some moment, and a journal of what changed in its
  dossiers' contributions since. A journal entry goes in with the rows it speaks of, all or
  nothing, so whatever cuts the store short leaves rows and ledgers of one moment;
- one mark: the fingerprint of the rules that counted. While it is there, the saved ledger and the
  journal of every agency give what folding its rows gives. It is put last and removed first.

Listings are no part of this promise: a ledger is saved with those it had, and who restores it
moves it to the present ones (:meth:`streams.domain.ledger.AgencyLedger.relist`).

What survives a crash: all of it, as the store's rows do. What is unreadable, has a gap or was
counted by other rules is dropped whole, and the ledgers are folded (docs/adr/0006).
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import zoneinfo
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import msgspec

from streams.domain.calendar import ZONE
from streams.domain.catalogue import Service
from streams.domain.dossier import Contribution
from streams.domain.ledger import AgencyLedger, Month
from streams.domain.tally import Tally
from streams.state.stores import DamagedStoreError, Store, UnusableStoreError

logger = logging.getLogger(__name__)

Change = tuple[Contribution | None, Contribution | None]
"""What a dossier counted for, and what it counts for now."""
Changes = Mapping[str, list[Change]]
"""By agency; an agency of which rows are put, but none that counts otherwise now, has none."""
Slices = Generator[None, None, None]
"""Work that is done in slices of some milliseconds, so that a caller can let others run."""

_MARK = b"ledgers"
_LEDGER = b"ledger "
_JOURNAL = b"journal "
"""Followed by the agency, a space and the entry's number in eight bytes."""

SLICE_BYTES = 128 * 1024
"""A ledger is encoded and decoded in slices of about this size."""
LEAST_CHANGES = 2000
CHANGES_PER_BYTE = 1 / 40
"""A ledger is saved anew when its journal has so many changes for each of its bytes: encoding a
byte takes some 8 ns, replaying a change 1 µs, so saving costs a chunk 0.3 µs a change at most,
and replaying all journals takes little longer than decoding all ledgers."""


def fingerprint() -> bytes:
    """What the saved ledgers depend on beside the rows: the sources that count, decode and save,
    the zone's rules, and the interpreter's and the codec's versions.

    Where the sources cannot be read it is never the same twice, so nothing saved is trusted.
    """
    digest = hashlib.sha256()
    try:
        package = resources.files("streams")
        for folder in ("domain", "state"):
            for source in sorted((package / folder).iterdir(), key=lambda entry: entry.name):
                if source.name.endswith(".py"):
                    text = source.read_bytes()
                    digest.update(
                        b"%s/%s %d\n" % (folder.encode(), source.name.encode(), len(text))
                    )
                    digest.update(text)
        digest.update(_zone_rules())
    except OSError as error:
        logger.warning("saved ledgers will not outlive this process: %s", error)
        digest.update(os.urandom(32))
    digest.update(f"{sys.version} msgspec {msgspec.__version__}".encode())
    return digest.digest()


def _zone_rules() -> bytes:
    """The file that ``ZoneInfo`` has read: the system's, else that of the package ``tzdata``."""
    for directory in zoneinfo.TZPATH:
        with suppress(FileNotFoundError):
            return Path(directory, ZONE.key).read_bytes()
    area, _, place = ZONE.key.rpartition("/")
    return (resources.files("tzdata") / "zoneinfo" / area / place).read_bytes()


FINGERPRINT = fingerprint()
"""Taken when the process starts: sources that are replaced later are not the ones that count."""


class _Service(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    code: str
    listings: Service
    online: tuple[dict[int, int], dict[int, int]]
    firsts: tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]]
    resolved: dict[tuple[int, int], int]


class _Ledger(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    next_entry: int
    """The number of the first journal entry that is not in it."""
    months: dict[int, dict[int, list[int]]]
    services: list[msgspec.Raw]


_encode = msgspec.msgpack.Encoder().encode
_decode_ledger = msgspec.msgpack.Decoder(_Ledger).decode
_decode_service = msgspec.msgpack.Decoder(_Service).decode
_decode_changes = msgspec.msgpack.Decoder(list[Change]).decode


_EMPTY = _encode(_Ledger(0, {}, []))
"""The ledger of an agency that nothing is known of."""


class Copy(NamedTuple):
    """All that a ledger is, at one moment; equal for equal ledgers."""

    months: dict[int, dict[int, list[int]]]
    """Without columns of zeroes."""
    services: dict[str, _Service]
    """Without those that are neither listed nor have dossiers."""


def copied(ledger: AgencyLedger) -> Copy:
    """The ledger as it is now, while it may move on."""
    months = {
        number: {column: list(cells) for column, cells in month.cells.items() if any(cells)}
        for number, month in ledger.months.items()
    }
    services = {
        code: _Service(
            code,
            service.listings,  # never changed in place
            (dict(service.online[0]), dict(service.online[1])),
            (dict(service.firsts[0]), dict(service.firsts[1])),
            dict(service.resolved),
        )
        for code, service in ledger.services.items()
        if service.listings or any(service.online) or service.resolved
    }
    return Copy({number: month for number, month in months.items() if month}, services)


def encoded(ledger: AgencyLedger, next_entry: int) -> Generator[None, None, bytes]:
    """The ledger as it is now as bytes, encoded in slices while it may move on."""
    months, copies = copied(ledger)
    services: list[msgspec.Raw] = []
    size = 0
    for copy in copies.values():
        services.append(msgspec.Raw(_encode(copy)))
        size += len(bytes(services[-1]))
        if size > SLICE_BYTES:
            yield
            size = 0
    return _encode(_Ledger(next_entry, months, services))


def decoded(saved: bytes) -> Generator[None, None, tuple[AgencyLedger, int]]:
    """The ledger, and the number of the first journal entry that is not in it.

    Raises ``msgspec.MsgspecError`` and what else follows from wrong bytes.
    """
    found = _decode_ledger(saved)
    ledger = AgencyLedger()
    days: dict[int, int] = {}
    one = days.setdefault  # of equal days keep one object, as the ledger does
    size = 0
    for raw in found.services:
        service = _decode_service(raw)
        # The days at each level follow from the listings; what else this moves is thrown away.
        ledger.relist(service.code, service.listings)
        own = ledger.services[service.code]
        for known, online in zip(own.online, service.online, strict=True):
            known.update((one(day, day), dossiers) for day, dossiers in online.items())
        for firsts, saved_firsts in zip(own.firsts, service.firsts, strict=True):
            firsts.update(saved_firsts)
        own.resolved.update(service.resolved)
        size += len(bytes(raw))
        if size > SLICE_BYTES:
            yield
            size = 0
    ledger.months.clear()
    for number, columns in found.months.items():
        month = ledger.months[number] = Month()
        for column, cells in columns.items():
            month.cells[column] = cells
            month.totals[column] = sum(cells)
    return ledger, found.next_entry


def replay(ledger: AgencyLedger, changes: Counter[Contribution]) -> Slices:
    """Put in and take out so many dossiers with each contribution."""
    more = Tally()
    for counted, dossiers in changes.items():
        if dossiers > 0:
            more.count([counted] * dossiers)
    yield from ledger.add(more)
    for number, (counted, dossiers) in enumerate(changes.items()):
        for _ in range(-dossiers):
            ledger.replace(counted, None)
        if number % 1000 == 0:
            yield


class _Journal:
    """What is known of an agency's journal and saved ledger."""

    __slots__ = ("changes", "first", "next", "size")

    def __init__(self, first: int, size: int) -> None:
        self.first = self.next = first
        """Numbers of the first entry kept and of the next one."""
        self.changes = 0
        self.size = size
        """Bytes of the saved ledger."""

    @property
    def excess(self) -> float:
        """Above 1 the ledger is to be saved anew."""
        return self.changes / max(LEAST_CHANGES, self.size * CHANGES_PER_BYTE)


class SavedLedgers:
    """The saved ledgers of one store, and the only way in which its rows may be changed.

    ``live`` once they are restored, or saved after a fold; rows that are put before that remove
    the mark.
    """

    def __init__(self, store: Store, fingerprint: bytes = FINGERPRINT) -> None:
        self._store = store
        self._fingerprint = fingerprint
        self.live = False
        self._marked: bool | None = None
        """Whether the mark is in the store; None while nobody has looked."""
        self._moved = False
        """Whether rows were put while not live, since :meth:`folding`."""
        self._journals: dict[str, _Journal] = {}
        self._saving: Slices | None = None

    @property
    def known(self) -> bool:
        """Whether :meth:`restore` has nothing to add: it was tried, or rows have been put."""
        return self._marked is not None

    def put(
        self,
        rows: Mapping[bytes, bytes],
        changes: Changes,
        ledgers: Mapping[str, AgencyLedger],
        added: int,
    ) -> None:
        """Put rows in, of which ``changes`` says everything that they change in contributions.

        ``ledgers`` are those that the changes are already in; ``added`` of the rows are new.
        """
        if not self.live:
            self._moved = True
            beside: dict[bytes, bytes | None] = {} if self._marked is False else {_MARK: None}
            self._store.put_many(rows, beside, added=added)
            self._marked = False
            return
        beside = {}
        for agency, of_agency in changes.items():
            journal = self._journals.get(agency)
            if journal is None:
                journal = self._journals[agency] = _Journal(0, len(_EMPTY))
                beside[_ledger_key(agency)] = _EMPTY
            if of_agency:
                beside[_entry_key(agency, journal.next)] = _encode(of_agency)
                journal.next += 1
                journal.changes += len(of_agency)
        self._store.put_many(rows, beside, added=added)
        self._save_some(ledgers)

    def _save_some(self, ledgers: Mapping[str, AgencyLedger]) -> None:
        """A slice of saving the ledger whose journal has grown most beyond its measure."""
        if self._saving is None:
            if not self._journals:
                return
            agency = max(self._journals, key=lambda agency: self._journals[agency].excess)
            if self._journals[agency].excess < 1:
                return
            self._saving = self._save(agency, ledgers[agency])
        if next(self._saving, self) is self:
            self._saving = None

    def _save(self, agency: str, ledger: AgencyLedger) -> Slices:
        """Save a ledger, and drop the journal entries that are in it; both or none."""
        journal = self._journals.setdefault(agency, _Journal(0, 0))
        until, unsaved = journal.next, journal.changes
        saved = yield from encoded(ledger, until)
        beside: dict[bytes, bytes | None] = {
            _entry_key(agency, number): None for number in range(journal.first, until)
        }
        beside[_ledger_key(agency)] = saved
        self._store.put_many({}, beside)
        journal.first, journal.size = until, len(saved)
        journal.changes -= unsaved

    # Recovery

    def restore(self) -> Generator[None, None, dict[str, AgencyLedger] | None]:
        """The ledgers of all agencies that have rows, with the listings they were saved with.

        None, and not live, when they are not what folding the rows would give, or this is not
        certain. To be run to its end before rows are put.
        """
        mark = self._store.beside_one(_MARK)
        found: dict[str, AgencyLedger] | None = None
        if mark == self._fingerprint:
            try:
                found = yield from self._read()
            except (DamagedStoreError, UnusableStoreError):
                raise  # then the rows are not to be folded either
            except Exception as error:  # whatever is wrong with what was kept, it is not needed
                logger.warning("saved ledgers cannot be read, folding anew: %r", error)
        elif mark is not None:
            logger.info("saved ledgers were counted by other rules, folding anew")
        if self.known:
            return None  # rows were put meanwhile
        self._marked = mark is not None
        self.live = found is not None
        if found is None:
            self._journals.clear()
        return found

    def _read(self) -> Generator[None, None, dict[str, AgencyLedger]]:
        ledgers: dict[str, AgencyLedger] = {}
        journals: dict[str, _Journal] = {}
        changes: dict[str, Counter[Contribution]] = {}
        for key, value in self._store.beside(_LEDGER):
            agency = key[len(_LEDGER) :].decode()
            ledgers[agency], first = yield from decoded(value)
            journals[agency] = _Journal(first, len(value))
            yield
        for key, value in self._store.beside(_JOURNAL):
            agency, number = _agency_and_number(key)
            journal = journals[agency]
            if number != journal.next:
                raise ValueError(f"journal of {agency}: {number} where {journal.next} was due")
            net = changes.setdefault(agency, Counter())
            entry = _decode_changes(value)
            for old, new in entry:
                if old is not None:
                    net[old] -= 1
                if new is not None:
                    net[new] += 1
            journal.next += 1
            journal.changes += len(entry)
            yield
        for agency, net in changes.items():
            yield from replay(ledgers[agency], net)
        self._journals = journals
        return ledgers

    def folding(self) -> Slices:
        """Everything is about to be folded anew: drop what is saved, the mark first of all."""
        self.live = False
        self._saving = None
        self._store.put_many({}, {_MARK: None})
        self._marked = False
        self._moved = False
        self._journals.clear()
        yield
        keys = [key for prefix in (_JOURNAL, _LEDGER) for key, _ in self._store.beside(prefix)]
        for start in range(0, len(keys), 1000):
            self._store.put_many({}, dict.fromkeys(keys[start : start + 1000]))
            yield

    def save_all(self, ledgers: Mapping[str, AgencyLedger]) -> Slices:
        """Save what a fold of all rows gave; live at the end, unless rows were put meanwhile."""
        for agency, ledger in ledgers.items():
            yield from self._save(agency, ledger)
            yield
        if not self._moved:
            self._store.put_many({}, {_MARK: self._fingerprint})
            self._marked = True
            self.live = True

    def forget(self) -> None:
        """The store was set aside."""
        self.live = False
        self._marked = False
        self._moved = True
        self._saving = None
        self._journals.clear()


def _ledger_key(agency: str) -> bytes:
    return _LEDGER + agency.encode()


def _entry_key(agency: str, number: int) -> bytes:
    return b"%s%s %s" % (_JOURNAL, agency.encode(), number.to_bytes(8, "big"))


def _agency_and_number(key: bytes) -> tuple[str, int]:
    return key[len(_JOURNAL) : -9].decode(), int.from_bytes(key[-8:], "big")
