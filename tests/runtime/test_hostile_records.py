"""Whatever a broker accepts ends as a fact or a dead letter, and never ends a worker.

Every record here stopped a worker once, at every start, or could have. After each come good events
that must count, also after a restart, and the audit finds no difference.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka.errors import KafkaError

from streams.kafka.partitioner import partition_for
from streams.kafka.topics import TopicSpec, create_missing
from tests.conftest import Broker
from tests.domain.events import listed, processed, registered, submitted
from tests.domain.register import Register
from tests.kafka.batches import Headers, batch, send_as_it_is, with_header_name
from tests.runtime.site import PARTITIONS, Site

Event = dict[str, Any]

HOME = partition_for(b"H56", PARTITIONS)
MIB = 1 << 20
NOW_US = 1_795_680_000_000_000
"""November 2026 in microseconds: as milliseconds the year 58873."""


class Sent(NamedTuple):
    """A batch, and what becomes of its records: a fact that counts, or a reason."""

    what: str
    raw: bytes
    becomes: Event | str
    records: int = 1


def _value(event: Event) -> bytes:
    return json.dumps(event["value"]).encode()


def _hostile() -> list[Sent]:
    events = [submitted(f"S{n}") for n in range(8)]
    good = [_value(event) for event in events]
    large = b"[" + b"0" * (3 * MIB - 2) + b"]"
    many: Headers = [("", b"")] * 100_000
    twice: Headers = [("a", None), ("a", b"")]
    six = [b"x" * 600_000] * 200
    return [
        Sent("3 MiB in a few KiB", batch([large], codec="gzip"), "too_large"),
        Sent("2.2 MB as they are", batch([b"x" * 2_200_000]), "too_large"),
        Sent("64 MiB in a few KiB", batch([bytes(64 * MIB)], codec="zstd"), "too_large"),
        Sent("headers of 1 MiB", batch([good[0]], headers=[("h", bytes(MIB))]), "too_large"),
        Sent("100,000 headers", batch([good[0]], codec="gzip", headers=many), "too_large"),
        Sent("a key of 1 MiB", batch([good[0]], key=bytes(MIB)), "too_large"),
        Sent("a name that is not UTF-8", with_header_name([good[1]], b"tr\xe4ger"), events[1]),
        Sent("and refused", with_header_name([b"{"], b"ce_\xff", "gzip"), "not_json"),
        Sent("names like ce_", with_header_name([good[2]], b"ce_\xff\xfe"), events[2]),
        Sent("microseconds", batch([good[3]], timestamp=NOW_US), events[3]),
        Sent("before all time", batch([good[4]], timestamp=-1), events[4]),
        Sent("snappy", batch([good[5]], codec="snappy", headers=twice), events[5]),
        Sent("lz4", batch([good[6]], codec="lz4"), events[6]),
        Sent("zstd", batch([good[7]], codec="zstd"), events[7]),
        Sent("an empty value", batch([b""]), "not_json"),
        Sent("neither key nor value", batch([None], key=None), "not_json"),
        Sent("200 too large at once", batch(six, codec="zstd"), "too_large", 200),
    ]


@pytest.fixture
async def site(broker: Broker, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A site whose submissions keep the producer's time and take what is large."""
    anything = {
        "max.message.bytes": str(12 * MIB),
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": str(2**63 - 1),
        "message.timestamp.before.max.ms": str(2**63 - 1),
        "retention.ms": "-1",
    }
    spec = TopicSpec(f"{topic_prefix}submissions", PARTITIONS, 1, anything)
    await create_missing(broker.client_options, [spec])
    async with Site(broker, topic_prefix, tmp_path) as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_every_record_that_a_broker_accepts_counts_or_is_a_dead_letter(site: Site) -> None:
    facts = [registered(), listed()]
    worker = site.worker()
    await worker.ready()
    await site.send(facts)
    topic = site.topic("submissions")
    expected: dict[int, tuple[str, str]] = {}
    refused: set[str] = set()
    for n, sent in enumerate(_hostile()):
        try:
            first = await send_as_it_is(site.producer, sent.raw, topic, HOME)
        except KafkaError:
            if site.broker.kind == "kafka":
                raise
            refused.add(sent.what)
            continue
        if isinstance(sent.becomes, str):
            expected |= {first + m: (sent.becomes, sent.what) for m in range(sent.records)}
        else:
            facts.append(sent.becomes)
        after = [submitted(f"G{n}"), processed(9, dossier=f"G{n}")]
        await site.send(after)
        facts += after
        await site.caught_up()
        assert worker.alive, f"{sent.what}: {worker.log[-3000:]}"
    assert refused <= set(), "the embedded broker takes other records than it did"
    register = Register(facts)
    await site.settled_on(register)

    letters = await site.read(site.topic("dead-letters"))
    found = {int(dict(x.headers)["hoso-offset"]): x for x in letters}
    assert found.keys() == expected.keys()
    for offset, (reason, what) in expected.items():
        assert dict(found[offset].headers)["hoso-reason"] == reason.encode(), what
    (large,) = (found[at] for at, (_, what) in expected.items() if what.startswith("3 MiB"))
    value = b"[" + b"0" * (3 * MIB - 2) + b"]"
    digest = hashlib.sha256(value).hexdigest()
    assert large.value == value[: 64 * 1024]
    assert dict(large.headers)["hoso-cut"] == f"{3 * MIB} sha256:{digest}".encode()

    rows = (await worker.json("/api/v1/indicators"))["rows"]
    (of_agency,) = (row for row in rows if row["scope"] == "H56")
    assert of_agency["last_event_at"] is None or of_agency["last_event_at"][:4] <= "2027"

    await worker.stop()
    again = site.worker()
    await again.ready()
    await site.settled_on(register)
    assert again.alive
    code, said = await hoso(site, "audit")
    assert code == 0, said
    code, said = await hoso(site, "dead-letters", "replay", "--dry-run")
    assert "only its beginning was kept" in said
    assert "3145728 sha256:" in said


async def hoso(site: Site, *arguments: str) -> tuple[int, str]:
    environment = {
        "HOSO_BROKERS": site.broker.bootstrap,
        "HOSO_TOPIC_PREFIX": site.prefix,
        "HOSO_APP_ID": site.app_id,
        "HOSO_PARTITIONS": str(PARTITIONS),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams", *arguments),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()
