"""Records that are wrong, astray or early, among good ones: none is lost, none stops the worker."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from streams.kafka.partitioner import partition_for
from tests.domain.events import listed, processed, registered, removed, submitted
from tests.domain.register import Register
from tests.runtime.site import PARTITIONS, Site, eventually

Event = dict[str, Any]


class Bad(NamedTuple):
    """A record that must be refused, and why."""

    reason: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def _with(event: Event, **data: Any) -> bytes:
    value = event["value"]
    return json.dumps({**value, "data": {**value["data"], **data}}).encode()


def _envelope(event: Event, **attributes: Any) -> bytes:
    value = {**event["value"], **attributes}
    return json.dumps({k: v for k, v in value.items() if v is not ...}).encode()


def _raw(event: Event) -> bytes:
    return json.dumps(event["value"]).encode()


def _bad_records() -> list[Bad]:
    one, step, listing = submitted("B"), processed(9, dossier="B"), listed("B")
    key = b"H56"
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    sent = "submissions"
    return [
        Bad("too_large", sent, key, _with(one, dossier="x" * 70_000)),
        Bad("not_json", sent, key, None),
        Bad("not_json", sent, key, b""),
        Bad("not_json", sent, key, b"{"),
        Bad("not_json", "processing", key, b"\xff\xfe\x00"),
        Bad("bad_envelope", sent, key, b"[]"),
        Bad("bad_envelope", sent, key, b"7"),
        Bad("bad_envelope", sent, key, _envelope(one, specversion="0.3")),
        Bad("bad_envelope", sent, key, _envelope(one, id=...)),
        Bad("bad_envelope", sent, key, _envelope(one, source=...)),
        Bad("bad_envelope", "processing", key, _envelope(step, type=...)),
        Bad("unknown_type", sent, key, _envelope(one, type="hoso.dossier.submitted.v2")),
        Bad("wrong_topic", "processing", key, _raw(one)),
        Bad("wrong_topic", sent, key, _raw(listing)),
        Bad("bad_data", sent, key, _with(one, submitted_at="2022-05-10T12:00:00")),
        Bad("bad_data", sent, key, _with(one, surprise=1)),
        Bad("bad_data", sent, key, _with(one, revision=2**31)),
        Bad("bad_data", sent, key, _with(one, channel="telepathy")),
        Bad("bad_data", sent, key, _with(one, dossier="a b")),
        Bad("bad_data", "processing", key, _with(step, status=1)),
        Bad("bad_data", "catalogue", key, _with(listing, level=5)),
        Bad("bad_data", "catalogue", key, _with(listing, effective_from="yesterday")),
        Bad("key_mismatch", sent, b"H26", _raw(one)),
        Bad("key_mismatch", "processing", None, _raw(step)),
        Bad("unknown_agency", sent, b"H99", _raw(submitted("B", agency="H99"))),
        Bad("source_not_allowed", sent, b"G12", _raw(submitted("B", agency="G12"))),
        Bad("future_time", sent, key, _raw(submitted("B", on=soon))),
        Bad("future_time", "processing", key, _raw(processed(2, soon, dossier="B"))),
        Bad("not_json", "agencies", key, b"nonsense"),
        Bad("bad_data", "agencies", key, _with(registered(), kind="village")),
        Bad(
            *("not_json", sent, key, b"<xml/>"),
            (("hoso-reason", b"forged"), ("portal", b"\x00\xff")),
        ),
    ]


async def test_every_bad_record_is_a_dead_letter_and_every_good_one_counts(site: Site) -> None:
    strict = registered("G12", "ministry")
    strict["value"]["data"]["sources"] = ["/portals/somebody-else"]
    reference = [registered(), strict]
    good = [listed(), *(submitted(f"D{n}") for n in range(40))]
    good += [processed(9, dossier=f"D{n}") for n in range(0, 40, 2)]
    worker = site.worker()
    await worker.ready()
    await site.send(reference)
    sent: dict[tuple[str, int, int], Bad] = {}
    for n, bad in enumerate(_bad_records()):
        await site.send(good[n * 2 : n * 2 + 2])
        partition, offset = await site.send_raw(bad.topic, bad.key, bad.value, headers=bad.headers)
        sent[site.topic(bad.topic), partition, offset] = bad
    await site.send(good[len(sent) * 2 :])
    await site.settled_on(Register([*reference, *good]))

    letters = await site.read(site.topic("dead-letters"))
    assert len(letters) == len(sent) == 31
    for letter in letters:
        headers = dict(letter.headers)
        at = (
            headers["hoso-topic"].decode(),
            int(headers["hoso-partition"]),
            int(headers["hoso-offset"]),
        )
        bad = sent.pop(at)
        assert (letter.key, letter.value) == (bad.key, bad.value)
        assert headers["hoso-reason"].decode() == bad.reason, headers["hoso-detail"]
        assert headers["hoso-detail"]
        assert [name for name, _ in letter.headers].count("hoso-reason") == 1
        if bad.headers:
            assert headers["portal"] == b"\x00\xff"
    assert not sent

    series = await worker.metrics()
    reasons: Counter[str] = Counter()
    for (name, labels), value in series.items():
        if name == "hoso_events_rejected_total":
            reasons[dict(labels)["reason"]] += int(value)
            assert dict(labels)["agency"] in ("H56", "G12", "")
    assert reasons == Counter(bad.reason for bad in _bad_records())
    for topic in ("submissions", "processing", "catalogue"):
        mine = [event for event in good if event["topic"] == topic]
        assert await worker.counted(site.topic(topic), "applied") == len(mine)
        refused = sum(1 for bad in _bad_records() if bad.topic == topic)
        assert await worker.counted(site.topic(topic), "rejected") == refused


async def test_a_record_on_the_wrong_partition_is_forwarded_and_counted_once(site: Site) -> None:
    reference = [registered(), listed()]
    event = submitted()
    home = partition_for(b"H56", PARTITIONS)
    worker = site.worker()
    await worker.ready()
    await site.send(reference)
    for partition in range(PARTITIONS):
        if partition != home:
            await site.send_raw("submissions", b"H56", _raw(event), partition, [("portal", b"1")])
    await site.settled_on(Register([*reference, event]))
    submissions = site.topic("submissions")

    async def counted() -> bool:
        return (
            await worker.counted(submissions, "forwarded") == 3
            and await worker.counted(submissions, "applied") == 1
            and await worker.counted(submissions, "duplicate") == 2
        )

    await eventually(counted, "three forwarded, one applied, two duplicates")
    arrived = [r for r in await site.read(submissions) if r.partition == home]
    assert [(r.key, r.value, r.headers) for r in arrived] == [
        (b"H56", _raw(event), (("portal", b"1"),))
    ] * 3
    assert await site.read(site.topic("dead-letters")) == []


async def test_an_agency_registered_just_before_its_events_is_known(site: Site) -> None:
    worker = site.worker()
    await worker.ready()
    events: list[Event] = []
    for n in range(20):
        code = f"H{n:02d}"
        new = [registered(code), listed(agency=code), submitted(agency=code)]
        await site.send(new[:1])
        await site.send(new[1:])
        events += new
    await site.settled_on(Register(events))
    assert await site.read(site.topic("dead-letters")) == []


async def test_an_agency_counts_from_its_registration_to_its_tombstone(site: Site) -> None:
    worker = site.worker()
    await worker.ready()
    known = [registered(), listed(), submitted()]
    await site.send(known)
    early = submitted("too-early", agency="H26")
    await site.send([early])
    await eventually(_rejected(site, 1), "the early event refused")
    late = [registered("H26"), listed(agency="H26"), submitted("in-time", agency="H26")]
    await site.send(late)
    await site.settled_on(Register([*known, *late]))
    await site.send([removed(late[0])])
    rest = Register(known)
    await site.settled_on(rest)
    status, _ = await worker.get("/api/v1/agencies/H26/services")
    assert status == 404
    assert not [
        labels
        for _, labels in await worker.metrics()
        if ("agency", "H26") in labels and not any(name == "reason" for name, _ in labels)
    ]
    await site.send([submitted("too-late", agency="H26")])
    await eventually(_rejected(site, 2), "the late event refused")
    await site.settled_on(rest)
    letters = await site.read(site.topic("dead-letters"))
    assert [dict(r.headers)["hoso-reason"] for r in letters] == [b"unknown_agency"] * 2


def _rejected(site: Site, records: int) -> Callable[[], Any]:
    async def so_many() -> bool:
        counted = await site.workers[0].counted(site.topic("submissions"), "rejected")
        return counted == records

    return so_many
