"""The services behind a ratio: what an agency lists on a day, and the online dossiers of each.

Pure; counted from the same ledger as the figures, so that there are as many rows as the figure's
denominator says, and as many with dossiers as its numerator (contract, section 6).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streams.domain.calendar import Period
from streams.domain.catalogue import listing_on
from streams.domain.definitions import Definition
from streams.domain.ledger import AgencyLedger


class ListedService(NamedTuple):
    """A service listed on the as-of day at a level that the definition asks for."""

    code: str
    name: str
    """Empty where the listing has none."""
    level: int
    online_dossiers: int
    """In the period, by the day that the definition asks for."""
    first_day: int | None
    last_day: int | None
    """Of these dossiers; None where there is none."""


def listed_services(
    ledger: AgencyLedger, definition: Definition, period: Period
) -> Iterator[ListedService]:
    """The agency's services as ``period`` ends, by code."""
    for code, service in sorted(ledger.services.items()):
        listing = listing_on(service.listings, period.end)
        if listing is not None and listing.level in definition.levels:
            found = service.online_dossiers(definition.used, period.start, period.end)
            yield ListedService(code, listing.name, listing.level, *(found or (0, None, None)))
