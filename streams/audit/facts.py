"""The facts that stand: of all that was said of a slot, what the contract's section 3 lets win.

Rows are gathered in plain lists and folded into polars frames as they grow, so memory goes by the
number of distinct facts and not of records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl

from streams.audit.contract import Listing, Said, Step, Submission

_GATHER = 100_000  # rows before they are put into a frame
_FOLD = 1_000_000  # rows of a frame before the losers are dropped again


class _Slots:
    """Facts of one kind; per slot the one of the highest rank is kept."""

    def __init__(
        self, schema: dict[str, pl.DataType], slot: Sequence[str], rank: Sequence[str]
    ) -> None:
        self._schema, self._slot, self._rank = schema, list(slot), list(rank)
        self._frames: list[pl.DataFrame] = []
        self._height = 0
        self._folded = 0
        self.rows: list[Said] = []

    def gather(self) -> None:
        """Move the rows into a frame."""
        if not self.rows:
            return
        columns = zip(*self.rows, strict=True)
        self._frames.append(
            pl.DataFrame(
                [
                    pl.Series(name, column, dtype=kind)
                    for (name, kind), column in zip(self._schema.items(), columns, strict=True)
                ]
            )
        )
        self._height += len(self.rows)
        self.rows.clear()
        if self._height > 2 * self._folded + _FOLD:
            self.winners()

    def winners(self) -> pl.DataFrame:
        """One row per slot."""
        if self.rows:
            self.gather()
        if not self._frames:
            return pl.DataFrame(schema=self._schema)
        if len(self._frames) > 1 or self._height != self._folded:
            said = pl.concat(self._frames).unique()
            contested = said.select(self._slot).is_duplicated()
            won = (
                said.filter(contested)
                .sort(self._rank, nulls_last=False)
                .unique(self._slot, keep="last", maintain_order=True)
            )
            self._frames = [pl.concat([said.filter(~contested), won])]
            self._height = self._folded = self._frames[0].height
        return self._frames[0]


# What follows the contract's rank only settles facts that wrongly share revision, instant and id:
# docs/audit.md names it, so that the outcome does not depend on the order of arrival.
_SUBMISSIONS = (
    {
        "agency": pl.String(),
        "dossier": pl.String(),
        "revision": pl.Int64(),
        "at": pl.Int64(),
        "id": pl.String(),
        "void": pl.Boolean(),
        "service": pl.String(),
        "channel": pl.Int8(),
        "due_at": pl.Int64(),
    },
    ("agency", "dossier"),
    ("revision", "at", "id", "void", "service", "channel", "due_at"),
)
_STEPS = (
    {
        "agency": pl.String(),
        "dossier": pl.String(),
        "status": pl.Int8(),
        "revision": pl.Int64(),
        "at": pl.Int64(),
        "id": pl.String(),
        "void": pl.Boolean(),
    },
    ("agency", "dossier", "status"),
    ("revision", "at", "id", "void"),
)
_LISTINGS = (
    {
        "agency": pl.String(),
        "service": pl.String(),
        "effective_from": pl.Int64(),
        "revision": pl.Int64(),
        "id": pl.String(),
        "listed": pl.Boolean(),
        "level": pl.Int8(),
        "eligible": pl.Boolean(),
        "name": pl.String(),
    },
    ("agency", "service", "effective_from"),
    ("revision", "id", "listed", "level", "eligible", "name"),
)


class Facts:
    """Everything accepted so far."""

    def __init__(self) -> None:
        self._submissions = _Slots(*_SUBMISSIONS)
        self._steps = _Slots(*_STEPS)
        self._listings = _Slots(*_LISTINGS)
        self.latest: int | None = None
        """The latest instant (µs) of any submission or step."""
        self.speakers: Counter[tuple[str, str]] = Counter()
        """(agency, source) → facts."""

    def add(self, said: Said, source: str) -> None:
        """Take in a fact; anything else is a mistake of the caller (``TypeError``)."""
        if isinstance(said, Listing):
            slots = self._listings
        elif isinstance(said, Submission | Step):
            slots = self._submissions if isinstance(said, Submission) else self._steps
            if self.latest is None or said.at > self.latest:
                self.latest = said.at
        else:
            raise TypeError(f"no fact: {said!r}")
        slots.rows.append(said)
        self.speakers[said.agency, source] += 1
        if len(slots.rows) >= _GATHER:
            slots.gather()

    @property
    def submissions(self) -> pl.DataFrame:
        """The winning submission of each dossier, void ones too."""
        return self._submissions.winners()

    @property
    def steps(self) -> pl.DataFrame:
        """The winning step of each dossier and status, void ones too."""
        return self._steps.winners()

    @property
    def listings(self) -> pl.DataFrame:
        """The winning listing of each service and effective day."""
        return self._listings.winners()
