"""What was removed from a log before it was read is counted, once; other holes are not."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition

from streams.kafka import unpacking
from streams.kafka.unpacking import Unreadable
from streams.processing.lost_records import LostRecords, removed

AT = "hoso.submissions", 3


@pytest.mark.parametrize(
    ("start", "end", "log_start", "lost"),
    [
        (10, 15, 15, 5),  # the log begins where it goes on
        (10, 15, 20, 5),  # more of it has gone since
        (10, 15, 12, 2),  # and behind those a marker, or an aborted transaction
        (10, 15, 10, 0),  # only markers
        (10, 15, 3, 0),  # what was removed had been read
        (0, 0, 0, 0),
    ],
)
def test_what_lies_before_the_log_begins_was_removed(
    start: int, end: int, log_start: int, lost: int
) -> None:
    assert removed(start, end, log_start) == lost


async def test_an_offset_is_counted_once_however_often_it_is_met() -> None:
    counted: list[int] = []
    asked = 0

    async def begins(at: tuple[str, int]) -> int:
        nonlocal asked
        assert at == AT
        asked += 1
        return 17

    lost = LostRecords(begins, lambda _, records: counted.append(records))
    await lost.note(AT, 10, 15)
    await lost.note(AT, 10, 15)  # after a rebalance
    await lost.note(AT, 10, 17)
    await lost.note(AT, 18, 19)  # a marker
    assert (counted, asked) == ([5, 2], 3)


async def test_offsets_that_cannot_be_read_are_lost_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {12: Unreadable(12, 15, "its checksum is wrong"), 13: Unreadable(13, 16, "as before")}
    monkeypatch.setitem(unpacking.unreadable, TopicPartition(*AT), found)
    counted: list[int] = []

    async def begins(_: tuple[str, int]) -> int:
        return 11

    lost = LostRecords(begins, lambda _, records: counted.append(records))
    await lost.note(AT, 10, 14)
    await lost.note(AT, 10, 20)
    assert counted == [2, 1, 2]
