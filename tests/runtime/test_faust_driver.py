"""What the group is told, whatever Faust's own books say; and who touches aiokafka's consumer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.processing.source_cursor import Fetched
from streams.runtime import faust_driver
from streams.runtime.app import Worker
from streams.settings import load

PROCESSED = TP("hoso.submissions", 3)


class Told:
    """The consumer of a worker that is not started, and what it would tell the group."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        worker = Worker(load(), CollectorRegistry())
        self.consumer: Any = worker.faust.consumer
        self.offsets: dict[TP, int] = {}
        self.commits = 0
        self.checkpoints: dict[tuple[str, int], int] = {}
        monkeypatch.setattr(worker, "checkpoints", lambda: self.checkpoints)
        monkeypatch.setattr(self.consumer, "_commit", self._commit)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        self.offsets |= offsets
        self.commits += 1
        return True


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


async def test_the_group_is_told_the_checkpoints_though_faust_knows_of_nothing_acknowledged(
    told: Told,
) -> None:
    told.checkpoints = {PROCESSED: 1, ("hoso.catalogue", 0): 0}
    await told.consumer.force_commit()
    assert told.offsets == {PROCESSED: 1}
    told.checkpoints[PROCESSED] = 41
    await told.consumer.force_commit()
    assert told.offsets == {PROCESSED: 41}


async def test_the_group_is_told_once_and_told_again_when_a_checkpoint_goes_back(
    told: Told,
) -> None:
    told.checkpoints = {PROCESSED: 20}
    await told.consumer.force_commit()
    await told.consumer.force_commit()
    assert told.commits == 1
    told.checkpoints = {PROCESSED: 14}  # a log that was cut is read again
    await told.consumer.force_commit()
    assert told.offsets == {PROCESSED: 14}


async def test_a_seek_is_made_in_the_thread_that_fetches(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another one it could take away what a fetch was handing over: KeyError, exit 1."""
    sought: list[tuple[TP, int, int]] = []

    class Fetching:
        def assignment(self) -> set[TP]:
            return {PROCESSED}

        def seek(self, tp: TP, offset: int) -> None:
            sought.append((tp, offset, threading.get_ident()))

    async def call_thread(call: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        async def called() -> None:
            await call(*arguments)

        await asyncio.to_thread(asyncio.run, called())

    thread = told.consumer._thread
    monkeypatch.setattr(thread, "_ensure_consumer", Fetching)
    monkeypatch.setattr(thread, "call_thread", call_thread)
    await told.consumer.seek(TP("hoso.submissions", 4), 7)  # lost on the way: nothing happens
    await told.consumer.seek(PROCESSED, 7)
    ((tp, offset, ident),) = sought
    assert (tp, offset) == (PROCESSED, 7)
    assert ident != threading.get_ident()


@pytest.mark.parametrize("at_the_start", [{}, {PROCESSED: 8}], ids=["under way", "done"])
async def test_records_that_a_reset_between_two_fetches_passed_over_are_told(
    at_the_start: dict[TP, int], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a backlog was removed: nothing is left to fetch that would show where it began."""

    class Consumer:
        def assignment(self) -> set[TP]:
            return {PROCESSED}

        def seek(self, tp: TP, offset: int) -> None:
            assert (tp, offset) == (PROCESSED, 1)

    places = iter([at_the_start, {PROCESSED: 8}, {PROCESSED: 8}, {PROCESSED: 8}])
    consumer, thread = Consumer(), told.consumer._thread

    async def nothing(*_: Any, **__: Any) -> dict[TP, list[Any]]:
        return {}

    monkeypatch.setattr(thread, "_ensure_consumer", lambda: consumer)
    monkeypatch.setattr(thread, "_epochs", {}, raising=False)
    monkeypatch.setattr(faust_driver, "leave_as_unpacked", lambda _: None)
    monkeypatch.setattr(faust_driver, "positions", lambda _: next(places))
    monkeypatch.setattr(faust_driver.driver.AIOKafkaConsumerThread, "_fetch_records", nothing)
    await thread.seek_here(PROCESSED, 1)
    fetched = await thread._fetch_records(consumer, {PROCESSED})
    assert fetched == {PROCESSED: Fetched(1, 8, ())}
    assert await thread._fetch_records(consumer, {PROCESSED}) == {}  # and once only
