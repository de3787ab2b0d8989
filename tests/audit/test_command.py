"""``hoso audit`` on a broker with a worker: it agrees, and it finds what it should find."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from schemas.decoder import Reason
from streams.kafka.partitioner import partition_for
from tests.audit.conftest import Ended, Hoso
from tests.domain.events import processed, registered, submitted
from tests.runtime.load import facts, reference
from tests.runtime.site import PARTITIONS, Site
from tests.schemas.test_examples import FILES, load, value_of

pytestmark = [pytest.mark.broker, pytest.mark.slow]

_DATA = Path(__file__).parent.parent / "data"
EVENTS = [json.loads(line) for line in (_DATA / "example_events.jsonl").open(encoding="utf-8")]


async def audited(hoso: Hoso, *arguments: object, code: int) -> dict[str, Any]:
    ended = await hoso("audit", "--format", "json", *arguments)
    assert ended.code == code, ended
    found: dict[str, Any] = json.loads(ended.out)
    assert bool(found["differences"]) == (code == 1)
    return found


def _says(ended: Ended, code: int, text: str) -> None:
    assert ended.code == code, ended
    assert text in (ended.err if code == 2 else ended.out), ended


async def _row(site: Site, key: bytes) -> dict[str, Any]:
    rows = [r for r in await site.read(site.topic("agency-months")) if r.key == key]
    row: dict[str, Any] = json.loads(rows[-1].value)
    return row


async def test_a_right_register_has_no_differences_and_a_forged_cell_is_found(
    site: Site, hoso: Hoso
) -> None:
    worker = site.worker()
    await worker.ready()
    await site.send(EVENTS)
    url = f"http://127.0.0.1:{worker.port}"
    found = await audited(hoso, "--url", url, code=0)
    assert found["records"] == len([e for e in EVENTS if e["topic"] not in ("agencies", "targets")])
    assert (found["facts"], found["rejected"]) == (found["records"], 0)
    assert found["answers"] == 36
    assert found["cells"] > 100
    assert len(found["days"]) > 12
    _says(await hoso("audit", "--as-of", "2022-08-25"), 0, "0 differences")

    row = await _row(site, b"H56/2022-05")
    column = next(name for name in row["columns"] if name.startswith("submitted_"))
    numbers = row["columns"][column]
    day = next(n for n, dossiers in enumerate(numbers) if dossiers)
    right = numbers[day]
    numbers[day] += 1
    number = partition_for(b"H56", PARTITIONS)
    await worker.stop()  # or it would notice the forged row, and publish the right one again
    await site.send_raw("agency-months", b"H56/2022-05", json.dumps(row).encode(), number)

    differences = (await audited(hoso, code=1))["differences"]
    cells = [d for d in differences if d["what"] == "cell"]
    assert [
        (c["scope"], c["day"], c["figure"], c["published"], c["recomputed"]) for c in cells
    ] == [("H56", f"2022-05-{day + 1:02}", column, right + 1, right)]
    figures = [d for d in differences if d["what"] == "figure"]
    assert len(cells) + len(figures) == len(differences)
    assert {f["scope"] for f in figures} == {"H56", "provinces", "national"}
    assert {f["figure"] for f in figures} == {column}
    assert {f["published"] - f["recomputed"] for f in figures} == {1}
    assert {f["period"] for f in figures if f["day"] == "2022-05-31"} == {
        *("month", "quarter", "half", "year")
    }
    assert min(f["day"] for f in figures) == "2022-05-31"
    # A day before the forged one is as it was.
    _says(await hoso("audit", "--as-of", "2022-04-30"), 0, "0 differences")
    _says(await hoso("audit"), 1, column)


async def test_malformed_and_misplaced_records_among_good_ones_are_judged_alike(
    site: Site, hoso: Hoso
) -> None:
    worker = site.worker()
    await worker.ready()
    sources: dict[str, list[str]] = {"H56": [], "G12": [], "H29": ["/portals/H29"]}
    for code, allowed in sources.items():
        registration = registered(code, "ministry" if code == "G12" else "province")
        registration["value"]["data"]["sources"] = allowed
        await site.send([registration])
    good = [submitted(f"D{n}", f"2022-05-{n:02}") for n in range(1, 20)]
    good += [processed(9, f"2022-06-{n:02}", dossier=f"D{n}") for n in range(1, 20)]
    sent = 0
    for path, event in zip(FILES, [*good, *[None] * len(FILES)], strict=False):
        example = load(path)
        if event is not None:
            await site.send([event])
            sent += 1
        if (
            example["topic"] not in ("submissions", "processing", "catalogue")
            or path.stem == "not_json-nested-too-deep"
        ):
            continue
        headers = [(name, text.encode()) for name, text in example["headers"].items()]
        for name, text in example.get("headers_base64", {}).items():
            headers.append((name, value_of({"value_base64": text}) or b""))
        key = None if example["key"] is None else example["key"].encode()
        await site.send_raw(example["topic"], key, value_of(example), headers=headers)
        sent += 1
    wrong = (partition_for(b"H56", PARTITIONS) + 1) % PARTITIONS
    astray = submitted("ASTRAY", "2022-05-21")
    raw = json.dumps(astray["value"]).encode()
    at, offset = await site.send_raw("submissions", b"H56", raw, wrong)
    await site.caught_up()

    found = await audited(hoso, "--url", f"http://127.0.0.1:{worker.port}", code=0)
    assert found["records"] == sent + 2  # the stray record and its forwarded copy
    letters = await site.read(site.topic("dead-letters"))
    reasons = Counter(dict(letter.headers)["hoso-reason"].decode() for letter in letters)
    assert reasons.keys() == {reason.value for reason in Reason} - {"future_time"}
    on_registrations = {"unknown_agency", "source_not_allowed"}
    assert found["left_out"] == {reason: reasons[reason] for reason in on_registrations}
    assert found["rejected"] == len(letters) - sum(found["left_out"].values())

    # A dead letter that nobody should have written: the record was good, and was counted.
    headers = [
        *(("hoso-reason", b"bad_data"), ("hoso-topic", site.topic("submissions").encode())),
        *(("hoso-partition", b"%d" % at), ("hoso-offset", b"%d" % offset)),
    ]
    await site.send_raw("dead-letters", b"H56", raw, headers=headers)
    differences = (await audited(hoso, code=1))["differences"]
    assert [(d["what"], d["published"], d["recomputed"]) for d in differences] == [
        ("record", "bad_data", "accepted")
    ]
    assert differences[0]["scope"] == f"{site.topic('submissions')}[{at}]@{offset}"


async def test_a_register_in_use_is_audited_between_two_chunks(site: Site, hoso: Hoso) -> None:
    seed = Random().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    worker = site.worker()
    await worker.ready()
    await site.send(reference())
    events = facts(seed, 6000)
    await site.send(events[:3000])

    done = asyncio.Event()

    async def portals() -> None:
        for n in range(3000, 6000, 5):
            if done.is_set():
                return
            await site.send(events[n : n + 5])
            await asyncio.sleep(0.02)

    sending = asyncio.create_task(portals())
    try:
        await audited(hoso, code=0)
    finally:
        done.set()
        await sending
    found = await audited(hoso, "--url", f"http://127.0.0.1:{worker.port}", code=0)
    assert found["facts"] >= 3000


async def test_a_register_that_is_behind_is_not_judged(site: Site, hoso: Hoso) -> None:
    await site.send([registered(), *(submitted(f"D{n}") for n in range(7))])
    ended = await hoso("audit", "--wait", "0.5")
    _says(ended, 2, "the workers are 7 records behind")


async def test_nothing_is_audited_where_there_is_no_broker_topic_or_answer(
    site: Site, hoso: Hoso
) -> None:
    _says(await hoso("audit", brokers="127.0.0.1:1"), 2, "no broker answers at 127.0.0.1:1")
    _says(await hoso("audit", topic_prefix="elsewhere."), 2, "no such topic: elsewhere.")
    _says(await hoso("audit", "--url", "http://127.0.0.1:1"), 2, "127.0.0.1:1")
    _says(await hoso("audit", "--as-of", "2022-2-1"), 2, "is not a date")
    _says(await hoso("audit"), 0, "0 differences")
