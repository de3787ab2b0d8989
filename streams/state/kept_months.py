"""The newest public rows of a partition beside its dossiers, so that a restart need not read all.

``agency-months`` has a row for each month that a chunk moved, most of which are overtaken by the
next. Kept are the newest of each month before some offset of the log, and that offset; reading on
from there gives what reading from the beginning would, whoever wrote them. They are compared with
the ledgers after every start (:meth:`streams.state.partition.Partition.unpublished`).

What survives a crash: what was kept last, all or nothing. Knows the store, not what rows mean.
"""

from __future__ import annotations

from streams.state.stores import Store

_ROW, _POSITION = b"month ", b"months"
KEEP_ROWS = 1000
"""The newest of so many rows are kept together; after a crash so many, and those that were on
their way, are read again."""


class KeptMonths:
    """The newest public rows of one partition; nothing where its store keeps nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unkept: dict[bytes, bytes] = {}
        """By key, those that the store does not have yet."""
        self._position = 0
        """The offset before which the store has the newest."""

    def recall(self, log: str) -> tuple[list[bytes], int]:
        """The newest rows, and the offset of ``log`` to read on from: 0 if others are kept."""
        position, _, of_log = (self._store.beside_one(_POSITION) or b"").partition(b" ")
        if of_log != log.encode():
            self.forget()
            return [], 0
        kept = {key[len(_ROW) :]: row for key, row in self._store.beside(_ROW)}
        self._position = int(position)
        return list((kept | self._unkept).values()), self._position

    def forget(self) -> None:
        """Keep none, so that all are read from the log."""
        self._unkept.clear()
        self._position = 0
        if self._store.keeps:
            gone = [key for key, _ in self._store.beside(_ROW)]
            self._store.put_many({}, dict.fromkeys([*gone, _POSITION]))

    def read(self, rows: list[tuple[bytes, bytes]]) -> None:
        """These came next in the log."""
        if self._store.keeps:
            self._unkept.update(rows)

    def written(self, rows: list[tuple[bytes, bytes]], log: str, position: int) -> None:
        """These came next in the log, and everything before ``position`` has been read."""
        self.read(rows)
        if position - self._position >= KEEP_ROWS:
            self.keep(log, position)

    def keep(self, log: str, position: int) -> None:
        """Everything of ``log`` before ``position`` has been read: let the store have it."""
        if self._store.keeps:
            rows: dict[bytes, bytes | None] = {_ROW + k: row for k, row in self._unkept.items()}
            rows[_POSITION] = b"%d %s" % (position, log.encode())
            self._store.put_many({}, rows)
            self._unkept.clear()
            self._position = position
