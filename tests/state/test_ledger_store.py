"""What a restart finds beside the rows on disk is what folding the rows gives, or it is not used.

Runs on RocksDB itself. A crash is a copy of its directory, whole or with a torn end. A failing run
prints its seed; ``HOSO_TEST_SEED=n`` runs that one again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Generator, Iterable
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, TypeVar, cast

import pytest
import rocksdict

from streams.domain.dossier import Contribution, DossierFact, StepFact, SubmissionFact
from streams.domain.ledger import AgencyLedger, ServiceLedger
from streams.kafka.partitioner import partition_for
from streams.state import ledger_store as saved_ledgers
from streams.state.codecs import row_key
from streams.state.comparison import first_difference
from streams.state.ledger_store import SavedLedgers, decoded, encoded
from streams.state.merge import Merge
from streams.state.partition import Partition
from streams.state.stores import MemoryStore, RocksStore
from tests.domain.events import Event
from tests.domain.register import Register, listing_of, step_of, submission_of
from tests.domain.worlds import busy_world, restated
from tests.processing.deployment import PARTITIONS, Deployment
from tests.processing.disk import DiskStore
from tests.processing.simulation import settle

_SEED = os.environ.get("HOSO_TEST_SEED")
_FIRST = int(_SEED) if _SEED else SystemRandom().randrange(10**9)
_RUNS = 1 if _SEED else 25


T = TypeVar("T")


def _all(slices: Iterable[object]) -> None:
    for _ in slices:
        pass


def finished(slices: Generator[object, None, T]) -> T:
    """What all slices give at the end."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return cast(T, end.value)


def _state(ledgers: dict[str, AgencyLedger]) -> dict[str, Any]:
    """All that later changes depend on, and every cell that is not zero."""
    found: dict[str, Any] = {}
    for agency, ledger in ledgers.items():
        months = {number: month.rows() for number, month in ledger.months.items() if month.rows()}
        totals = {number: ledger.months[number].totals for number in months}
        services = {
            code: (s.listings, s.spans, s.level4, s.online, s.firsts, s.resolved)
            for code, s in ledger.services.items()
            # One that is neither listed nor has dossiers is as good as none.
            if s.listings or any(s.online) or s.resolved
        }
        found[agency] = months, totals, services
    return found


def _folded(partition: Partition) -> dict[str, Any]:
    """What its rows and services give, folded from nothing by a partition that keeps nothing."""
    again = Partition(0, MemoryStore())
    again.dossiers.put_many(dict(partition.dossiers.items()))
    again.services = dict(partition.services)
    _all(again.fold())
    return _state(again.ledgers)


def _take(partition: Partition, events: Iterable[Event]) -> Merge:
    chunk = Merge(partition)
    facts: list[DossierFact] = []
    for event in events:
        data = event["value"]["data"]
        if event["topic"] == "submissions":
            facts.append(
                SubmissionFact(data["agency"], data["dossier"], submission_of(event["value"]))
            )
        elif event["topic"] == "processing":
            status, step = step_of(event["value"])
            facts.append(StepFact(data["agency"], data["dossier"], status, step))
        elif event["topic"] == "catalogue":
            chunk.listing(data["agency"], data["service"], *listing_of(event["value"]))
    chunk.merge(facts, [1] * len(facts))
    chunk.close()
    return chunk


def _begun(directory: Path) -> Partition:
    """A partition that has been recovered from its store, as far as there is anything to."""
    partition = Partition(0, RocksStore(directory))
    _all(partition.restore())
    return partition


def _ready(directory: Path) -> Partition:
    partition = _begun(directory)
    if not partition.keeping:
        _all(partition.fold())
    assert partition.keeping
    return partition


def _copy(partition: Partition) -> Path:
    """What a crash would leave now."""
    directory: Path = partition.dossiers._directory  # type: ignore[attr-defined]
    copy = directory.with_name(f"{directory.name}-copy")
    shutil.copytree(directory, copy)
    return copy


def _tear(directory: Path, random: Random) -> None:
    """The end of the write-ahead log never reached the disk, or did not in one piece."""
    log = max(directory.glob("*.log"))
    content = log.read_bytes()
    keep = random.randint(0, len(content))
    torn = content[:keep]
    if random.random() < 0.5:
        torn += random.randbytes(random.randint(0, len(content) - keep))
    log.write_bytes(torn)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers are saved often, in many slices."""
    monkeypatch.setattr(saved_ledgers, "LEAST_CHANGES", 10)
    monkeypatch.setattr(saved_ledgers, "CHANGES_PER_BYTE", 0)
    monkeypatch.setattr(saved_ledgers, "SLICE_BYTES", 0)

    # Nor may files come and go while a directory is copied. Closing the database first would not
    # do: it empties the write-ahead log.
    options = rocksdict.Options

    def quiet(**given: bool) -> Any:
        made = options(**given)
        made.set_disable_auto_compactions(True)
        return made

    monkeypatch.setattr(rocksdict, "Options", quiet)


@pytest.fixture
def events() -> list[Event]:
    """Facts of some agencies that correct, withdraw and overtake each other."""
    return busy_world(Random(11)).facts


@pytest.fixture
def partition(tmp_path: Path, events: list[Event]) -> Partition:
    """It has taken in the facts, in parts."""
    partition = _ready(tmp_path / "rows")
    for start in range(0, len(events), 15):
        _take(partition, events[start : start + 15])
    return partition


@pytest.mark.parametrize("nth", range(_RUNS))
def test_whatever_a_crash_leaves_the_ledgers_are_those_of_the_rows(
    nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = _FIRST + nth
    print(f"HOSO_TEST_SEED={seed}")  # noqa: T201
    random = Random(seed)
    monkeypatch.setattr(saved_ledgers, "LEAST_CHANGES", random.choice((1, 10, 100)))
    monkeypatch.setattr(saved_ledgers, "SLICE_BYTES", random.choice((0, 300, 10**6)))
    facts = busy_world(random).facts
    facts += random.choices(facts, k=len(facts) // 3)
    partition = _ready(tmp_path / "0")
    log: list[tuple[bytes, bytes]] = []
    crashes = 0
    while facts:
        some = [facts.pop() for _ in range(min(len(facts), random.randint(1, 30)))]
        chunk = _take(partition, some)
        rows = list(chunk.dossier_rows.items())
        log += rows
        if log and random.random() < 0.2:  # rows of another owner, or our own read again
            partition.absorb_dossiers(random.choices(log, k=random.randint(1, 20)))
        if random.random() < 0.25:
            crashes += 1
            services = partition.services
            copy = tmp_path / str(crashes)
            shutil.copytree(partition.dossiers._directory, copy)  # type: ignore[attr-defined]
            partition.dossiers.close()
            if random.random() < 0.7:
                _tear(copy, random)
            partition = _begun(copy)
            torn_at_the_start = not list(partition.dossiers.items())
            assert partition.keeping or torn_at_the_start
            if not partition.keeping:
                _all(partition.fold())
            # The services changelog may lack what was listed last, or have more.
            known = random.sample(sorted(services), random.randint(0, len(services)))
            partition.services = {key: services[key] for key in known}
            _all(partition._relist())
            assert _state(partition.ledgers) == _folded(partition)
            partition.absorb_dossiers(log[random.randint(0, len(log)) :])
            assert _state(partition.ledgers) == _folded(partition)
            partition.services = services
            _all(partition._relist())
    assert _state(partition.ledgers) == _folded(partition)
    partition.dossiers.close()
    again = _begun(partition.dossiers._directory)  # type: ignore[attr-defined]
    assert again.keeping
    again.services = partition.services
    _all(again._relist())
    assert _state(again.ledgers) == _state(partition.ledgers)
    again.dossiers.close()


def test_a_restored_ledger_goes_on_as_the_one_that_was_saved(events: list[Event]) -> None:
    """Also through every withdrawal: nothing that later changes depend on was left out."""
    register = Register(events)
    assert register.ledgers
    for agency, ledger in register.ledgers.items():
        again, next_entry = finished(decoded(finished(encoded(ledger, 7))))
        assert next_entry == 7
        assert _state({agency: again}) == _state({agency: ledger})
    assert set(AgencyLedger.__slots__) == {"changed", "months", "services"}
    assert set(ServiceLedger.__slots__) == {
        *("firsts", "level4", "listings", "online", "resolved", "spans")
    }, "a part that is neither saved nor made from the listings is lost by a restart"


def test_a_journal_does_not_grow_for_ever(partition: Partition) -> None:
    for _ in range(100):
        # What changes and changes back is a change all the same.
        partition.put({}, {agency: [(None, None)] * 4 for agency in partition.ledgers})
    entries = len(list(partition.dossiers.beside(b"journal ")))
    assert entries < 20 * len(partition.ledgers), "of a hundred for each"
    assert _state(partition.ledgers) == _folded(partition)


def test_ledgers_counted_by_other_rules_are_folded_anew(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory: Path = partition.dossiers._directory  # type: ignore[attr-defined]
    expected = _state(partition.ledgers)
    partition.dossiers.close()
    again = Partition(0, RocksStore(directory))
    again.saved = SavedLedgers(again.dossiers, b"other rules")
    _all(again.restore())
    assert not again.keeping
    assert again.ledgers == {}
    again.services = partition.services
    _all(again.fold())
    assert again.keeping
    assert _state(again.ledgers) == expected
    again.dossiers.close()
    assert not _closed_again(_begun(directory)).keeping  # now those are the others


def _closed_again(partition: Partition) -> Partition:
    partition.dossiers.close()
    return partition


def test_the_fingerprint_is_that_of_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    assert saved_ledgers.fingerprint() == saved_ledgers.FINGERPRINT
    read = Path.read_bytes
    for name in ("ledger.py", "dossier.py", "codecs.py", "Ho_Chi_Minh"):

        def changed(path: Path, name: str = name) -> bytes:
            return read(path) + (b" " if path.name == name else b"")

        monkeypatch.setattr(Path, "read_bytes", changed)
        assert saved_ledgers.fingerprint() != saved_ledgers.FINGERPRINT, name


def test_where_the_sources_cannot_be_read_nothing_saved_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(path: Path) -> bytes:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_bytes", missing)
    assert saved_ledgers.fingerprint() != saved_ledgers.fingerprint()


DAMAGES = ("no mark", "a gap", "a lost beginning", "no ledger", "a ledger cut off", "a bad entry")


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_folded_anew(partition: Partition, damage: str) -> None:
    store = partition.dossiers
    expected = _state(partition.ledgers)
    # Two entries at least, so that one may be missing in the middle.
    agency = next(iter(partition.ledgers))
    for _ in range(2):
        partition.put({}, {agency: [(None, None)]})
    entries = [k for k, _ in store.beside(b"journal ") if k.split(b" ")[1] == agency.encode()]
    (key, ledger) = next(iter(store.beside(b"ledger %s" % agency.encode())))
    store.put_many(
        {},
        {
            "no mark": {b"ledgers": None},
            "a gap": {entries[-2]: None},
            "a lost beginning": {entries[0]: None},
            "no ledger": {key: None},
            "a ledger cut off": {key: ledger[:-3]},
            "a bad entry": {entries[-1]: b"\xc1"},
        }[damage],
    )
    store.close()
    again = _begun(store._directory)  # type: ignore[attr-defined]
    assert not again.keeping
    again.services = partition.services
    _all(again.fold())
    assert again.keeping
    assert _state(again.ledgers) == expected
    again.dossiers.close()


def test_rows_that_were_put_without_their_ledgers_end_the_trust_in_them(
    partition: Partition, events: list[Event]
) -> None:
    directory: Path = partition.dossiers._directory  # type: ignore[attr-defined]
    partition.dossiers.close()
    careless = Partition(0, RocksStore(directory))  # nothing restored
    _take(careless, events[:1])
    careless.dossiers.close()
    again = _begun(directory)
    assert not again.keeping
    again.dossiers.close()


def test_rows_that_come_while_ledgers_are_saved_make_them_be_folded_again(tmp_path: Path) -> None:
    facts = busy_world(Random(3)).facts
    partition = Partition(0, RocksStore(tmp_path / "rows"))
    _take(partition, facts[:20])
    fold = partition.fold()
    next(fold)
    _take(partition, facts[20:])
    _all(fold)
    assert not partition.keeping
    _all(partition.fold())
    assert partition.keeping
    assert _state(partition.ledgers) == _folded(partition)
    partition.dossiers.close()


def test_a_partition_that_forgets_has_no_ledgers_on_disk_either(partition: Partition) -> None:
    partition.set_aside("")
    assert list(partition.dossiers.beside(b"")) == []
    assert not partition.keeping


def test_a_recount_agrees_whatever_is_taken_in_meanwhile(
    partition: Partition, events: list[Event]
) -> None:
    random = Random(17)
    again = Partition(0, RocksStore(_copy(partition)))
    _all(again.restore())
    again.services = dict(partition.services)
    _all(again._relist())
    facts = [event for event in events if event["topic"] != "catalogue"]
    turns = 0

    def while_others_come() -> Generator[None, None, str | None]:
        nonlocal turns
        work = first_difference(again)
        while True:
            try:
                yield next(work)
            except StopIteration as end:
                found: str | None = end.value
                return found
            turns += 1
            some = random.choices(facts, k=3)
            _take(again, [restated(e, turns, void=random.random() < 0.5) for e in some])

    assert finished(while_others_come()) is None
    assert turns > len(again.ledgers) * 2
    again.dossiers.close()


def test_a_recount_finds_a_ledger_that_is_not_that_of_its_rows(partition: Partition) -> None:
    (agency, ledger) = list(partition.ledgers.items())[-1]
    ledger.replace(None, Contribution("1.000001", 0, 738_000, None, None, False, False))
    assert finished(first_difference(partition)) == agency


def test_a_recount_finds_an_agency_that_has_rows_and_no_ledger(partition: Partition) -> None:
    for agency in list(partition.ledgers):
        if any(partition.dossiers.of_prefix(row_key(agency, ""))):
            ledger = partition.ledgers.pop(agency)
            assert finished(first_difference(partition)) == agency
            partition.ledgers[agency] = ledger
    assert finished(first_difference(partition)) is None


def test_what_a_recount_finds_wrong_is_rebuilt_and_published_again() -> None:
    async def run() -> None:
        deployment = Deployment(busy_world(Random(5)), Random(5), disk=True)
        deployment.send(deployment.world.facts)
        await deployment.give(dict.fromkeys(PARTITIONS, deployment.start()))
        await deployment.run_until_idle()
        assert deployment.disk is not None
        # A saved ledger goes wrong in a way that no fingerprint tells: it counts nothing.
        agency = next(iter(deployment.owned_cells()))
        number = partition_for(agency.encode(), len(PARTITIONS))
        saved = SavedLedgers(DiskStore(deployment.disk[number]))
        _all(saved.folding())
        _all(saved.save_all({agency: AgencyLedger()}))
        await deployment.restart_everything()
        (said,) = deployment.cluster.distrusted
        assert said == f"the restored ledger of {agency} is not what its rows give"
        deployment.cluster.distrusted.clear()
        deployment.check()
        await deployment.restart_everything()
        deployment.check()
        for worker in deployment.workers:
            await worker.kill()

    asyncio.run(run())


def test_a_row_that_a_recount_cannot_read_is_rebuilt_from_its_changelog() -> None:
    async def run() -> None:
        deployment = Deployment(busy_world(Random(5)), Random(5), disk=True)
        deployment.send(deployment.world.facts)
        await deployment.give(dict.fromkeys(PARTITIONS, deployment.start()))
        await deployment.run_until_idle()
        (worker,) = deployment.workers
        task = next(one for one in worker.tasks.tasks.values() if len(one.partition.dossiers))
        key, _ = next(task.partition.dossiers.items())
        task.partition.dossiers.put_many({key: b"\x7f"})
        task.partition.unverified = True
        worker.tasks.verification.soon(task)
        await settle()
        await deployment.run_until_idle()
        assert task.partition.dossiers.get(key) != b"\x7f"
        deployment.check()
        await worker.kill()

    asyncio.run(run())
