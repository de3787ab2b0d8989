"""How many records the figures lack: counted against marks, and never by an old answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from streams.settings import load
from streams.state.codecs import taken_in_key
from streams.views.behind import Behind, Ends
from streams.views.published_months import PublishedMonths, Reached

ROW = b"H56/2022-01"
TOPIC, OTHER = "hoso.submissions", "hoso.processing"


def _register(
    *rows: tuple[int, bytes, bytes | None], live: Reached | None = None
) -> PublishedMonths:
    register = PublishedMonths(load({}), live_reached=lambda: live or {})
    _write(register, *rows)
    return register


def _write(register: PublishedMonths, *rows: tuple[int, bytes, bytes | None]) -> None:
    register.view._apply(
        [SimpleNamespace(partition=number, key=key, value=value) for number, key, value in rows]  # type: ignore[misc]
    )


def _mark(number: int, offset: int, topic: str = TOPIC) -> tuple[int, bytes, bytes]:
    return number, taken_in_key(topic), b"%d" % offset


def _ends(*ends: int, topic: str = TOPIC) -> dict[TopicPartition, int]:
    return {TopicPartition(topic, number): end for number, end in enumerate(ends)}


def test_what_lies_behind_the_marks_is_lacking_of_the_whole_country() -> None:
    register = _register(_mark(0, 7), _mark(1, 3), _mark(2, 5))
    assert register.lacking(_ends(7, 10, 6)) == 8
    assert register.lacking(_ends(7, 3, 5)) == 0
    _write(register, _mark(1, 10))
    assert register.lacking(_ends(7, 10, 6)) == 1


def test_the_newest_mark_of_a_partition_counts_also_when_it_goes_back() -> None:
    register = _register(_mark(0, 7), _mark(0, 4))
    assert register.lacking(_ends(7)) == 3


def test_what_this_process_knows_of_its_own_partitions_goes_before_the_marks() -> None:
    register = _register(_mark(0, 7), _mark(1, 3), live={(TOPIC, 0): 9})
    assert register.lacking(_ends(9, 3)) == 0


def test_where_nothing_was_ever_written_everything_is_lacking() -> None:
    assert _register().lacking(_ends(4, 0)) == 4


def test_a_topic_of_which_nothing_was_read_yet_has_no_mark_and_is_lacking() -> None:
    register = _register((0, ROW, b"{}"), _mark(0, 7))
    assert register.lacking(_ends(7) | _ends(2, topic=OTHER)) == 2


def test_rows_without_any_mark_do_not_say_how_far_they_go() -> None:
    """Those of a version before there were marks."""
    register = _register((0, ROW, b"{}"))
    assert register.lacking(_ends(4)) is None
    assert register.lacking(_ends(0)) == 0
    _write(register, (0, ROW, None))
    assert register.lacking(_ends(4)) == 4


@pytest.mark.parametrize("value", [b"", b"x", b"-1", None])
def test_a_mark_that_says_nothing_is_none(value: bytes | None) -> None:
    register = _register((0, ROW, b"{}"), _mark(0, 7), (0, taken_in_key(TOPIC), value))
    assert register.lacking(_ends(9)) is None


def test_it_cannot_be_told_while_the_topic_is_read_all_over_again() -> None:
    register = _register(_mark(0, 7))
    register.view._reload = True
    assert register.lacking(_ends(9)) is None


@dataclass
class Broker:
    """Answers when it is told to, with how often it was asked."""

    asked: int = 0

    def __post_init__(self) -> None:
        self.answers = asyncio.Semaphore(0)
        self.busy = asyncio.Event()

    async def ask(self) -> Ends:
        self.asked += 1
        mine = self.asked
        self.busy.set()
        await self.answers.acquire()
        return _ends(mine)


async def test_who_asks_while_the_broker_is_being_asked_gets_a_newer_answer() -> None:
    """An answer to an older question may lack what the newer one's asker has just sent."""
    broker = Broker()
    behind = Behind(broker.ask)
    first = asyncio.create_task(behind.ends())
    await broker.busy.wait()
    later = [asyncio.create_task(behind.ends()) for _ in range(5)]
    broker.answers.release()
    assert await first == _ends(1)
    broker.answers.release()
    assert await asyncio.gather(*later) == [_ends(2)] * 5
    assert broker.asked == 2
    await behind.stop()


@pytest.mark.parametrize("error", [KafkaConnectionError(), OSError(), TimeoutError()])
async def test_a_failed_answer_is_none_and_the_next_who_ask_do_not_wait(error: Exception) -> None:
    asked = 0

    async def ask() -> Ends:
        nonlocal asked
        asked += 1
        raise error

    behind = Behind(ask)
    assert await behind.ends() is None
    assert await behind.ends() is None
    assert asked == 1
    assert _register().lacking(None) is None
    await behind.stop()
