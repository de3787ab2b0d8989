"""From events to what the audit works on, without a broker."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from fractions import Fraction
from typing import Any

from streams.audit.answers import answer, flat
from streams.audit.contract import Assignment, Registration, read
from streams.audit.facts import Facts
from streams.audit.published import Published
from streams.audit.recount import Recount
from streams.domain.calendar import month_name
from tests.domain.register import Register

Event = dict[str, Any]
FAR_AHEAD_MS = 10**15


class Audited:
    """Events read by the audit's own reader, and recounted."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.facts = Facts()
        self.agencies: dict[str, Registration] = {}
        self.targets: dict[tuple[str, str, int], Fraction] = {}
        for event in events:
            raw = json.dumps(event["value"]).encode()
            topic, key = event["topic"], event["key"].encode()
            said, source = read(topic, key, raw, [], FAR_AHEAD_MS)
            if isinstance(said, Registration):
                self.agencies[said.agency] = said
            elif isinstance(said, Assignment):
                self.targets[said.scope, said.indicator, said.year] = Fraction(str(said.ratio))
            else:
                self.facts.add(said, source)
        self.recount = Recount(self.facts)

    def answer(self, as_of: date, kind: str, definition: str) -> dict[str, dict[str, Any]]:
        rows = answer(self.recount.figures, self.agencies, self.targets, as_of, kind, definition)
        return {row["scope"]: flat(row) for row in rows}


def published(register: Register) -> Published:
    """The rows a worker would have published."""
    return Published(
        (
            f"{agency}/{month_name(number)}".encode(),
            json.dumps(
                {"agency": agency, "month": month_name(number), "columns": month.rows()}
            ).encode(),
        )
        for agency, ledger in register.ledgers.items()
        for number, month in ledger.months.items()
    )
