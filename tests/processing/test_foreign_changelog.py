"""Whatever else stands in a changelog: the figures are those of the events."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from faust.types import TP

from streams.kafka.partitioner import partition_for
from tests.domain.events import listed, registered, submitted
from tests.domain.worlds import World
from tests.processing.cluster import LOGS, SETTINGS
from tests.processing.deployment import PARTITIONS, Deployment

HOME = partition_for(b"H56", SETTINGS.partitions)
DOSSIERS, SERVICES = TP(LOGS[0], HOME), TP(LOGS[1], HOME)

FOREIGN = {
    "a dossier's row of rubbish": (DOSSIERS, b"H56 D1", b"rubbish"),
    "a dossier's row of a version to come": (DOSSIERS, b"H56 D1", b"\x7f\x80"),
    "a dossier's row that is cut": (DOSSIERS, b"H56 D1", b"\x01"),
    "a row of a dossier that nobody sent": (DOSSIERS, b"H56 never", b"\x01rubbish"),
    "a key that is none of a row": (DOSSIERS, b"rubbish", b"rubbish"),
    "a key that is not UTF-8": (DOSSIERS, b"\xff \xff", b"rubbish"),
    "a checkpoint that is none": (DOSSIERS, b" submissions", b"soon"),
    "a checkpoint of a topic that is not UTF-8": (DOSSIERS, b" \xff", b"soon"),
    "a service's row of rubbish": (SERVICES, b"H56 S", b"rubbish"),
    "a listing's row of rubbish": (SERVICES, b"H56 S 2020-01-01", b"\x02rubbish"),
    "a listing on no day": (SERVICES, b"H56 S someday", b"\x02\x80"),
}


@pytest.mark.parametrize("disk", [False, True], ids=["memory", "disk"])
@pytest.mark.parametrize("what", FOREIGN)
def test_a_row_that_nobody_can_read_changes_no_figure_and_is_made_good(
    what: str, disk: bool
) -> None:
    """Also where compaction has taken away what stood there before."""

    async def run() -> None:
        events = [listed(), *(submitted(dossier=f"D{number}") for number in range(5))]
        deployment = Deployment(World([registered()], events, []), Random(1), disk=disk)
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        deployment.send(events)
        await deployment.run_until_idle()
        tp, key, value = FOREIGN[what]
        await deployment.kill(worker, stray=False)
        deployment.cluster.append(*tp, [(key, value, ())])
        deployment.cluster.compact(tp)
        if disk:
            assert deployment.disk is not None
            for journal in deployment.disk.values():
                journal.clear()
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        await deployment.run_until_idle()
        deployment.check()
        await deployment.restart_everything()
        deployment.check()
        (worker,) = deployment.workers
        assert worker.intake.processed == 0, "what is made good is not read again"
        await worker.kill()

    asyncio.run(run())
