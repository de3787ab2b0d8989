"""What the group is told, whatever Faust's own books say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

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
