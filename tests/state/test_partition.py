"""What a partition makes of the rows it reads back."""

from __future__ import annotations

from streams.domain.catalogue import Listing
from streams.domain.dossier import Dossier, Step, Submission
from streams.domain.ledger import Month
from streams.state.codecs import (
    AgencyMonth,
    decode_agency_month,
    decode_agency_seen,
    encode_agency_month,
    encode_dossier,
    encode_service,
    row_key,
)
from streams.state.partition import Chunk, DossierFact, Partition, Seen
from streams.state.stores import MemoryStore

SUBMITTED = Submission(0, 1_641_348_000_000_000, "a", False, "1.004873", 0, None)
ACCEPTED, FINISHED = Step(0, 1, "b", False), Step(0, 2, "c", False)


def test_a_dossier_and_a_service_of_one_name_are_repaired_apart() -> None:
    partition = Partition(0, MemoryStore())
    key = row_key("H56", "1.004873")
    newer = Dossier(SUBMITTED, {2: ACCEPTED})
    listed = {1: Listing(0, "x", True, 4, True, ""), 2: Listing(0, "y", False, 4, True, "")}
    partition.absorb_dossiers(
        [(key, encode_dossier(newer)), (key, encode_dossier(Dossier(SUBMITTED, {})))]
    )
    partition.absorb_services([(key, encode_service(listed))])
    dossiers, services = partition.unmerged()
    assert (set(dossiers), services) == ({key}, {})
    partition.absorb_services([(key, encode_service({1: listed[1]}))])
    partition.absorb_dossiers([(key, encode_dossier(newer))])
    dossiers, services = partition.unmerged()
    assert (dossiers, services) == ({}, {key: encode_service(listed)})


def test_a_row_with_the_same_facts_in_another_order_lacks_nothing() -> None:
    partition = Partition(0, MemoryStore())
    key = row_key("H56", "H56.14-220105-0001")
    partition.absorb_dossiers(
        [
            (key, encode_dossier(Dossier(SUBMITTED, {2: ACCEPTED, 9: FINISHED}))),
            (key, encode_dossier(Dossier(SUBMITTED, {9: FINISHED, 2: ACCEPTED}))),
        ]
    )
    assert partition.unmerged() == ({}, {})


def test_a_chunk_that_is_read_again_names_every_row_again() -> None:
    """Its rows may never have reached the changelog, whatever this process knows by now."""
    partition = Partition(3, MemoryStore())
    facts = [
        DossierFact("H56", "H56.14-220105-0001", 0, SUBMITTED),
        DossierFact("H56", "H56.14-220105-0001", 2, ACCEPTED),
        DossierFact("H56", "H56.14-220105-0002", 9, FINISHED),
    ]
    named = []
    for _ in range(2):
        chunk = Chunk(partition)
        outcomes = chunk.merge(facts, [1_641_348_000_000] * len(facts))
        chunk.listing("H56", "1.004873", 1, Listing(0, "x", True, 4, True, ""))
        chunk.close()
        named.append((chunk.dossier_rows, chunk.service_rows))
    assert outcomes == {"duplicate": 3}
    assert named[1] == named[0]
    assert (len(named[0][0]), len(named[0][1])) == (2, 1)


def test_a_timestamp_that_is_no_time_is_none_and_the_latest_day_is_kept_all_the_same() -> None:
    microseconds, day = 1_795_680_000_000_000, 738_160
    for arrived in (None, -1, microseconds, 2**63 - 1):
        partition = Partition(3, MemoryStore())
        chunk = Chunk(partition)
        chunk.merge([DossierFact("H56", "H56.14-220105-0002", 9, FINISHED)], [arrived])
        chunk.merge([DossierFact("H56", "H56.14-220105-0001", 0, SUBMITTED)], [arrived])
        chunk.close()
        assert partition.seen["H56"] == Seen(None, day)
        assert ("H56", 2022 * 12) in chunk.months
        assert (
            decode_agency_month(
                encode_agency_month(partition.month_row("H56", 2022 * 12))
            ).latest_day
            == day
        )


def test_a_time_beside_one_that_is_none_stands() -> None:
    partition = Partition(3, MemoryStore())
    chunk = Chunk(partition)
    fact = DossierFact("H56", "H56.14-220105-0001", 0, SUBMITTED)
    chunk.merge([fact, fact, fact], [1_641_348_000_000, 1_795_680_000_000_000, None])
    chunk.close()
    assert partition.seen["H56"].at == 1_641_348_000_000


def test_a_row_with_a_time_that_is_none_is_read_without_it() -> None:
    row = AgencyMonth("H56", 2022 * 12, 1_795_680_000_000_000, None, Month())
    assert decode_agency_month(encode_agency_month(row)).last_event_at is None
    assert decode_agency_seen(encode_agency_month(row))[2] is None


def test_keys_of_agency_months_that_are_no_months_are_passed_over() -> None:
    """Marks, and whatever a later version writes there (contract, section 1)."""
    partition = Partition(0, MemoryStore())
    names = (b"~taken-in/hoso.submissions", b"~later", b"H56", b"/2022-01", b"\xff/2022-01")
    partition.absorb_months([(name, b"17") for name in names])
    assert (partition.published, partition.seen) == ({}, {})
