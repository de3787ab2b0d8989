"""New facts into a partition: the one place where they change its state.

Merges only, so state never loses a fact, whatever is processed twice or late. Pure but for the
partition's store of dossier rows; what survives a crash is what the caller writes of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from schemas.instants import LAST_RECORD_TIME
from streams.domain import catalogue, dossier
from streams.domain.calendar import day_of
from streams.domain.catalogue import Listing, Service
from streams.domain.dossier import (
    UNKNOWN,
    Dossier,
    DossierFact,
    Outcome,
    StepFact,
    contribution,
)
from streams.state.codecs import (
    decode_dossier,
    encode_dossier,
    encode_listing,
    listing_key,
    row_key,
)
from streams.state.ledger_store import Change
from streams.state.partition import NOT_SEEN, Partition, Seen, later, month_of_seen


class Merge:
    """Facts taken into one partition together; each touched row is read and written once.

    Merge with :meth:`merge` and :meth:`listing`, then :meth:`close`.
    """

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._before: dict[bytes, Dossier] = {}
        self._after: dict[bytes, Dossier] = {}
        self._services: dict[bytes, Service] = {}
        self._listings: dict[tuple[bytes, int], None] = {}
        """Service and day of each listing that was touched."""
        self._agencies: dict[bytes, str] = {}
        self._seen: dict[str, Seen] = {}
        self._added = 0
        self.dossier_rows: dict[bytes, bytes] = {}
        self.service_rows: dict[bytes, bytes] = {}
        self.months: set[tuple[str, int]] = set()

    def merge(
        self, facts: Sequence[DossierFact], arrived: Sequence[int | None]
    ) -> Counter[Outcome]:
        """Merge the facts, in order, and count what became of them.

        ``arrived`` has the record's timestamp (ms) of each, as it came.
        """
        outcomes: Counter[Outcome] = Counter()
        if not facts:
            return outcomes
        prefixes = {fact.agency: row_key(fact.agency, "") for fact in facts}
        keys = [prefixes[fact[0]] + fact[1].encode() for fact in facts]
        before, after = self._before, self._after
        fresh = [key for key in dict.fromkeys(keys) if key not in before]
        for key, row in zip(fresh, self._partition.dossiers.get_many(fresh), strict=True):
            before[key] = after[key] = UNKNOWN if row is None else decode_dossier(row)
            self._added += row is None
        merge_step, merge_submission = dossier.merge_step, dossier.merge_submission
        agencies = self._agencies
        applied = 0
        for key, fact in zip(keys, facts, strict=True):
            known = after[key]
            if type(fact) is StepFact:
                state, outcome = merge_step(known, fact[2], fact[3])
            else:
                state, outcome = merge_submission(known, fact[2])
            if outcome == "applied":
                applied += 1
                after[key] = state
                agencies[key] = fact[0]
            else:
                outcomes[outcome] += 1
        if applied:
            outcomes["applied"] = applied
        self._note_all(facts, arrived)
        return outcomes

    def _note_all(self, facts: Sequence[DossierFact], arrived: Sequence[int | None]) -> None:
        latest: dict[str, tuple[int, int]] = {}
        """Agency → the greatest time of arrival, and of the instants the facts speak of."""
        never = -1
        nothing = never, -(1 << 63)
        for fact, at in zip(facts, arrived, strict=True):
            agency = fact[0]
            known_at, known_instant = latest.get(agency, nothing)
            instant = fact[-1][1]
            if at is not None and known_at < at <= LAST_RECORD_TIME:
                latest[agency] = at, (instant if instant > known_instant else known_instant)
            elif instant > known_instant:
                latest[agency] = known_at, instant
        for agency, (at, instant) in latest.items():
            self.note(agency, None if at == never else at, day_of(instant))

    def listing(self, agency: str, code: str, effective_from: int, fact: Listing) -> Outcome:
        """Merge a catalogue fact of service ``code``."""
        key = row_key(agency, code)
        service = self._services.get(key)
        if service is None:
            service = self._services[key] = dict(self._partition.services.get(key, {}))
            self._agencies[key] = agency
        self._listings[key, effective_from] = None
        return catalogue.take_listing(service, effective_from, fact)

    def note(self, agency: str, at: int | None, day: int | None) -> None:
        """An event of the agency was accepted at broker time ``at`` (ms) if any, for ``day`` if
        any."""
        self._seen[agency] = later(self._seen.get(agency, NOT_SEEN), Seen(at, day))

    def close(self) -> None:
        """Move the partition's state: rows, ledgers, what was seen; name what must be written.

        Every touched row is written, also one that did not change: a replay may meet state that
        is ahead of its changelog, and what is not written again could be lost.
        """
        partition = self._partition
        for key, service in self._services.items():
            agency, code = self._agencies[key], key.decode().partition(" ")[2]
            partition.ledger(agency).relist(code, service)
            partition.services[key] = service
        for key, day in self._listings:
            self.service_rows[listing_key(key, day)] = encode_listing(self._services[key][day])
        rows: dict[bytes, bytes] = {}
        changes: defaultdict[str, list[Change]] = defaultdict(list)
        for key, state in self._after.items():
            rows[key] = encode_dossier(state)
            before = self._before[key]
            if state is not before:
                agency = self._agencies[key]
                old = None if before is UNKNOWN else contribution(before)
                new = contribution(state)
                partition.ledger(agency).replace(old, new)
                changes[agency].append((old, new))
        partition.put(rows, changes, self._added)
        self.dossier_rows = rows
        for agency, seen in self._seen.items():
            partition.note(agency, seen)
        for agency, ledger in partition.ledgers.items():
            self.months.update((agency, month) for month in ledger.changed)
            ledger.changed.clear()
        for agency, seen in self._seen.items():
            month = month_of_seen(seen)
            if month is not None:
                self.months.add((agency, month))
