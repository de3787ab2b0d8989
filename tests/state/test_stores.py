"""A store on disk gives what was put into it, or says that it cannot; it never gives a part.

``HOSO_TEST_SEED=n`` runs a failing seed again; it is printed.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random, SystemRandom

import pytest

from streams.state import stores, write_sequence
from streams.state.stores import DamagedStoreError, RocksStore, StoreInUseError, UnusableStoreError

_ROWS = 3000


@pytest.fixture
def random() -> Random:
    seed = int(os.environ.get("HOSO_TEST_SEED") or SystemRandom().randrange(10**9))
    print(f"HOSO_TEST_SEED={seed}")  # noqa: T201
    return Random(seed)


def _key(number: int) -> bytes:
    return b"H%02d d%05d" % (number % 20, number)


@pytest.fixture
def damaged(tmp_path: Path, random: Random) -> RocksStore:
    """It opens, and a bit is flipped in the middle of its largest file."""
    store = RocksStore(tmp_path / "rows")
    store.put_many({_key(n): random.randbytes(90) for n in range(_ROWS)}, added=_ROWS)
    store.set_position(_ROWS)
    store.close()
    largest = max((tmp_path / "rows").glob("*.sst"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    store = RocksStore(tmp_path / "rows")
    assert store.position == _ROWS, "the bit is where nobody has looked yet"
    return store


def _keys_from(store: RocksStore) -> None:
    key = store.key_from(b"")
    while key is not None:
        key = store.key_from(key + b"\x00")


READS: dict[str, Callable[[RocksStore], object]] = {
    "items": lambda store: list(store.items()),
    "of_prefix": lambda store: [list(store.of_prefix(b"H%02d " % n)) for n in range(20)],
    "beside": lambda store: list(store.beside(b"")) + list(store.of_prefix(b"H")),
    "key_from": _keys_from,
    "get": lambda store: [store.get(_key(n)) for n in range(_ROWS)],
    "get_many": lambda store: store.get_many([_key(n) for n in range(_ROWS)]),
}


@pytest.mark.parametrize("read", READS)
def test_a_read_that_meets_a_bad_block_says_so_and_does_not_end_early(
    damaged: RocksStore, read: str
) -> None:
    with pytest.raises(DamagedStoreError, match="checksum"):
        READS[read](damaged)
    damaged.close()


def test_a_damaged_store_is_set_aside_once_with_one_line_in_the_log(
    damaged: RocksStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "streams")
    half_read = damaged.items()
    next(half_read)
    with pytest.raises(DamagedStoreError) as told:
        list(damaged.items())
    for _ in range(2):
        damaged.set_aside(str(told.value))
        assert (len(damaged), damaged.position, list(damaged.items())) == (0, 0, [])
    damaged.put_many({b"H56 1": b"row"}, added=1)
    with pytest.raises(RuntimeError, match="closed during a scan"):
        list(half_read)
    damaged.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows", "rows.damaged"]
    first, _ = caplog.messages
    assert first.startswith(f"the rows in {tmp_path / 'rows'} are damaged: Corruption: ")
    assert first.endswith("; kept as rows.damaged, and rebuilt from the changelog now")
    assert dict(RocksStore(tmp_path / "rows").items()) == {b"H56 1": b"row"}


def test_a_store_that_lacks_rows_it_was_given_is_not_scanned_to_an_end(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "rows")
    store.put_many({b"H56 1": b"row", b"H56 2": b"row"}, added=2)
    store._db.delete(b"H56 2")
    with pytest.raises(DamagedStoreError, match="it has 1 rows where 2 were put"):
        list(store.items())
    store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_a_store_that_another_process_has_open_is_in_use_and_left_alone(tmp_path: Path) -> None:
    held = tmp_path / "rows"
    code = (
        "import pathlib, sys; from streams.state.stores import RocksStore\n"
        "store = RocksStore(pathlib.Path(sys.argv[1])); print('open', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, held],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent.parent,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(StoreInUseError, match="give each worker its own HOSO_DATA_DIR"):
            RocksStore(held)
    finally:
        other.communicate(b"\n")
    mine = RocksStore(held)
    with pytest.raises(StoreInUseError):
        RocksStore(held)
    mine.close()
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_a_disk_that_is_full_is_no_damage(
    damaged: RocksStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stores.os, "fsync", full)
    with pytest.raises(UnusableStoreError, match=r"\[Errno 28\] .*HOSO_DATA_DIR"):
        list(damaged.items())
    monkeypatch.undo()
    damaged.close()
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_a_directory_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableStoreError, match=r"\[Errno 20\] .*HOSO_DATA_DIR"):
        RocksStore(tmp_path / "file" / "rows")


def _torn(tmp_path: Path, random: Random) -> Path:
    """Rows are written, flushed, changed and flushed, and changed: the second part is lost."""
    store = RocksStore(tmp_path / "rows")
    rows = {_key(n): random.randbytes(90) for n in range(_ROWS)}
    store.put_many(rows, added=_ROWS)
    store._db.flush()
    manifest = next((tmp_path / "rows").glob("MANIFEST-*")).read_bytes()
    for n in range(_ROWS):
        store.put_many({_key(n): random.randbytes(90)})
    store._db.flush()
    store.put_many({_key(0): random.randbytes(90)})
    store.set_position(2 * _ROWS + 1)
    shutil.copytree(tmp_path / "rows", tmp_path / "torn")
    store.close()
    next((tmp_path / "torn").glob("MANIFEST-*")).write_bytes(manifest)
    return tmp_path / "torn"


def test_writes_that_are_missing_before_others_are_noticed_at_the_opening(
    tmp_path: Path, random: Random, caplog: pytest.LogCaptureFixture
) -> None:
    """A manifest that lost its end: no row is missing and no checksum wrong, but rows are old."""
    caplog.set_level(logging.ERROR, "streams")
    store = RocksStore(_torn(tmp_path, random))
    assert (len(store), store.position) == (0, 0)
    assert "are missing; kept as torn.damaged" in caplog.text
    store.close()


def test_writes_that_follow_each_other_are_believed_however_often_a_store_is_opened(
    tmp_path: Path, random: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_sequence, "SPANS", 4)
    monkeypatch.setattr(write_sequence, "SPAN_BYTES", 1000)
    expected: dict[bytes, bytes] = {}
    for _ in range(20):
        store = RocksStore(tmp_path / "rows")
        assert dict(store.items()) == expected
        for _ in range(random.randint(0, 5)):
            rows = {_key(random.randrange(50)): random.randbytes(random.choice((9, 900)))}
            store.put_many(rows, added=len(rows.keys() - expected.keys()))
            expected |= rows
        store.close()
    assert list(tmp_path.iterdir()) == [tmp_path / "rows"]
