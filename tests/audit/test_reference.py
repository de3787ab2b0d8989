"""The audit's own rule of what stands on the reference topics, from the contract alone."""

from __future__ import annotations

import time
from collections.abc import Iterable
from random import Random
from typing import Any

from streams.audit.evidence import Place, Reference
from streams.settings import load
from tests.views.test_reference_rule import (
    KEY,
    PARTITIONS,
    REFUSED,
    Logs,
    Record,
    folded,
    name_of,
    record,
    registration,
    settle,
)


def audited(records: Iterable[Record]) -> Reference:
    reference = Reference(load({}))
    rows: Iterable[Any] = records
    reference.take(rows)
    return reference


def named(reference: Reference) -> str | None:
    found = reference.agencies.get(KEY.decode())
    return found.name if found is not None else None


def test_audit_and_workers_agree_on_what_stands_whatever_was_sent_and_repaired() -> None:
    seed = time.time_ns()
    random = Random(seed)
    for _ in range(300):
        logs = Logs()
        for step in range(random.randint(1, 15)):
            value = random.choice([None, REFUSED, registration(f"n{step}")])
            tick = random.randint(0, 2)
            logs.said.append(logs.append(random.randrange(PARTITIONS), value, tick=tick))
            if random.random() < 0.3:
                settle(logs)
            partitions = random.sample(logs.logs, PARTITIONS)
            found = audited(row for log in partitions for row in log)
            assert named(found) == name_of(folded(logs.records)) == logs.expected(), f"seed {seed}"
        settle(logs)
        damaged = list(audited(logs.records).damaged([]))
        assert damaged == [], f"seed {seed}"


def test_a_refused_record_that_is_the_last_of_its_key_is_named() -> None:
    logs = Logs()
    logs.append(0, registration("good"))
    logs.append(0, REFUSED)
    assert list(audited(logs.records).damaged([])) == [
        (Place("hoso.agencies", 0, 1), "refused, the last of H56", "what stands, again behind it")
    ]
    settle(logs)
    assert list(audited(logs.records).damaged([])) == []


def test_a_refused_record_alone_is_named_where_the_agency_was_heard_of() -> None:
    alone = [record(0, 4, 1_000, REFUSED)]
    assert list(audited(alone).damaged(["H26"])) == []
    assert [(place.offset, why) for place, why, _ in audited(alone).damaged(["H56"])] == [
        (4, "refused, all there is of H56")
    ]
