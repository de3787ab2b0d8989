"""What a well-formed event must still pass: its key, its agency, its source, its clock.

Pure checks after `decoder.decode`, in the contract's order (section 2, rejection reasons 7 to
10). Imports the schemas and the standard library only; the agencies are a parameter, so is time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.decoder import Reason, Rejection
from schemas.events import Event, ListedEvent, ProcessedEvent, SubmittedEvent, TargetEvent
from schemas.explain import shorten
from schemas.instants import epoch_us, record_time

_FACTS: Final = (SubmittedEvent, ProcessedEvent, ListedEvent)

TOLERANCE_MS: Final = 5 * 60 * 1000
"""How far a portal's clock may run ahead of the broker's. Exactly this much is fine."""


def admit(
    event: Event,
    key: bytes | None,
    timestamp_ms: int | None,
    agencies: Mapping[str, frozenset[str]],
) -> Rejection | None:
    """None if `event` may count, else the first reason against it.

    `key`: the record's raw key; null is a mismatch on every topic.
    `timestamp_ms`: the broker's record timestamp, in milliseconds since the epoch. It decides
    `future_time`, so a replay judges a record as it was judged first. Where there is none, or one
    that is no time (`instants.record_time`), nothing is ahead of it: a clock of this process in
    its place would judge a replay otherwise.
    `agencies`: registered agency code → the CloudEvents sources that may speak for it, an empty
    set for any. Only looked at for the three event topics.

    `due_at`, `effective_from` and the envelope's `time` may lie in the future.
    """
    expected_key = event.key
    if key != expected_key.encode():
        given = "null" if key is None else shorten(key.decode("utf-8", "backslashreplace"))
        return Rejection(
            Reason.key_mismatch,
            f"key: {given} is not {shorten(expected_key)}, as the data has it",
            None if isinstance(event, TargetEvent) else event.data.agency,
        )
    if not isinstance(event, _FACTS):
        return None
    agency = event.data.agency
    sources = agencies.get(agency)
    if sources is None:
        return Rejection(
            Reason.unknown_agency, f"data.agency: {shorten(agency)} is not registered", agency
        )
    if sources and event.source not in sources:
        allowed = ", ".join(map(shorten, sorted(sources)[:3])) + (", …" if len(sources) > 3 else "")
        return Rejection(
            Reason.source_not_allowed,
            f"source: {shorten(event.source)} may not speak for {agency}, only {allowed}",
            agency,
        )
    sent_ms = record_time(timestamp_ms)
    if isinstance(event, ListedEvent) or sent_ms is None:
        return None
    if isinstance(event, SubmittedEvent):
        field, instant = "submitted_at", event.data.submitted_at
    else:
        field, instant = "at", event.data.at
    ahead_us = epoch_us(instant) - sent_ms * 1000
    if ahead_us > TOLERANCE_MS * 1000:
        return Rejection(
            Reason.future_time,
            f"data.{field}: '{instant.isoformat()}' is {-(-ahead_us // 1_000_000)} s ahead of the "
            f"record's timestamp, at most {TOLERANCE_MS // 1000} s is allowed",
            agency,
        )
    return None
