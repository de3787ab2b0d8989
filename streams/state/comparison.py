"""An independent look at restored ledgers: fold the rows again, slowly, and compare.

Ledgers that were restored, and not folded, rest on every change having been journaled since the
last fold. This does not: it folds an agency's rows anew and compares with the ledger, cell by cell
and with all that later changes depend on. Rows and ledger are looked at in one moment (the rows as
a snapshot, the ledger as a copy), so chunks processed meanwhile cannot blur the comparison.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import islice

from streams.domain.dossier import contribution
from streams.domain.ledger import AgencyLedger
from streams.domain.tally import Tally
from streams.state.codecs import decode_dossier, row_key, split_row_key
from streams.state.ledger_store import copied
from streams.state.partition import Partition

ROWS_AT_ONCE = 250
"""Some two milliseconds."""


def first_difference(partition: Partition) -> Generator[None, None, str | None]:
    """The first agency whose ledger is not what its rows give, or None.

    Must not outlive the store: close it before. Between slices anything may be processed.
    """
    key = partition.dossiers.key_from(b"")
    while key is not None:
        agency, _ = split_row_key(key)
        if agency not in partition.ledgers:
            return agency
        # An agency's rows are those that begin with it and a space; no code goes on with one.
        key = partition.dossiers.key_from(agency.encode() + b"!")
        yield
    for agency in list(partition.ledgers):
        ledger = partition.ledgers[agency]
        rows = partition.dossiers.of_prefix(row_key(agency, ""))
        expected = copied(ledger)
        folded = AgencyLedger()
        tally = Tally()
        yield
        while some := list(islice(rows, ROWS_AT_ONCE)):
            found = (contribution(decode_dossier(row)) for _, row in some)
            tally.count(counted for counted in found if counted is not None)
            yield
        yield from folded.add(tally)
        for code, service in expected.services.items():
            folded.relist(code, service.listings)
        if copied(folded) != expected:
            return agency
        yield
    return None
