"""The three definitions of the indicators, as data, and the columns of the ledger they read.

Pure. A definition says which listed services count, which of a dossier's days places it in a
period, and which columns of the ledger hold the numerator. Adding one means adding a row here.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from streams.domain.calendar import PERIOD_KINDS, PeriodKind
from streams.domain.catalogue import LEVELS
from streams.domain.dossier import CHANNELS


class Definition(NamedTuple):
    """How the two indicators are counted (contract, section 4)."""

    name: str
    levels: frozenset[int]
    """Services listed at one of these levels are the denominator of services_with_dossiers."""
    used: Literal["submitted", "received"]
    """The day of an online dossier that makes its service count as used."""
    processed: Literal["received", "resolved"]
    """The day that places a dossier in online_processed."""
    online: str
    """The ledger column with the numerator of online_processed."""


DEFINITIONS: dict[str, Definition] = {
    d.name: d
    for d in (
        Definition("mic-2022", frozenset({3, 4}), "submitted", "resolved", "resolved_online"),
        Definition("qd766", frozenset({1, 2, 3, 4}), "received", "received", "received_online"),
        Definition("emc-2024", frozenset({4}), "submitted", "resolved", "resolved_online_level4"),
    )
}
DEFAULT_DEFINITION = "mic-2022"


def used_column(definition: str, kind: PeriodKind) -> str:
    """The column of changes in the number of used services, which restarts with each period."""
    return f"used_{definition}_{kind}"


COLUMNS: tuple[str, ...] = (
    *(f"submitted_{c}" for c in CHANNELS),
    *(f"received_{c}" for c in CHANNELS),
    *(f"resolved_{c}" for c in CHANNELS),
    "resolved_online_level4",
    "due",
    "on_time",
    # Changes in the stock of listed services: summed from the beginning, not from a period's start.
    *(f"listed_level{level}" for level in LEVELS),
    "eligible",
    "eligible_level4",
    *(used_column(name, kind) for name in DEFINITIONS for kind in PERIOD_KINDS),
)
"""Every column of the ledger, in the order of its rows. Names are part of the public topic."""

COLUMN: dict[str, int] = {name: index for index, name in enumerate(COLUMNS)}
STOCK_COLUMNS = range(COLUMN["listed_level1"], COLUMN["eligible_level4"] + 1)
