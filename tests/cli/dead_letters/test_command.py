"""``hoso dead-letters`` on a broker with a worker: looked at, sent again, never counted twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.audit.conftest import Ended, Hoso
from tests.domain.events import Event, listed, processed, registered, submitted
from tests.domain.register import Register
from tests.runtime.site import Site

pytestmark = [pytest.mark.broker, pytest.mark.slow]

ASKS = ({"period": "year", "as_of": "2022-12-31", "definition": "mic-2022"},)


async def listed_letters(hoso: Hoso, *filters: str) -> list[dict[str, Any]]:
    ended = await hoso("dead-letters", "list", "--format", "json", *filters)
    assert ended.code == 0, ended
    found: list[dict[str, Any]] = json.loads(ended.out)
    return found


def last_line(ended: Ended, code: int) -> str:
    assert ended.code == code, ended
    return ended.out.splitlines()[-1]


def news(agency: str) -> list[Event]:
    return [
        listed(agency=agency),
        submitted("A", "2022-05-10", agency=agency),
        submitted("B", "2022-05-11", agency=agency, channel="postal"),
        processed(9, "2022-05-12", dossier="A", agency=agency),
    ]


async def test_an_agency_registered_too_late_is_replayed_and_counted_once(
    site: Site, hoso: Hoso
) -> None:
    worker = site.worker()
    await worker.ready()
    known, unknown = news("H56"), news("H29")
    await site.send([registered("H56")])
    await site.send([*known, *unknown])
    await site.settled_on(Register([registered("H56"), *known]), *ASKS)

    letters = await listed_letters(hoso, "--reason", "unknown_agency", "--agency", "H29")
    assert [letter["reason"] for letter in letters] == ["unknown_agency"] * 4
    assert {letter["topic"] for letter in letters} == {"submissions", "processing", "catalogue"}
    values = [json.loads(letter["value"]) for letter in letters]
    assert sorted(v["id"] for v in values) == sorted(e["value"]["id"] for e in unknown)
    assert await listed_letters(hoso, "--reason", "bad_data") == []
    assert len(await listed_letters(hoso, "--topic", "submissions", "--limit", "1")) == 1
    assert await listed_letters(hoso, "--until", "2021-12-31") == []
    assert len(await listed_letters(hoso, "--since", "2021-12-31")) == 4

    # Nothing is sent before the agency is registered, and nothing in a dry run.
    refused = await hoso("dead-letters", "replay")
    assert last_line(refused, 1) == "0 sent, 4 still bad"
    assert refused.out.count("unknown_agency: data.agency: 'H29' is not registered") == 4
    await site.send([registered("H29")])
    assert last_line(await hoso("dead-letters", "replay", "--dry-run"), 0).startswith(
        "4 would be sent"
    )
    await site.settled_on(Register([registered("H56"), registered("H29"), *known]), *ASKS)

    whole = Register([registered("H56"), registered("H29"), *known, *unknown])
    for _ in range(2):  # the second replay changes nothing
        assert last_line(await hoso("dead-letters", "replay"), 0) == "4 sent, 0 still bad"
        await site.settled_on(whole, *ASKS)
        audit = await hoso("audit", "--url", f"http://127.0.0.1:{worker.port}")
        assert (audit.code, "0 differences" in audit.out) == (0, True), audit
        assert "4 records are not counted because a worker rejected them" in audit.out


async def test_a_letter_is_shown_with_its_place_headers_and_value(site: Site, hoso: Hoso) -> None:
    worker = site.worker()
    await worker.ready()
    await site.send([registered("H56")])
    bad = submitted("A")["value"]
    bad["data"]["service"] = "Đăng ký khai sinh"
    raw = json.dumps(bad, ensure_ascii=False).encode()
    number, offset = await site.send_raw(
        "submissions", b"H56", raw, headers=[("traceparent", b"00-abc")]
    )
    await site.send_raw("processing", b"H56", b"\x00\xffno JSON")
    await site.caught_up()

    letters = {letter["reason"]: letter for letter in await listed_letters(hoso)}
    assert letters.keys() == {"bad_data", "not_json"}
    table = (await hoso("dead-letters", "list")).out
    assert "2 dead letters" in table
    assert "data.service" in table

    name = f"{letters['bad_data']['partition']}:{letters['bad_data']['offset']}"
    shown = (await hoso("dead-letters", "show", name)).out
    assert f"record    {site.topic('submissions')}[{number}]@{offset}" in shown
    assert "header    traceparent: 00-abc" in shown
    assert '"service": "Đăng ký khai sinh"' in shown
    assert (await hoso("dead-letters", "show", name, "--raw")).out.encode() == raw

    name = f"{letters['not_json']['partition']}:{letters['not_json']['offset']}"
    shown = (await hoso("dead-letters", "show", name)).out
    assert "00000000  00 ff 6e 6f 20 4a 53 4f 4e " in shown
    assert "|..no JSON|" in shown
    for wrong in ("0:999999", "17:0", "nonsense"):
        ended = await hoso("dead-letters", "show", wrong)
        assert (ended.code, ended.err.count("\n")) == (2, 1), ended


async def test_repaired_events_and_repaired_keys_are_sent_and_bad_ones_named(
    site: Site, hoso: Hoso, tmp_path: Path
) -> None:
    worker = site.worker()
    await worker.ready()
    await site.send([registered("H56")])
    misspelt = submitted("A")
    raw = json.dumps({**misspelt["value"], "data": {**misspelt["value"]["data"], "x": 1}})
    await site.send_raw("submissions", b"H56", raw.encode())
    lost_key = submitted("B", "2022-05-12")
    await site.send_raw("submissions", None, json.dumps(lost_key["value"]).encode())
    await site.caught_up()

    replayed = await hoso("dead-letters", "replay")
    assert last_line(replayed, 1) == "0 sent, 2 still bad"
    assert ": bad_data: data.x: unknown field" in replayed.out
    assert ": key_mismatch: key: null is not 'H56'" in replayed.out
    assert last_line(await hoso("dead-letters", "replay", "--rekey"), 1) == "1 sent, 1 still bad"
    await site.settled_on(Register([registered("H56"), lost_key]), *ASKS)

    file = tmp_path / "repaired.jsonl"
    file.write_text(json.dumps(misspelt["value"]) + "\n" + raw + "\n")
    ended = await hoso("dead-letters", "replay", "--file", str(file))
    assert ended.code == 1
    assert f"{file}:2: bad_data: data.x: unknown field" in ended.out
    await site.settled_on(Register([registered("H56"), lost_key]), *ASKS)

    file.write_text(json.dumps(misspelt["value"]) + "\n")
    assert (await hoso("dead-letters", "replay", "--file", str(file))).code == 0
    await site.settled_on(Register([registered("H56"), lost_key, misspelt]), *ASKS)
    ended = await hoso("dead-letters", "replay", "--file", str(file), "--limit", "1")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    audit = await hoso("audit")
    assert audit.code == 0, audit
