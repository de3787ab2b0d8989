"""What a partition makes of the rows it reads back."""

from __future__ import annotations

import time

import msgspec
import pytest

from streams.domain.catalogue import Listing
from streams.domain.definitions import COLUMNS
from streams.domain.dossier import Dossier, Step, StepFact, Submission, SubmissionFact
from streams.domain.ledger import Month
from streams.kafka.batch_writer import BATCH_BYTES
from streams.state.codecs import (
    AgencyMonth,
    decode_agency_month,
    decode_agency_seen,
    encode_agency_month,
    encode_dossier,
    encode_listing,
    listing_key,
    row_key,
)
from streams.state.merge import Merge
from streams.state.partition import Partition, Seen
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
    first, second = listing_key(key, 1), listing_key(key, 2)
    newest = encode_listing(listed[1])
    partition.absorb_services([(first, newest), (second, encode_listing(listed[2]))])
    dossiers, services = partition.unmerged()
    assert (set(dossiers), services) == ({key}, {})
    older = listed[1]._replace(id="w")
    partition.absorb_services([(first, encode_listing(older))])
    partition.absorb_dossiers([(key, encode_dossier(newer))])
    dossiers, services = partition.unmerged()
    assert (dossiers, services) == ({}, {first: newest})


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
        SubmissionFact("H56", "H56.14-220105-0001", SUBMITTED),
        StepFact("H56", "H56.14-220105-0001", 2, ACCEPTED),
        StepFact("H56", "H56.14-220105-0002", 9, FINISHED),
    ]
    named = []
    for _ in range(2):
        chunk = Merge(partition)
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
        chunk = Merge(partition)
        chunk.merge([StepFact("H56", "H56.14-220105-0002", 9, FINISHED)], [arrived])
        chunk.merge([SubmissionFact("H56", "H56.14-220105-0001", SUBMITTED)], [arrived])
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
    chunk = Merge(partition)
    fact = SubmissionFact("H56", "H56.14-220105-0001", SUBMITTED)
    chunk.merge([fact, fact, fact], [1_641_348_000_000, 1_795_680_000_000_000, None])
    chunk.close()
    assert partition.seen["H56"].at == 1_641_348_000_000


def test_a_row_with_a_time_that_is_none_is_read_without_it() -> None:
    row = AgencyMonth("H56", 2022 * 12, 1_795_680_000_000_000, None, Month())
    assert decode_agency_month(encode_agency_month(row)).last_event_at is None
    assert decode_agency_seen(encode_agency_month(row))[2] is None


def test_public_rows_that_cannot_be_read_are_to_be_written_again() -> None:
    partition = Partition(0, MemoryStore())
    comparing = partition.unpublished({("H56", 24264): b"{"}, {})
    with pytest.raises(StopIteration) as end:
        next(comparing)
    assert end.value.value == {("H56", 24264)}


def _first_version(service: dict[int, Listing]) -> bytes:
    """A services row as it was before each listing had one of its own."""
    return b"\x01" + msgspec.msgpack.encode(service)


def test_rows_of_whole_services_are_still_read_and_what_one_lacks_is_written_apart() -> None:
    key = row_key("H56", "1.004873")
    one, two, three = (Listing(0, name, True, 4, True, "") for name in "xyz")
    partition = Partition(0, MemoryStore())
    partition.absorb_services([(key, _first_version({1: one, 2: two}))])
    assert partition.services == {key: {1: one, 2: two}}
    assert partition.unmerged() == ({}, {})
    # By a worker of the version before, which had not read all.
    partition.absorb_services([(listing_key(key, 3), encode_listing(three))])
    partition.absorb_services([(key, _first_version({2: two}))])
    written = {listing_key(key, 1): encode_listing(one), listing_key(key, 3): encode_listing(three)}
    assert partition.unmerged() == ({}, written)
    again = Partition(0, MemoryStore())
    again.absorb_services([(key, _first_version({2: two})), *written.items()])
    assert again.services == {key: {1: one, 2: two, 3: three}}
    assert again.unmerged() == ({}, {})


def test_twenty_years_of_daily_listings_make_small_rows_and_touch_one_month_each() -> None:
    """Fault 6: all of a service stood in one row, which in the end no record could hold."""
    partition = Partition(0, MemoryStore())
    first, days = 738_000, 20 * 365
    largest = 0
    for start in range(0, days, 500):
        chunk = Merge(partition)
        for day in range(start, min(start + 500, days)):
            chunk.listing(
                "H56", "1.004873", first + day, Listing(0, "x", True, 1 + day % 4, True, "ộ" * 500)
            )
        chunk.close()
        assert len(chunk.service_rows) <= 500
        largest = max(largest, *map(len, chunk.service_rows.values()))
    assert largest < 2_000
    chunk = Merge(partition)
    started = time.process_time()
    chunk.listing("H56", "1.004873", first + 77, Listing(1, "x", True, 3, True, ""))
    chunk.close()
    assert time.process_time() - started < 0.5
    assert len(chunk.service_rows) == 1
    assert len(chunk.months) == 1
    again = Partition(0, MemoryStore())
    again.absorb_services(
        [
            (listing_key(key, day), encode_listing(listing))
            for key, service in partition.services.items()
            for day, listing in service.items()
        ]
    )
    assert again.services == partition.services


def test_no_row_comes_near_what_a_record_may_have() -> None:
    """The largest ids and codes the contract allows, in every slot, and the largest counts."""
    longest = "ộ" * (65_536 // 3)
    code = "ộ" * 64
    steps = {status: Step(2**31 - 1, 2**62, longest, True) for status in range(2, 11)}
    submission = Submission(2**31 - 1, 2**62, longest, True, code, 2, 2**62)
    dossier = encode_dossier(Dossier(submission, steps))
    listing = encode_listing(Listing(2**31 - 1, longest, True, 4, True, "ộ" * 500))
    month = Month.from_rows(dict.fromkeys(COLUMNS, [2**62] * 31))
    row = encode_agency_month(AgencyMonth(code, 12 * 9999, 2**47, 738_000, month))
    key = len(listing_key(row_key(code, code), 738_000))
    for size in (len(dossier), len(listing), len(row)):
        assert size + key < BATCH_BYTES
