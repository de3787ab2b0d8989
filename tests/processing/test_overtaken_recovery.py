"""A recovery that does not notice its cancellation must not have the last word.

aiokafka's consumer swallows a cancellation that comes while it stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from streams.kafka.batch_writer import BatchWriter
from streams.processing.tasks import Tables
from tests.processing.simulation import SETTINGS


class Deaf(Tables):
    """Reads when it is let, and does not hear that it is cancelled."""

    def __init__(self, directory: Path) -> None:
        settings = SETTINGS.model_copy(update={"store": "rocksdb", "data_dir": directory})
        self.fatal: list[str] = []
        self.reads: list[asyncio.Event] = []
        # Nothing is written here, so the writer needs no producer.
        super().__init__(settings, lambda: BatchWriter(None), self.fatal.append)  # type: ignore[arg-type]

    async def _read_to_end(
        self,
        number: int,
        positions: Mapping[str, int],
        take: Callable[[str, list[tuple[bytes, bytes]]], None],
    ) -> dict[str, int]:
        let = asyncio.Event()
        self.reads.append(let)
        while not let.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let.wait()
        return dict.fromkeys(positions, 0)


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def tables(tmp_path: Path) -> Deaf:
    return Deaf(tmp_path)


async def test_a_partition_is_ready_only_after_its_newest_recovery(tables: Deaf) -> None:
    tables.assign({0})
    await _turns()
    tables.suspend()
    tables.assign({0})
    await _turns()
    first, second = tables.reads
    first.set()
    await _turns()
    assert not tables.owned[0].ready
    second.set()
    await _turns()
    assert tables.owned[0].ready
    tables.close()


async def test_a_recovery_of_a_lost_partition_ends_quietly(tables: Deaf) -> None:
    tables.assign({0})
    await _turns()
    lost = tables.owned[0]
    tables.assign(set())
    tables.reads[0].set()
    await _turns()
    assert not lost.ready
    assert tables.fatal == []
