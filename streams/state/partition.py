"""The state of one partition: its dossiers, its services and the ledgers derived from them.

Pure but for the store of dossier rows. State changes in two places only: ``merge.py`` (new facts)
and ``absorb_*`` (changelog rows, during a restore). Both only ever merge, so state never loses a
fact, whatever is read or processed twice, late, or from another owner.

What survives a crash: the rows a chunk names in its writes, once the broker has them. Ledgers are
derived: restored where the store keeps them (:mod:`streams.state.ledger_store`), else folded anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from streams.domain import catalogue, dossier
from streams.domain.calendar import day_of, month_and_day
from streams.domain.catalogue import Service
from streams.domain.dossier import (
    UNKNOWN,
    Contribution,
    Dossier,
    contribution,
)
from streams.domain.ledger import AgencyLedger, Month
from streams.domain.tally import Tally
from streams.state.codecs import (
    NO_FACTS,
    NO_LISTINGS,
    AgencyMonth,
    Checkpoint,
    UnreadableRowError,
    checkpoint_key,
    decode_agency_month,
    decode_checkpoint,
    decode_dossier,
    decode_listings,
    encode_checkpoint,
    encode_dossier,
    encode_listing,
    is_checkpoint,
    is_row_key,
    listing_key,
    split_row_key,
)
from streams.state.ledger_store import Change, SavedLedgers
from streams.state.stores import Store


class Seen(NamedTuple):
    """The latest that was accepted of an agency; each part only grows."""

    at: int | None
    """Broker time in ms of the last accepted event."""
    day: int | None
    """The latest day of an accepted submission or processing step."""


NOT_SEEN = Seen(None, None)


def later(one: Seen, other: Seen) -> Seen:
    """Part by part the greater."""
    return Seen(_greater(one.at, other.at), _greater(one.day, other.day))


def _greater(a: int | None, b: int | None) -> int | None:
    if a is None or b is None:
        return b if a is None else a
    return max(a, b)


def month_of_seen(seen: Seen) -> int | None:
    """The month whose row says when the agency was last heard of, also if no cell changed.

    That of the broker's day, or where no record had a time, of the day the facts speak of.
    """
    day = seen.day if seen.at is None else day_of(seen.at * 1000)
    return None if day is None else month_and_day(day)[0]


class Partition:
    """The state of partition ``number``."""

    def __init__(self, number: int, dossiers: Store) -> None:
        self.number = number
        self.dossiers = dossiers
        self.services: dict[bytes, Service] = {}
        self.ledgers: dict[str, AgencyLedger] = {}
        self.saved = SavedLedgers(dossiers) if dossiers.keeps else None
        self.seen: dict[str, Seen] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        """Source topic (full name) → its checkpoint, as its changelog has it."""
        self.stale = True
        """The ledgers lack rows or listings that are known: they are to be rebuilt."""
        self.unverified = False
        """The ledgers were restored, and not compared with the rows since."""
        self.lacks: list[str] = []
        """What could not be read of the changelogs: the event topics are to be read again."""
        self._unreadable_dossiers: set[bytes] = set()
        self._unreadable_listings: set[bytes] = set()
        self._unmerged_dossiers: set[bytes] = set()
        self._unmerged_listings: set[tuple[bytes, int]] = set()

    def ledger(self, agency: str) -> AgencyLedger:
        """The agency's ledger, made on first use."""
        ledger = self.ledgers.get(agency)
        if ledger is None:
            ledger = self.ledgers[agency] = AgencyLedger()
        return ledger

    def note(self, agency: str, seen: Seen) -> None:
        """Something of the agency was accepted."""
        self.seen[agency] = later(self.seen.get(agency, NOT_SEEN), seen)

    # Recovery

    def set_aside(self, damage: str) -> None:
        """Start again from nothing, because what the store has is not to be believed."""
        self.dossiers.set_aside(damage)
        if self.saved is not None:
            self.saved.forget()
        self.services.clear()
        self.ledgers.clear()
        self.seen.clear()
        self.checkpoints.clear()
        self.stale = True
        self._agree()

    def absorb_dossiers(self, records: list[tuple[bytes, bytes]]) -> None:
        """Merge rows of the dossiers changelog, in the order of the log."""
        fresh: dict[bytes, bytes] = {}
        added = 0
        get = self.dossiers.get
        for key, row in records:
            if is_checkpoint(key):
                self._absorb_checkpoint(key, row)
                continue
            if not is_row_key(key):
                continue  # nothing of ours
            known = fresh.get(key) or get(key)
            if known is None:
                added += 1
            elif known != row:
                read = self._readable(key, row)
                merged = dossier.merge(self._readable(key, known), read)
                if merged != read:
                    fresh[key] = encode_dossier(merged)
                    self._unmerged_dossiers.add(key)
                    continue
                self._unreadable_dossiers.discard(key)  # made good behind it
            fresh[key] = row
            self._unmerged_dossiers.discard(key)
        self.stale = self.stale or not self.keeping
        self.put(fresh, self._moved_by(fresh) if self.keeping else {}, added)

    @property
    def keeping(self) -> bool:
        """Whether the ledgers stand, and move and are kept with every row that is put.

        Else rows are put as they come, and the ledgers are to be folded.
        """
        return self.saved is not None and self.saved.live

    def put(
        self, rows: dict[bytes, bytes], changes: dict[str, list[Change]], added: int = 0
    ) -> None:
        """Put rows into the store, of which ``added`` are new.

        ``changes`` in contributions are in the ledgers already.
        """
        if self.saved is None:
            self.dossiers.put_many(rows, added=added)
        else:
            self.saved.put(rows, changes, self.ledgers, added)

    def _moved_by(self, rows: dict[bytes, bytes]) -> dict[str, list[Change]]:
        """Move the ledgers to what they are with ``rows``, and say how."""
        changes: dict[str, list[Change]] = {}
        for (key, row), known in zip(rows.items(), self.dossiers.get_many(list(rows)), strict=True):
            if row == known:
                continue
            old = None if known is None else contribution(decode_dossier(known))
            new = contribution(self._readable(key, row))
            if key in self._unreadable_dossiers:
                rows[key] = NO_FACTS if known is None else known
            agency, _ = split_row_key(key)
            of_agency = changes.setdefault(agency, [])
            if old != new:
                self.ledger(agency).replace(old, new)
                of_agency.append((old, new))
            else:
                self.ledger(agency)
        return changes

    def restore(self) -> Generator[None, None, None]:
        """Take the ledgers from the store, if they are good; ``keeping`` says so afterwards.

        Only before the first rows are put; their listings are those of the time they were saved.
        """
        if self.saved is None or self.saved.known:
            return
        found = yield from self.saved.restore()
        if found is not None:
            self.ledgers = found
            self.unverified = True

    def rebuild_ledgers(self) -> Generator[object, None, None]:
        """Make the ledgers those of the rows and listings that are known now, in slices."""
        while self.stale or (self.saved is not None and not self.keeping):
            if self.keeping:
                self.stale = False
                yield from self._relist()
            else:
                yield from self.fold()

    def _relist(self) -> Iterator[None]:
        """Move restored ledgers to the listings that are known now."""
        listed: defaultdict[str, dict[str, Service]] = defaultdict(dict)
        for key, service in self.services.items():
            agency, code = split_row_key(key)
            listed[agency][code] = service
        for agency in listed.keys() | self.ledgers.keys():
            ledger, of_agency = self.ledger(agency), listed[agency]
            for code in of_agency.keys() | ledger.services.keys():
                ledger.relist(code, of_agency.get(code, {}))
            yield

    def absorb_services(self, records: list[tuple[bytes, bytes]]) -> None:
        """Merge rows of the services changelog."""
        self.stale = True
        copied: set[bytes] = set()
        for key, row in records:
            if is_checkpoint(key):
                self._absorb_checkpoint(key, row)
                continue
            if not is_row_key(key):
                continue  # nothing of ours
            try:
                at, read, whole = decode_listings(key, row)
            except UnreadableRowError:
                self._unreadable_listings.add(key)
                continue
            self._unreadable_listings.discard(key)  # made good behind it
            if at not in copied:  # the ledgers have the old ones, to see what has changed
                copied.add(at)
                self.services[at] = dict(self.services.get(at, {}))
            merged = self.services[at]
            for day, listing in read.items():
                catalogue.take_listing(merged, day, listing)
            for day in merged if whole else read:
                if merged[day] == read.get(day):
                    self._unmerged_listings.discard((at, day))
                else:
                    self._unmerged_listings.add((at, day))

    def _readable(self, key: bytes, row: bytes) -> Dossier:
        """The dossier in a row of a changelog; of one that can't be read nothing is known.

        Whatever stood there: the facts are in the event topics.
        """
        try:
            return decode_dossier(row)
        except UnreadableRowError:
            self._unreadable_dossiers.add(key)
            return UNKNOWN

    def _absorb_checkpoint(self, key: bytes, row: bytes) -> None:
        topic = key[1:].decode("utf-8", "backslashreplace")
        try:
            self.advance(topic, decode_checkpoint(row))
        except UnreadableRowError:
            self.advance(topic, Checkpoint(0))  # read again what is known already

    def advance(self, topic: str, checkpoint: Checkpoint) -> None:
        """The rows of everything of ``topic`` before the checkpoint are in the logs.

        Of those in a changelog the last one counts, also where it is behind another: a worker that
        had lost the partition was not wrong, and a log that lost records is read again. Kept
        beside the rows, because a store on disk spares reading the changelog that says it.
        """
        if self.checkpoints.get(topic) != checkpoint:
            self.checkpoints[topic] = checkpoint
            self.dossiers.put_many({}, {checkpoint_key(topic): encode_checkpoint(checkpoint)})

    def recall_checkpoints(self, topics: Iterable[str]) -> None:
        """Take the checkpoints of ``topics`` from the store."""
        for topic in topics:
            row = self.dossiers.beside_one(checkpoint_key(topic))
            if row is not None:
                self.checkpoints[topic] = decode_checkpoint(row)

    @property
    def incomplete(self) -> list[str]:
        """What of the changelogs could not be read, if anything."""
        keys = sorted(self._unreadable_dossiers | self._unreadable_listings)
        return [*self.lacks, *(f"row {key!r}" for key in keys)]

    def unmerged(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """Dossier and service rows whose last changelog record lacks facts that are known.

        A worker that had lost the partition may have written an older row last, or nobody knows
        who something that can't be read; writing these again makes the changelog whole even after
        compaction.
        """
        keys = self._unmerged_dossiers | self._unreadable_dossiers
        rows = {key: self.dossiers.get(key) for key in keys}
        dossiers = {key: row for key, row in rows.items() if row is not None}
        services = dict.fromkeys(self._unreadable_listings, NO_LISTINGS) | {
            listing_key(key, day): encode_listing(self.services[key][day])
            for key, day in self._unmerged_listings
        }
        return dossiers, services

    def fold(self, slice_size: int = 1000) -> Iterator[int]:
        """Derive the ledgers from all dossiers and services, from nothing.

        Yields the number of rows done after each slice, so that a caller can let others run.
        Where the store keeps ledgers, it then has these.
        """
        done = 0
        self.stale = self.unverified = False
        if self.saved is not None:
            for _ in self.saved.folding():
                yield done
        self.ledgers = {}
        for key, service in self.services.items():
            agency, code = split_row_key(key)
            self.ledger(agency).relist(code, service)
            done += 1
            if done % slice_size == 0:
                yield done
        tallies: defaultdict[bytes, Tally] = defaultdict(Tally)
        unread: list[bytes] = []
        rows = self.dossiers.items()
        while some := list(islice(rows, slice_size)):
            found: defaultdict[bytes, list[Contribution]] = defaultdict(list)
            for key, row in some:
                state = self._readable(key, row)
                if state is UNKNOWN:
                    unread.append(key)
                counted = contribution(state)
                of_agency = found[key[: key.index(b" ")]]
                if counted is not None:
                    of_agency.append(counted)
            for agency_key, contributions in found.items():
                tallies[agency_key].count(contributions)
            done += len(some)
            yield done
        # Behind the ledgers' back: what could not be read counts for nothing already.
        self.dossiers.put_many(dict.fromkeys(unread, NO_FACTS))
        for agency_key, tally in tallies.items():
            for _ in self.ledger(agency_key.decode()).add(tally):
                yield done
        if self.saved is not None:
            for _ in self.saved.save_all(self.ledgers):
                yield done
        yield done

    def unpublished(
        self, published: Mapping[tuple[str, int], bytes], seen_before: Mapping[str, Seen]
    ) -> Generator[None, None, set[tuple[str, int]]]:
        """The (agency, month) pairs whose published row differs from what it should be.

        ``published`` has the newest rows of the partition. Differing ones are what a crash left
        behind, or an earlier version of the counting rules, or a worker that wrote after it had
        lost the partition. What an agency has seen must stand in one of its rows at least;
        ``seen_before`` has the latest of all rows there ever were. To be run to its end before
        anything else is done with the partition.
        """
        differing: set[tuple[str, int]] = set()
        seen: dict[str, Seen] = {}
        for number, (key, value) in enumerate(published.items()):
            if number % 100 == 99:
                yield
            try:
                row = decode_agency_month(value)
            except UnreadableRowError:
                differing.add(key)
                continue
            known = Seen(row.last_event_at, row.latest_day)
            seen[row.agency] = later(seen.get(row.agency, NOT_SEEN), known)
            ledger = self.ledgers.get(row.agency)
            cells = ledger.months.get(row.month) if ledger is not None else None
            if row.cells.rows() != (cells.rows() if cells is not None else {}):
                differing.add(key)
        for agency, ledger in self.ledgers.items():
            for month, cells in ledger.months.items():
                if (agency, month) not in published and cells.rows():
                    differing.add((agency, month))
        for agency, known in seen_before.items():
            self.note(agency, known)
        for agency, known in self.seen.items():
            heard = month_of_seen(known)
            if known != seen.get(agency) and heard is not None:
                differing.add((agency, heard))
        return differing

    def published(self) -> None:
        """The logs agree with the state: forget what had changed."""
        self._agree()
        for ledger in self.ledgers.values():
            ledger.changed.clear()

    def _agree(self) -> None:
        self.lacks.clear()
        self._unreadable_dossiers.clear()
        self._unreadable_listings.clear()
        self._unmerged_dossiers.clear()
        self._unmerged_listings.clear()

    def month_row(self, agency: str, month: int) -> AgencyMonth:
        """The agency-months row as it should stand."""
        seen = self.seen.get(agency, NOT_SEEN)
        ledger = self.ledgers.get(agency)
        cells = ledger.months.get(month) if ledger is not None else None
        return AgencyMonth(agency, month, seen.at, seen.day, cells or Month())
