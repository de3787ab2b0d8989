"""Whoever reads a partition of ``agency-months`` up to a mark has exactly the events before it.

Contract, section 1. That the last marks are right after any crash is checked by the deployments of
the crash tests (``Deployment.check``).
"""

from __future__ import annotations

import asyncio
import json
from random import Random, SystemRandom

from faust.types import TP

from schemas.topics import EVENT_TOPICS
from streams.state.codecs import decode_agency_month, split_taken_in_key
from tests.domain.register import Register
from tests.domain.worlds import busy_world
from tests.processing.deployment import PARTITIONS, Deployment


def test_at_every_mark_the_rows_before_it_are_those_of_the_events_before_it() -> None:
    seed = SystemRandom().randrange(10**9)

    async def run() -> int:
        random = Random(seed)
        deployment = Deployment(busy_world(random), random)
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        facts = deployment.world.facts
        for start in range(0, len(facts), 17):
            deployment.send(facts[start : start + 17])
            deployment.send_rubbish("submissions", "H56", b"{")
            await deployment.run_until_idle()
        checked = sum(_check(deployment, number) for number in PARTITIONS)
        await worker.kill()
        return checked

    assert asyncio.run(run()) > 10, seed


def _check(deployment: Deployment, number: int) -> int:
    marks: dict[str, int] = {}
    rows: dict[str, dict[str, dict[str, list[int]]]] = {}
    checked = 0
    for record in deployment.cluster.logs[TP("agency-months", number)]:
        assert record.key is not None
        assert record.value is not None
        topic = split_taken_in_key(record.key)
        if topic is None:
            row = decode_agency_month(record.value)
            month = record.key.decode().rpartition("/")[2]
            of_agency = rows.setdefault(row.agency, {})
            of_agency.pop(month, None)
            if cells := row.cells.rows():
                of_agency[month] = cells
            continue
        assert int(record.value) > marks.get(topic, 0)
        marks[topic] = int(record.value)
        before = [
            {"topic": str(topic), "key": (r.key or b"").decode(), "value": json.loads(r.value)}
            for topic in EVENT_TOPICS
            for r in deployment.cluster.logs[TP(str(topic), number)]
            if r.offset < marks.get(str(topic), 0) and r.value not in (None, b"{")
        ]
        expected = Register([*deployment.world.reference, *before]).cells()
        assert {agency: months for agency, months in rows.items() if months} == expected
        checked += 1
    return checked
