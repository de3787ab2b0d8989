"""Rows that another worker writes after it has lost a partition, and does not know yet."""

from __future__ import annotations

from streams.kafka.partitioner import partition_for
from streams.state.codecs import decode_agency_month, split_agency_month_key
from tests.domain.register import Register
from tests.runtime.load import facts, reference
from tests.runtime.site import PARTITIONS, Site, eventually

AGENCY = b"H01"
HOME = partition_for(AGENCY, PARTITIONS)


async def test_stale_rows_of_another_worker_are_noticed_and_put_right(site: Site) -> None:
    events = facts(11, 2500)
    register = Register([*reference(), *events])
    logs = [
        *(site.changelog("dossiers"), site.changelog("services")),
        site.topic("agency-months"),
    ]
    await site.send([*reference(), *events[:600]])
    worker = site.worker()
    await worker.ready()
    await site.caught_up()
    stale = {
        log: [(r.key, r.value) for r in await site.read(log) if r.partition == HOME] for log in logs
    }
    assert all(stale.values())
    await site.send(events[600:2000])
    await site.caught_up()
    for log, rows in stale.items():
        await site.append(log, HOME, rows)
    await site.send(events[2000:])

    async def noticed() -> bool:
        return "another worker wrote there" in worker.log

    await eventually(noticed, "the foreign rows noticed")
    await site.settled_on(register)
    await eventually(lambda: published_right(site, register), "the public rows put right")
    # The last row of every key holds everything, so compaction may take the others.
    last = {r.key: r for log in logs[:1] for r in await site.read(log)}
    for key, _ in stale[logs[0]]:
        if key is not None and not key.startswith(b" "):
            assert last[key].value is not None
    # Again, and this time nothing is written afterwards.
    for log, rows in stale.items():
        await site.append(log, HOME, rows)
    assert not await published_right(site, register)
    await eventually(lambda: published_right(site, register), "the rows put right unasked")
    await site.settled_on(register)
    worker.kill()
    second = site.worker()
    await second.ready()
    await site.settled_on(register)
    assert "0 rows repaired" in second.log


async def published_right(site: Site, register: Register) -> bool:
    """Whether ``agency-months`` holds exactly the cells of the fold."""
    rows = {
        r.key: decode_agency_month(r.value)
        for r in await site.read(site.topic("agency-months"))
        if split_agency_month_key(r.key) is not None
    }
    found: dict[str, dict[int, object]] = {}
    for row in rows.values():
        if cells := row.cells.rows():
            found.setdefault(row.agency, {})[row.month] = cells
    expected: dict[str, dict[int, object]] = {}
    for agency, ledger in register.ledgers.items():
        for number, month in ledger.months.items():
            if any(month.rows()):
                expected.setdefault(agency, {})[number] = month.rows()
    return found == expected
