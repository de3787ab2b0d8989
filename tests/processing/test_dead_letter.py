"""A dead letter has the record as it came, and always fits where it goes."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from schemas.decoder import Reason, Rejection
from streams.kafka.batch_writer import Outgoing
from streams.kafka.unpacking import cut
from streams.processing.dead_letter import dead_letter

KIB = 1024
KAFKAS_LIMIT = 1_048_588
"""``max.message.bytes`` as it is by default: of a whole batch."""
WHY = Rejection(Reason.too_large, "value: 70000 bytes, expected at most 65536", None)
TOPIC = "t" * 249

Headers = list[tuple[str, bytes | None]]


def letter(
    value: bytes | None,
    key: bytes | None = b"H56",
    headers: Headers | None = None,
    why: Rejection = WHY,
) -> Outgoing:
    return dead_letter(TOPIC, 11, 2**63 - 1, key, value, headers or [], why)


def said(found: Outgoing) -> dict[str, bytes | None]:
    return {name: raw for name, raw in found.headers if name.startswith("hoso-")}


def size(found: Outgoing) -> int:
    """Bytes of a batch with this letter alone."""
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1,
    )  # fmt: skip
    assert builder.append(0, 2**40, found.key, found.value, [*found.headers]) is not None
    return len(builder.build())


def test_a_record_within_the_bounds_is_kept_unchanged_with_its_place() -> None:
    headers: Headers = [("a", None), ("a", b"1"), ("", b""), ("x", b"y" * (64 * KIB - 6))]
    found = letter(bytes(512 * KIB), b"H56", [*headers, ("hoso-reason", b"made up")])
    assert (found.key, found.value) == (b"H56", bytes(512 * KIB))
    assert list(found.headers[:4]) == headers
    assert said(found) == {
        "hoso-reason": b"too_large",
        "hoso-detail": WHY.detail.encode(),
        "hoso-topic": TOPIC.encode(),
        "hoso-partition": b"11",
        "hoso-offset": b"9223372036854775807",
    }


@pytest.mark.parametrize("length", [512 * KIB + 1, 3 * KIB * KIB])
def test_a_value_over_512_kib_is_cut_to_its_first_64_and_measured(length: int) -> None:
    value = Random(length).randbytes(length)
    found = letter(value)
    assert found.value == value[: 64 * KIB]
    assert (
        said(found)["hoso-cut"] == f"{length} sha256:{hashlib.sha256(value).hexdigest()}".encode()
    )


def test_a_value_that_was_cut_on_the_way_is_measured_as_it_was() -> None:
    value = Random(1).randbytes(KIB * KIB)
    found = letter(cut(memoryview(value)))
    assert found == letter(value)
    endless = letter(cut(memoryview(value), 5_000_000_000))
    assert (endless.value, said(endless)["hoso-cut"]) == (value[: 64 * KIB], b"5000000000")


def test_of_too_many_headers_the_first_are_kept_and_a_key_that_is_too_long_is_cut() -> None:
    headers: Headers = [("a", b"x" * 40_000), ("b", b"y" * 40_000), ("c", None)]
    found = letter(b"{}", b"k" * 70_000, headers)
    assert found.key == b"k" * 64 * KIB
    assert [name for name, _ in found.headers if not name.startswith("hoso-")] == ["a"]
    digest = hashlib.sha256(b"k" * 70_000).hexdigest()
    assert said(found)["hoso-cut-key"] == f"70000 sha256:{digest}".encode()
    assert said(found)["hoso-cut-headers"] == b"2 of 3"
    assert "hoso-cut" not in said(found)


def _worst() -> list[dict[str, Any]]:
    many: Headers = [("", b"")] * 200_000
    one_byte: Headers = [("n", None)] * 200_000
    large: Headers = [("n" * 300, b"v" * 65_000)] * 5
    detail = Rejection(Reason.bad_data, "\ud800" * 100_000, None)
    return [
        {"key": key, "headers": headers, "why": why}
        for key in (None, b"k" * 64 * KIB, b"k" * 1_000_000)
        for headers in ([], many, one_byte, large, many[:65_536], one_byte[:65_536])
        for why in (WHY, detail)
    ]


@pytest.mark.parametrize("given", _worst())
@pytest.mark.parametrize("length", [512 * KIB, 512 * KIB + 1])
def test_every_letter_fits_into_kafkas_default_limit(given: dict[str, Any], length: int) -> None:
    assert size(letter(bytes(length), **given)) < KAFKAS_LIMIT


def test_random_letters_fit_too() -> None:
    seed = Random().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    random = Random(seed)
    for _ in range(50):
        headers: Headers = [
            ("ộ" * random.choice((0, 0, 1, 100)), bytes(random.choice((0, 0, 1, 63, 64, 9_000))))
            for _ in range(random.choice((0, 3, 1_000, 70_000)))
        ]
        key = bytes(random.choice((0, 3, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1)))
        found = letter(bytes(random.choice((0, 512 * KIB))), key, headers)
        assert size(found) < KAFKAS_LIMIT
