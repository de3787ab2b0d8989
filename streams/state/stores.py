"""Where the dossier rows of one partition are kept: in memory, or in RocksDB on local disk.

A store is a cache of its changelog, never the truth: it may be ahead (rows put before the broker
acknowledged them), behind, or gone. ``position`` says from which changelog offset reading must go
on; it is only moved once everything before it is in the store. Rows ahead of it are harmless,
because rows merge (see :mod:`streams.domain.dossier`).

Whatever is found wrong with it, at any moment, is a :class:`DamagedStoreError`: the store is set
aside and filled from its changelog again.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn, Protocol
from weakref import WeakSet, WeakValueDictionary

from streams.state.write_sequence import WriteSequence

logger = logging.getLogger(__name__)

_BUFFER_BYTES = 8 * 1024 * 1024
"""What a kill leaves in the write-ahead log at most: opening it takes some 30 ms a megabyte."""
_BLOOM_BITS = 10
"""For each row: one look in a hundred for a row that is not there goes to a block in vain."""


class StoreInUseError(RuntimeError):
    """Another process holds the local rows."""


class DamagedStoreError(RuntimeError):
    """What the store has on disk cannot be read, or is not all that was put into it.

    Not to be worked on any more: :meth:`Store.set_aside` begins anew.
    """


class UnusableStoreError(RuntimeError):
    """The operating system refuses the store's directory (full, read-only, no permission)."""

    def __init__(self, directory: Path, error: OSError) -> None:
        super().__init__(f"{directory} cannot be used: {error} (HOSO_DATA_DIR)")


NOTHING: Mapping[bytes, bytes | None] = MappingProxyType({})


class Store(Protocol):
    """The dossier rows of one partition, and small entries beside them.

    On disk each method may raise :class:`DamagedStoreError` or :class:`UnusableStoreError`; scans
    do so rather than end early.
    """

    keeps: bool
    """Whether a restart finds what was put. What is cut off by a crash is always the latest."""

    def get(self, key: bytes) -> bytes | None:
        """The row, or None."""

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """The row of each key, or None."""

    def put_many(
        self,
        rows: Mapping[bytes, bytes],
        beside: Mapping[bytes, bytes | None] = NOTHING,
        *,
        added: int = 0,
    ) -> None:
        """Put rows in, and entries beside them (None removes one): all or nothing.

        ``added`` of the rows are of keys that the store did not have.
        """

    def beside(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries beside the rows whose keys begin with ``prefix``, in the order of keys."""

    def beside_one(self, key: bytes) -> bytes | None:
        """The entry beside the rows, or None."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every row, in no particular order; not to be changed meanwhile."""

    def of_prefix(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose keys begin with ``prefix``, as they are now, whatever is put meanwhile.

        Raises ``RuntimeError`` when read on after the store was set aside or closed.
        """

    def key_from(self, key: bytes) -> bytes | None:
        """The least key of a row that is not less than ``key``."""

    def __len__(self) -> int:
        """The number of rows."""

    @property
    def position(self) -> int:
        """The changelog offset to read on from; 0 for an empty store."""

    def set_position(self, offset: int) -> None:
        """Everything before ``offset`` of the changelog is in the store."""

    def set_aside(self, damage: str) -> None:
        """Forget everything; what is on disk is kept under another name, and said to be so."""

    def close(self) -> None:
        """Release what the store holds; rows on disk stay."""


class MemoryStore:
    """Rows in a dict; a restart reads the whole changelog."""

    keeps = False

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._beside: dict[bytes, bytes] = {}
        self._position = 0
        self.get = self._rows.get

    def put_many(
        self,
        rows: Mapping[bytes, bytes],
        beside: Mapping[bytes, bytes | None] = NOTHING,
        *,
        added: int = 0,
    ) -> None:
        self._rows.update(rows)
        for key, value in beside.items():
            if value is None:
                self._beside.pop(key, None)
            else:
                self._beside[key] = value

    def beside(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(one for one in self._beside.items() if one[0].startswith(prefix)))

    def beside_one(self, key: bytes) -> bytes | None:
        return self._beside.get(key)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return list(map(self._rows.get, keys))

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._rows.items())

    def of_prefix(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter([row for row in self._rows.items() if row[0].startswith(prefix)])

    def key_from(self, key: bytes) -> bytes | None:
        return min((known for known in self._rows if known >= key), default=None)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def position(self) -> int:
        return self._position

    def set_position(self, offset: int) -> None:
        self._position = offset

    def set_aside(self, damage: str) -> None:
        self._rows.clear()
        self._beside.clear()
        self._position = 0

    def close(self) -> None:
        self.set_aside("")


class RocksStore:
    """Rows in RocksDB under ``directory``; a restart reads only the changelog's tail.

    A database that cannot be opened is set aside and rebuilt from the changelog. Raises
    ``StoreInUseError``, ``UnusableStoreError``, and ``ModuleNotFoundError`` where the optional
    package ``rocksdict`` is missing.

    Three things hold that no row is missing or old unnoticed. RocksDB's iterators are asked for
    their status at the end, because one that meets a bad block just ends, and ``rocksdict``'s
    ``items()`` gives no sign of it. The number of rows is kept in the write that changes it. And
    writes are numbered (:mod:`streams.state.write_sequence`).
    """

    keeps = True

    # Codes are at least one character long and never a control character, so no row has such a key.
    _ENTRY = b"\x00beside "
    _FIRST = b"\x01"
    """Where the rows begin, after all that is beside them."""
    _POSITION = b"\x00position"
    _COUNT = b"\x00count"
    _SEQUENCE = b"\x00sequence "

    _open_here: ClassVar[WeakValueDictionary[Path, RocksStore]] = WeakValueDictionary()

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._scans: WeakSet[Generator[tuple[bytes, bytes]]] = WeakSet()
        self._db: Any = None
        self._sequence = WriteSequence(self._SEQUENCE)
        self._position = self._count = 0
        try:
            self._open()
        except DamagedStoreError as damage:
            self.set_aside(str(damage))

    def _open(self) -> None:
        from rocksdict import BlockBasedOptions, Options, Rdict

        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_paranoid_checks(True)
        options.set_max_open_files(256)
        options.set_write_buffer_size(_BUFFER_BYTES)
        # Every row is looked up before it is put, and many a dossier is new.
        tables = BlockBasedOptions()
        tables.set_bloom_filter(_BLOOM_BITS, False)
        options.set_block_based_table_factory(tables)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._refuse_if_held()
            begun = any(self._directory.iterdir())
        except OSError as error:
            raise UnusableStoreError(self._directory, error) from error
        if begun and not (self._directory / "CURRENT").exists():
            raise DamagedStoreError("it has no file CURRENT")  # RocksDB would make a new one
        try:
            self._db = Rdict(str(self._directory), options)
        except Exception as error:
            self._fail(error)
        self._open_here[self._directory.resolve()] = self
        position, count = self.get_many([self._POSITION, self._COUNT])
        try:
            self._sequence = WriteSequence(self._SEQUENCE, self.of_prefix(self._SEQUENCE))
            self._position, self._count = int(position or 0), int(count or 0)
        except ValueError as error:
            raise DamagedStoreError(str(error)) from error
        if not self._sequence.last and any(self.of_prefix(b"")):
            raise DamagedStoreError("its writes have no numbers")

    def _refuse_if_held(self) -> None:
        """RocksDB's own lock, tried first: its error would be told from others by its text."""
        # A second handle to a locked file would give up the lock that this process has on it.
        held = self._open_here.get(self._directory.resolve()) is not None
        path = self._directory / "LOCK"
        if not held and sys.platform != "win32" and path.exists():
            import fcntl

            with path.open("r+b") as lock:
                try:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    if error.errno not in (errno.EACCES, errno.EAGAIN):
                        raise
                    held = True
        if held:
            raise StoreInUseError(
                f"{self._directory} is in use: give each worker its own HOSO_DATA_DIR"
            )

    def _fail(self, error: Exception) -> NoReturn:
        """Say what an error of RocksDB means, by what the operating system says and not its text.

        ``rocksdict`` raises plain ``Exception`` for everything that RocksDB reports, and
        subclasses for what its caller did wrong.
        """
        if type(error) is not Exception:
            raise error
        probe = self._directory / "probe"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            try:
                with probe.open("wb") as file:
                    file.write(bytes(2 * _BUFFER_BYTES))
                    os.fsync(file.fileno())
                for path in self._directory.iterdir():
                    if path.is_file():
                        path.open("rb").close()
            finally:
                probe.unlink(missing_ok=True)
        except FileNotFoundError:
            pass  # a file that a compaction removed
        except OSError as refused:
            raise UnusableStoreError(self._directory, refused) from error
        raise DamagedStoreError(" ".join(str(error).split())) from error

    def get(self, key: bytes) -> bytes | None:
        try:
            row: bytes | None = self._db.get(key)
        except Exception as error:
            self._fail(error)
        return row

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        try:
            rows: list[bytes | None] = self._db.get(keys)
        except Exception as error:
            self._fail(error)
        return rows

    def put_many(
        self,
        rows: Mapping[bytes, bytes],
        beside: Mapping[bytes, bytes | None] = NOTHING,
        *,
        added: int = 0,
    ) -> None:
        entries = {self._ENTRY + key: value for key, value in beside.items()}
        if added:
            entries[self._COUNT] = b"%d" % (self._count + added)
        self._write(rows, entries)
        self._count += added

    def _write(self, rows: Mapping[bytes, bytes], entries: Mapping[bytes, bytes | None]) -> None:
        """All or nothing; the only way into the database."""
        from rocksdict import WriteBatch

        batch = WriteBatch(raw_mode=True)
        for key, row in rows.items():
            batch.put(key, row)
        for key, value in entries.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self._sequence.number(batch)
        try:
            self._db.write(batch)
        except Exception as error:
            self._fail(error)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return self._scan(self._FIRST, b"", self._count)

    def of_prefix(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._scan(prefix, prefix)

    def _scan(
        self, first: bytes, prefix: bytes, count: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        # RocksDB's iterators see the database as it was when they were made: now.
        rows = self._rows(self._iterator(first), prefix, count)
        self._scans.add(rows)
        return self._until_closed(rows)

    def _iterator(self, first: bytes) -> Any:
        try:
            iterator = self._db.iter()
            iterator.seek(first)
        except Exception as error:
            self._fail(error)
        return iterator

    def _rows(
        self, iterator: Any, prefix: bytes, count: int | None
    ) -> Generator[tuple[bytes, bytes]]:
        found = 0
        try:
            while iterator.valid():
                key = iterator.key()
                if not key.startswith(prefix):
                    return
                found += 1
                yield key, iterator.value()
                iterator.next()
            iterator.status()
        except Exception as error:
            self._fail(error)
        finally:
            del iterator  # or the database stays open as long as a traceback knows it
        if count is not None and found != count:
            raise DamagedStoreError(f"it has {found} rows where {count} were put")

    def _until_closed(self, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        db = self._db
        yield from rows
        if self._db is not db:
            raise RuntimeError("the store was closed during a scan")

    def key_from(self, key: bytes) -> bytes | None:
        rows = self._rows(self._iterator(max(key, self._FIRST)), b"", None)
        return next((found for found, _ in rows), None)

    def beside(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        found = self.of_prefix(self._ENTRY + prefix)
        return ((key[len(self._ENTRY) :], value) for key, value in found)

    def beside_one(self, key: bytes) -> bytes | None:
        return self.get(self._ENTRY + key)

    def __len__(self) -> int:
        return self._count

    @property
    def position(self) -> int:
        return self._position

    def set_position(self, offset: int) -> None:
        self._write({}, {self._POSITION: b"%d" % offset})
        self._position = offset

    def set_aside(self, damage: str) -> None:
        self.close()
        kept = self._directory.with_name(f"{self._directory.name}.damaged")
        try:
            if kept.exists():
                shutil.rmtree(kept)  # one is enough to look into, and more would fill the disk
            self._directory.rename(kept)
        except OSError as error:
            raise UnusableStoreError(self._directory, error) from error
        logger.error(
            "the rows in %s are damaged: %s; kept as %s, and rebuilt from the changelog now",
            self._directory,
            damage,
            kept.name,
        )
        self._open()

    def close(self) -> None:
        for scan in list(self._scans):
            scan.close()
        db, self._db = self._db, None
        self._position = self._count = 0
        self._open_here.pop(self._directory.resolve(), None)
        if db is None:
            return
        try:
            db.close()
        except Exception as error:  # its rows are in the changelog, whatever did not reach the disk
            logger.warning("%s could not be closed: %s", self._directory, error)
