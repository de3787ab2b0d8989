"""Record batches byte by byte, as no client of ours would send them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Any

import cramjam
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
Headers = list[tuple[str, bytes | None]]


def batch(
    values: Iterable[bytes | None],
    base: int = 0,
    codec: str = "none",
    key: bytes | None = b"H56",
    headers: Headers | None = None,
    timestamp: int = 1_700_000_000_000,
) -> bytes:
    """A batch of the format v2 as a broker would send it."""
    builder = DefaultRecordBatchBuilder(
        2, CODECS[codec], is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 40,
    )  # fmt: skip
    for offset, value in enumerate(values):
        builder.append(offset, timestamp, key, value, headers or [])
    return at(bytes(builder.build()), base)


def with_header_name(values: list[bytes], name: bytes, codec: str = "none", **given: Any) -> bytes:
    """A batch whose records have one header, with a name of any bytes."""
    stand_in = "N" * len(name)
    plain = batch(values, headers=[(stand_in, b"x")], **given).replace(stand_in.encode(), name)
    body = plain[61:]
    packed = {
        "none": lambda: body,
        "gzip": lambda: zlib.compress(body, wbits=31),
        "snappy": lambda: bytes(cramjam.snappy.compress_raw(body)),
        "lz4": lambda: bytes(cramjam.lz4.compress(body)),
        "zstd": lambda: bytes(cramjam.zstd.compress(body)),
    }[codec]()
    data = bytearray(plain[:61] + packed)
    data[8:12] = struct.pack(">i", len(data) - 12)
    data[22] |= CODECS[codec]
    return sealed(data)


def at(raw: bytes, base: int) -> bytes:
    """The batch with another base offset, as the broker assigns it; no checksum covers it."""
    return struct.pack(">q", base) + raw[8:]


def sealed(raw: bytes | bytearray) -> bytes:
    """The batch with the checksum that its bytes have."""
    return bytes(raw[:17]) + struct.pack(">I", calc_crc32c(bytes(raw[21:]))) + bytes(raw[21:])


class _AsItIs(BatchBuilder):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, raw: bytes) -> None:
        super().__init__(1, 0)
        self._buffer = bytearray(raw)
        self._closed = True
        (self._relative_offset,) = struct.unpack_from(">i", raw, 57)


async def send_as_it_is(producer: AIOKafkaProducer, raw: bytes, topic: str, partition: int) -> int:
    """Append a batch to a partition; its first offset. Raises what the broker says."""
    delivery = await producer.send_batch(_AsItIs(raw), topic, partition=partition)
    return int((await delivery).offset)
