"""What a consumer hands over goes on where the state ends, or is not processed."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from faust.types import TP

from streams.kafka.partitioner import partition_for
from streams.processing.source_cursor import Fetched, SourceCursor
from streams.state.codecs import Checkpoint, LastRecord, decode_checkpoint, encode_checkpoint
from tests.domain.events import registered, submitted
from tests.domain.worlds import World
from tests.processing.cluster import SETTINGS, Record
from tests.processing.deployment import PARTITIONS, Deployment
from tests.processing.simulation import Worker

SUBMISSIONS = TP("submissions", partition_for(b"H56", SETTINGS.partitions))


def records(*offsets: int) -> list[Record]:
    return [Record("t", 0, n, n, 1, b"k", b"v%d" % n, (), 0) for n in offsets]


def test_offsets_that_no_record_has_are_counted_before_between_and_after() -> None:
    cursor = SourceCursor(processed=Checkpoint(3))
    assert cursor.absent(Fetched(3, 6, records(3, 4, 5))) == 0
    assert cursor.absent(Fetched(3, 9, records(5, 6))) == 2 + 2
    assert cursor.absent(Fetched(3, 7, records(3, 6))) == 2
    assert cursor.absent(Fetched(3, 4, [])) == 1


def test_a_checkpoint_knows_the_last_record_again_and_not_another_at_its_offset() -> None:
    cursor = SourceCursor()
    cursor.processed = cursor.after(Fetched(0, 3, records(0, 1), 7))
    assert (cursor.position, cursor.processed.epoch) == (3, 7)
    assert cursor.after(Fetched(3, 5, [])) == cursor.processed._replace(next=5)
    (other,) = records(1)
    changed = other._replace(value=b"other")
    assert cursor.processed.last == cursor.after(Fetched(1, 3, [other], 7)).last
    assert cursor.processed.last != cursor.after(Fetched(1, 3, [changed], 7)).last


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint(0),
        Checkpoint(9, identity="kW5"),
        Checkpoint(9, LastRecord(7, 0xABC), 3, "kW5"),
        Checkpoint(9, LastRecord(7, 0xABC)),
    ],
)
def test_a_checkpoint_is_read_back_as_it_was(checkpoint: Checkpoint) -> None:
    assert decode_checkpoint(encode_checkpoint(checkpoint)) == checkpoint


def test_a_checkpoint_of_a_version_that_did_not_know_the_last_record_is_read() -> None:
    assert decode_checkpoint(b"106") == Checkpoint(106)


async def _running(events: int) -> tuple[Deployment, Worker]:
    """A worker that has processed and committed so many submissions."""
    sent = [submitted(dossier=f"D{number}") for number in range(events)]
    deployment = Deployment(World([registered()], sent, []), Random(1))
    worker = deployment.start()
    await deployment.give(dict.fromkeys(PARTITIONS, worker))
    deployment.send(sent)
    await deployment.run_until_idle()
    return deployment, worker


def _outcomes(worker: Worker) -> int:
    return worker.intake.processed


def test_records_that_were_processed_and_are_handed_over_again_are_left_out() -> None:
    async def run() -> None:
        deployment, worker = await _running(10)
        before = _outcomes(worker)
        await worker._seek(SUBMISSIONS, 4)
        await deployment.run_until_idle()
        assert _outcomes(worker) == before
        deployment.check()
        await worker.kill()

    asyncio.run(run())


@pytest.mark.parametrize("lost", [1, 4])
def test_records_that_were_lost_on_their_way_are_read_again(lost: int) -> None:
    async def run() -> None:
        deployment, worker = await _running(10)
        more = [submitted(dossier=f"M{number}") for number in range(lost + 1)]
        deployment.world.facts.extend(more)
        deployment.send(more)
        worker.skip(SUBMISSIONS, lost)
        await deployment.run_until_idle()
        deployment.check()
        await worker.kill()

    asyncio.run(run())


@pytest.mark.parametrize("grown", ["past the position", "short of it"])
@pytest.mark.parametrize("worker_was", ["up", "down"])
def test_records_at_offsets_that_had_others_are_read(grown: str, worker_was: str) -> None:
    """An unclean leader election drops six records that were read; others come in their place."""

    async def run() -> None:
        deployment, worker = await _running(20)
        assert deployment.cluster.committed[SUBMISSIONS] == 20
        if worker_was == "down":
            await deployment.kill(worker, stray=False)
        deployment.cluster.truncate(SUBMISSIONS, 14)
        new = [submitted(dossier=f"N{number}") for number in range(4)]
        deployment.world.facts.extend(new)
        deployment.send(new)
        # Their portals send those that were lost again.
        deployment.send(deployment.world.facts[14 : 20 if grown == "past the position" else 15])
        if grown == "short of it":
            del deployment.world.facts[15:20]
        if worker_was == "down":
            await deployment.give(dict.fromkeys(PARTITIONS, deployment.start()))
        await deployment.run_until_idle()
        await deployment.poll()
        (worker,) = deployment.workers
        worker.commit()
        assert deployment.cluster.committed[SUBMISSIONS] == deployment.cluster.ends[SUBMISSIONS]
        state = worker.tasks.tasks[SUBMISSIONS.partition].partition
        known = {key for key, _ in state.dossiers.items()}
        assert {f"H56 N{number}".encode() for number in range(4)} <= known
        if grown == "past the position":
            deployment.check()
        await worker.kill()

    asyncio.run(run())


def test_a_topic_that_was_made_anew_while_no_worker_ran_is_read_from_its_beginning() -> None:
    async def run() -> None:
        sent = [submitted(dossier=f"D{number}") for number in range(10)]
        deployment = Deployment(World([registered()], sent, []), Random(1))
        deployment.cluster.identities["submissions"] = "first"
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        deployment.send(sent)
        await deployment.run_until_idle()
        await deployment.kill(worker, stray=False)
        deployment.cluster.logs[SUBMISSIONS].clear()
        deployment.cluster.ends[SUBMISSIONS] = 0
        deployment.cluster.identities["submissions"] = "second"
        again = [submitted(dossier=f"N{number}") for number in range(12)]
        deployment.world.facts.extend(again)
        deployment.send([*again, *sent])
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        await deployment.run_until_idle()
        deployment.check()
        await worker.kill()

    asyncio.run(run())


def test_records_that_were_deleted_unread_are_counted_as_lost() -> None:
    async def run() -> None:
        deployment, worker = await _running(5)
        deployment.send([submitted(dossier=f"X{number}") for number in range(5)])
        deployment.cluster.expire(SUBMISSIONS, 8)
        worker.fetched[SUBMISSIONS] = 8  # aiokafka's reset to the earliest
        await deployment.run_until_idle()
        cursor = worker.tasks.tasks[SUBMISSIONS.partition].cursors["submissions"]
        assert (cursor.position, cursor.unaccounted) == (10, 0)
        assert worker.lost == {SUBMISSIONS: 3}
        await worker.kill()

    asyncio.run(run())


def test_offsets_of_transaction_markers_are_passed_and_committed() -> None:
    async def run() -> None:
        deployment, worker = await _running(5)
        deployment.cluster.ends[SUBMISSIONS] += 2
        await deployment.run_until_idle()
        cursor = worker.tasks.tasks[SUBMISSIONS.partition].cursors["submissions"]
        assert (cursor.position, cursor.unaccounted, worker.lost) == (7, 0, {})
        assert deployment.cluster.committed[SUBMISSIONS] == 7
        deployment.check()
        await worker.kill()

    asyncio.run(run())


def test_everything_processed_is_committed_however_small_the_chunks() -> None:
    """Single records, whose offsets stand alone in any list of what is done."""

    async def run() -> None:
        sent = [submitted(dossier=f"D{number}") for number in range(30)]
        deployment = Deployment(World([registered()], sent, []), Random(1))
        worker = deployment.start()
        await deployment.give(dict.fromkeys(PARTITIONS, worker))
        for number, event in enumerate(sent, start=1):
            deployment.send([event])
            await deployment.run_until_idle()
            assert deployment.cluster.committed[SUBMISSIONS] == number
        await worker.kill()

    asyncio.run(run())
