"""Where the dossier rows of one partition are kept: in memory, or in RocksDB on local disk.

A store is a cache of its changelog, never the truth: it may be ahead (rows put before the broker
acknowledged them), behind, or gone. ``position`` says from which changelog offset reading must go
on; it is only moved once everything before it is in the store. Rows ahead of it are harmless,
because rows merge (see :mod:`streams.domain.dossier`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

_BUFFER_BYTES = 8 * 1024 * 1024
"""What a kill leaves in the write-ahead log at most: opening it takes some 30 ms a megabyte."""
_BLOOM_BITS = 10
"""For each row: one look in a hundred for a row that is not there goes to a block in vain."""


class StoreInUseError(RuntimeError):
    """Another process holds the local rows."""


NOTHING: Mapping[bytes, bytes | None] = MappingProxyType({})


class Store(Protocol):
    """The dossier rows of one partition, and small entries beside them."""

    keeps: bool
    """Whether a restart finds what was put. What is cut off by a crash is always the latest."""

    def get(self, key: bytes) -> bytes | None:
        """The row, or None."""

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """The row of each key, or None."""

    def put_many(
        self, rows: Mapping[bytes, bytes], beside: Mapping[bytes, bytes | None] = NOTHING
    ) -> None:
        """Put rows in, and entries beside them (None removes one): all or nothing."""

    def beside(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries beside the rows whose keys begin with ``prefix``, in the order of keys."""

    def beside_one(self, key: bytes) -> bytes | None:
        """The entry beside the rows, or None."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every row, in no particular order; not to be changed meanwhile."""

    def of_prefix(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose keys begin with ``prefix``, as they are now, whatever is put meanwhile.

        To be dropped before the store is cleared or closed.
        """

    def key_from(self, key: bytes) -> bytes | None:
        """The least key of a row that is not less than ``key``."""

    def __len__(self) -> int:
        """The number of rows, exact in memory and an estimate on disk."""

    @property
    def position(self) -> int:
        """The changelog offset to read on from; 0 for an empty store."""

    def set_position(self, offset: int) -> None:
        """Everything before ``offset`` of the changelog is in the store."""

    def mark(self, key: bytes, value: bytes) -> None:
        """Remember something small beside the rows; ``items`` and ``len`` leave it out."""

    def marked(self, key: bytes) -> bytes | None:
        """What was remembered, or None."""

    def clear(self) -> None:
        """Forget everything, position and marks included."""

    def close(self) -> None:
        """Release what the store holds; rows on disk stay."""


class MemoryStore:
    """Rows in a dict; a restart reads the whole changelog."""

    keeps = False

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._marks: dict[bytes, bytes] = {}
        self._beside: dict[bytes, bytes] = {}
        self._position = 0
        self.get = self._rows.get

    def put_many(
        self, rows: Mapping[bytes, bytes], beside: Mapping[bytes, bytes | None] = NOTHING
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
        return list(map(self.get, keys))

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

    def mark(self, key: bytes, value: bytes) -> None:
        self._marks[key] = value

    def marked(self, key: bytes) -> bytes | None:
        return self._marks.get(key)

    def clear(self) -> None:
        self._rows.clear()
        self._marks.clear()
        self._beside.clear()
        self._position = 0

    def close(self) -> None:
        self.clear()


class RocksStore:
    """Rows in RocksDB under ``directory``; a restart reads only the changelog's tail.

    A database that cannot be opened is moved out of the way and rebuilt from the changelog. Raises
    ``ModuleNotFoundError`` where the optional package ``rocksdict`` is missing.
    """

    keeps = True

    # Codes are at least one character long and never a control character, so no row has such a key.
    _ENTRY = b"\x00beside "
    _FIRST = b"\x01"
    """Where the rows begin, after all that is beside them."""
    _POSITION = b"\x00position"
    _MARK = b"\x00mark"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = self._open()
            stored = self._db.get(self._POSITION)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # rocksdict raises plain Exception, whatever is wrong
            if "lock" in str(error).lower():
                raise StoreInUseError(
                    f"{directory} is in use: give each worker its own HOSO_DATA_DIR"
                ) from error
            damaged = directory.with_name(f"{directory.name}.damaged")
            shutil.rmtree(damaged, ignore_errors=True)
            if directory.exists():
                directory.rename(damaged)
            self._db = self._open()
            stored = None
        self._position = int(stored) if stored is not None else 0

    def _open(self) -> Any:
        from rocksdict import BlockBasedOptions, Options, Rdict

        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_max_open_files(256)
        options.set_write_buffer_size(_BUFFER_BYTES)
        # Every row is looked up before it is put, and many a dossier is new.
        tables = BlockBasedOptions()
        tables.set_bloom_filter(_BLOOM_BITS, False)
        options.set_block_based_table_factory(tables)
        return Rdict(str(self._directory), options)

    def get(self, key: bytes) -> bytes | None:
        row: bytes | None = self._db.get(key)
        return row

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        rows: list[bytes | None] = self._db.get(keys)
        return rows

    def put_many(
        self, rows: Mapping[bytes, bytes], beside: Mapping[bytes, bytes | None] = NOTHING
    ) -> None:
        from rocksdict import WriteBatch

        batch = WriteBatch(raw_mode=True)
        for key, row in rows.items():
            batch.put(key, row)
        for key, value in beside.items():
            if value is None:
                batch.delete(self._ENTRY + key)
            else:
                batch.put(self._ENTRY + key, value)
        self._db.write(batch)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self._db.items(from_key=self._FIRST)

    def of_prefix(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        # RocksDB's iterators see the database as it was when they were made.
        rows = self._db.items(from_key=prefix)
        return takewhile(lambda row: row[0].startswith(prefix), rows)

    def key_from(self, key: bytes) -> bytes | None:
        found: bytes | None = next(iter(self._db.keys(from_key=max(key, self._FIRST))), None)
        return found

    def beside(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        found = self.of_prefix(self._ENTRY + prefix)
        return ((key[len(self._ENTRY) :], value) for key, value in found)

    def beside_one(self, key: bytes) -> bytes | None:
        value: bytes | None = self._db.get(self._ENTRY + key)
        return value

    def __len__(self) -> int:
        estimate = self._db.property_int_value("rocksdb.estimate-num-keys") or 0
        return max(0, int(estimate) - (1 if self._position else 0))

    @property
    def position(self) -> int:
        return self._position

    def set_position(self, offset: int) -> None:
        self._position = offset
        self._db[self._POSITION] = b"%d" % offset

    def mark(self, key: bytes, value: bytes) -> None:
        self._db[self._MARK + key] = value

    def marked(self, key: bytes) -> bytes | None:
        value: bytes | None = self._db.get(self._MARK + key)
        return value

    def clear(self) -> None:
        self._db.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._position = 0
        self._db = self._open()

    def close(self) -> None:
        self._db.close()
