"""A restore that does not notice its cancellation must not have the last word.

aiokafka's consumer swallows a cancellation that comes while it stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.batch_writer import BatchWriter
from streams.processing.task import Phase
from streams.processing.tasks import Tasks
from streams.state.codecs import Checkpoint
from streams.views.published_months import PublishedMonths
from tests.processing.cluster import SETTINGS


class DeafLog:
    """Answers when it is let, and does not hear that it is cancelled."""

    def __init__(self) -> None:
        self.reads: list[asyncio.Event] = []

    async def read(self, positions: Mapping[Any, int], take: Any, damaged: Any) -> dict[Any, int]:
        let = asyncio.Event()
        self.reads.append(let)
        while not let.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let.wait()
        return dict.fromkeys(positions, 0)

    def close(self) -> None:
        pass


class Nothing(PublishedMonths):
    """No public rows."""

    async def refresh(self) -> None:
        pass


async def _nowhere(*_: Any) -> None:
    pass


class Deaf(Tasks):
    def __init__(self, directory: Path) -> None:
        settings = SETTINGS.model_copy(update={"store": "rocksdb", "data_dir": directory})
        self.fatal: list[str] = []
        self.log: Any = DeafLog()
        # Nothing is written here, so the writer needs no producer.
        writer = BatchWriter(None)  # type: ignore[arg-type]
        rows = Nothing(settings)
        super().__init__(settings, lambda: writer, self.log, rows, _nowhere, self.fatal.append)


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def tasks(tmp_path: Path) -> Deaf:
    return Deaf(tmp_path)


async def test_a_task_runs_only_after_its_newest_restore(tasks: Deaf) -> None:
    tasks.assign({0})
    await _turns()
    tasks.suspend()
    tasks.assign({0})
    await _turns()
    first, second = tasks.log.reads
    first.set()
    await _turns()
    assert tasks.tasks[0].phase is Phase.RESTORING
    second.set()
    await _turns()
    assert tasks.tasks[0].phase is Phase.RUNNING
    tasks.close()


async def test_a_restore_of_a_lost_task_ends_quietly(tasks: Deaf) -> None:
    tasks.assign({0})
    await _turns()
    lost = tasks.tasks[0]
    tasks.assign(set())
    tasks.log.reads[0].set()
    await _turns()
    assert lost.phase is Phase.CLOSED
    assert tasks.fatal == []


async def test_a_chunk_that_ends_after_its_task_was_lost_moves_no_checkpoint(tasks: Deaf) -> None:
    tasks.assign({0})
    await _turns()
    lost = tasks.tasks[0]
    tasks.assign(set())
    tasks.advance(lost, "hoso.submissions", Checkpoint(7))  # its store is closed
    assert lost.partition.checkpoints == {}
    assert tasks.fatal == []
    tasks.log.reads[0].set()
    await _turns()
