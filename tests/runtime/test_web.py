"""``hoso web``: figures without a group, services from whoever owns the agency now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.domain.register import Register
from tests.runtime.site import Site, WorkerProcess, eventually

_DATA = Path(__file__).parent.parent / "data"
EVENTS = [json.loads(line) for line in (_DATA / "example_events.jsonl").open(encoding="utf-8")]
CODES = sorted({e["key"] for e in EVENTS if e["topic"] == "agencies"})
ASK = {"period": "year", "as_of": "2022-08-25", "definition": "mic-2022"}


async def services(process: WorkerProcess) -> dict[str, tuple[int, Any]]:
    """Agency → status and body of its services."""
    found = {}
    for code in CODES:
        status, body = await process.get(f"/api/v1/agencies/{code}/services", **ASK)
        found[code] = status, json.loads(body) if body else None
    return found


async def all_answered(processes: Sequence[WorkerProcess]) -> bool:
    answers = [await services(process) for process in processes]
    return all(status == 200 for each in answers for status, _ in each.values())


async def test_figures_and_services_come_from_whoever_has_them_and_outlive_any_worker(
    site: Site,
) -> None:
    first, second = site.worker(as_of="2022-08-25"), site.worker(as_of="2022-08-25")
    await first.ready()
    await second.ready()
    await site.send(EVENTS)
    await site.settled_on(Register(EVENTS), ASK)
    readers = [site.web(as_of="2022-08-25"), site.web(as_of="2022-08-25", web_pages="false")]
    for reader in readers:
        await reader.ready()
        assert await reader.json("/api/v1/indicators", **ASK) == await first.json(
            "/api/v1/indicators", **ASK
        )

    async def readers_answer() -> bool:
        return await all_answered(readers)

    await eventually(readers_answer, "services from the owners")
    expected = await services(first)
    assert any(body["services"] for _, body in expected.values())
    for reader in readers:
        assert await services(reader) == expected
    assert [(await reader.get("/"))[0] for reader in readers] == [200, 404]
    assert [(await reader.get("/metrics"))[0] for reader in readers] == [404, 404]

    # One takes over from the other: whoever has an agency now is found.
    first.kill()
    await site.caught_up()
    await eventually(readers_answer, "services from the owner that is left")
    assert await services(readers[0]) == expected

    # Without any worker the figures stay, and what only a worker knows is said to be missing.
    assert await second.stop() == 0

    async def said() -> bool:
        return {status for status, _ in (await services(readers[0])).values()} == {503}

    await eventually(said, "no services any more")
    answer = await readers[0].json("/api/v1/indicators", **ASK)
    assert answer["behind"] == 0
    assert answer["rows"][0]["services_with_dossiers"] > 0

    async def named() -> bool:
        return b"0 of 5 agencies" in (await readers[0].get("/", lang="en"))[1]

    await eventually(named, "the agencies named whose partition nobody shows")
    for reader in readers:
        assert await reader.stop() == 0


async def test_a_reader_is_in_no_group_and_writes_nothing(site: Site) -> None:
    worker = site.worker(as_of="2022-08-25")
    await worker.ready()
    await site.send(EVENTS)
    await site.caught_up()
    topics = [site.topic(name) for name in ("agency-months", "agencies", "targets")]
    before = [len(await site.read(topic)) for topic in topics]
    owned = await worker.owned()
    reader = site.web()
    await reader.ready()

    async def answers() -> bool:
        return await all_answered([reader])

    await eventually(answers, "services from the owner")
    assert await worker.owned() == owned
    assert [len(await site.read(topic)) for topic in topics] == before


async def test_wrong_topics_are_waited_for_and_named(site: Site) -> None:
    reader = site.web(topic_prefix=f"{site.prefix}other.")

    async def said() -> bool:
        status, body = await reader.get("/readyz")
        return status == 503 and b"agency-months: missing" in body

    await eventually(said, "what is missing said")
    assert (await reader.get("/api/v1/indicators"))[0] == 503
    assert await reader.stop() == 0
