"""Stores that outlive the process in a journal, lose its end in a crash, and turn out damaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from streams.state.stores import NOTHING, DamagedStoreError, MemoryStore


@dataclass(frozen=True)
class Together:
    """Rows and entries beside them that one write put in."""

    rows: dict[bytes, bytes]
    beside: dict[bytes, bytes | None]


class DiskStore(MemoryStore):
    """Rows that outlive the process; ``journal`` is what a write-ahead log would hold.

    As with RocksDB, using it after it was closed is an error.
    """

    keeps = True

    def __init__(self, journal: list[Any]) -> None:
        super().__init__()
        self._journal = journal
        self._closed = False
        for entry in journal:
            if isinstance(entry, Together):
                super().put_many(entry.rows, entry.beside)
            elif entry is None:
                super().set_aside("")
            else:
                self._position = entry

    def _log(self, entry: Any) -> None:
        if self._closed:
            raise RuntimeError("the database is closed")
        self._journal.append(entry)

    def put_many(
        self,
        rows: Mapping[bytes, bytes],
        beside: Mapping[bytes, bytes | None] = NOTHING,
        *,
        added: int = 0,
    ) -> None:
        assert added == len(rows.keys() - self._rows.keys()), "the count kept would be wrong"
        self._log(Together(dict(rows), dict(beside)))
        super().put_many(rows, beside)

    def set_position(self, offset: int) -> None:
        self._log(offset)
        super().set_position(offset)

    def set_aside(self, damage: str) -> None:
        self._log(None)
        super().set_aside(damage)

    def close(self) -> None:
        self._closed = True


Use = Callable[[str], None]
USES = (
    *("get", "get_many", "put_many", "set_position", "items"),
    *("of_prefix", "key_from", "beside", "beside_one"),
)


class WatchedStore(DiskStore):
    """Tells of each use before it."""

    def __init__(self, journal: list[Any], use: Use) -> None:
        super().__init__(journal)
        for name in USES:
            setattr(self, name, self._watched(use, name, getattr(self, name)))

    @staticmethod
    def _watched(use: Use, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            use(name)
            return method(*args, **options)

        return watched


def damaged_after(uses: int) -> Use:
    """A bad block that is met once: what is done then must not meet it again."""
    left = count(uses, -1)

    def use(what: str) -> None:
        if next(left) == 0:
            raise DamagedStoreError(f"{what} found a bad block")

    return use
