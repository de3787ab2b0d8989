"""A rejected record as a dead letter: whole where it can be, and never too large to be written.

Contract, section 2. The value and the key stand as they came, with headers that say why and where.
What a broker accepts may be larger than what the dead letters' topic takes (Kafka's default is
1 MiB for a batch), so beyond these bounds, which only `too_large` records can pass, a letter holds
the beginning:

- a value over 512 KiB: its first 64 KiB, and ``hoso-cut: 3145728 sha256:ab12…`` with the length in
  bytes and the SHA-256 of the whole;
- a key over 64 KiB: its first 64 KiB, and ``hoso-cut-key``, likewise;
- headers, where key and headers together are over 64 KiB: as many, in their order, as fit into
  64 KiB, and ``hoso-cut-headers: 3 of 12`` with the number left out.

The digest is missing (``3145728``) where the end of a value was never unpacked
(:mod:`streams.kafka.unpacking`). Pure.
"""

from __future__ import annotations

import hashlib
from typing import Final

from schemas.decoder import MAX_KEY_AND_HEADERS_BYTES, Rejection, key_and_headers_bytes
from streams.kafka.batch_writer import Headers, Outgoing
from streams.kafka.unpacking import KEPT_BYTES, WHOLE_BYTES, Cut

CUT: Final = "hoso-cut"
CUT_KEY: Final = "hoso-cut-key"
CUT_HEADERS: Final = "hoso-cut-headers"

_LONGEST_DETAIL = 2_000
"""Characters; far more than any detail has (:mod:`schemas.explain`)."""


def dead_letter(
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    why: Rejection,
) -> Outgoing:
    """The letter about the record at ``offset`` of ``topic`` (its full name).

    Headers of the record whose names begin with ``hoso-`` are left out: they would pass for ours.
    """
    said: list[tuple[str, bytes]] = [
        ("hoso-reason", why.reason.value.encode()),
        ("hoso-detail", why.detail[:_LONGEST_DETAIL].encode("utf-8", "backslashreplace")),
        ("hoso-topic", topic.encode()),
        ("hoso-partition", b"%d" % partition),
        ("hoso-offset", b"%d" % offset),
    ]
    theirs: Headers = [header for header in headers if not header[0].startswith("hoso-")]
    if value is not None and (len(value) > WHOLE_BYTES or isinstance(value, Cut)):
        said.append((CUT, _measure(value)))
        value = bytes(value[:KEPT_BYTES])
    if key_and_headers_bytes(key, theirs) > MAX_KEY_AND_HEADERS_BYTES:
        if key is not None and len(key) > KEPT_BYTES:
            said.append((CUT_KEY, _measure(key)))
            key = bytes(key[:KEPT_BYTES])
        kept = _that_fit(theirs)
        if len(kept) < len(theirs):
            said.append((CUT_HEADERS, b"%d of %d" % (len(theirs) - len(kept), len(theirs))))
            theirs = kept
    return Outgoing(key, value, (*theirs, *said))


def _measure(raw: bytes) -> bytes:
    length = raw.length if isinstance(raw, Cut) else len(raw)
    digest = raw.sha256 if isinstance(raw, Cut) else hashlib.sha256(raw).hexdigest()
    return (f"{length} sha256:{digest}" if digest else f"{length}").encode()


def _that_fit(headers: Headers) -> Headers:
    kept: list[tuple[str, bytes | None]] = []
    left = MAX_KEY_AND_HEADERS_BYTES
    for header in headers:
        left -= key_and_headers_bytes(None, (header,))
        if left < 0:
            break
        kept.append(header)
    return kept
