"""One Faust worker, started with our own logging."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import sys
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry

from streams.kafka.permissions import Needs, Right
from streams.kafka.topic_metadata import TopicQuestion, TopicState
from streams.kafka.topics import DEAD_LETTERS, SHORT_NAMES, catalogue, create_missing
from streams.runtime.app import Worker, exit_process
from streams.runtime.broker_watch import BrokerWatch
from streams.runtime.faust_driver import FaustProcess
from streams.runtime.topic_gate import TopicGate, handed_over, start_again
from streams.settings import Settings
from streams.state.stores import StoreInUseError

logger = logging.getLogger(__name__)


CHANGELOGS = ("dossiers", "services")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""glibc's names for them (malloc.h)."""
_BIG_BYTES = 262_144


def tune_interpreter() -> None:
    """Let the interpreter suit a process with millions of long-lived, acyclic rows.

    The cyclic collector would walk all of them again and again (a third of the time, measured by
    ``bench``); what is here at the start stays, and young objects are collected in big steps.

    Fetched records and batches are large and short-lived: they go to memory of their own that is
    given back, and not into a heap that rows then keep from shrinking (a fifth of the resident
    bytes of a dossier, ``bench.memory``).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)
            mallopt(_M_MMAP_THRESHOLD, _BIG_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _BIG_BYTES)


@contextlib.contextmanager
def hold_data(settings: Settings) -> Iterator[None]:
    """Hold ``HOSO_DATA_DIR`` for this process alone, where rows are kept on disk.

    Two workers would otherwise meet there only when a partition moves, in the middle of the work.
    Raises ``StoreInUseError`` if another worker holds it. The hold ends with the process.
    """
    if settings.store == "memory" or sys.platform == "win32":  # there RocksDB's own lock must do
        yield
        return
    import fcntl

    directory = settings.data_dir / settings.app_id
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "worker.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreInUseError(
                f"{directory} is in use: give each worker its own HOSO_DATA_DIR"
            ) from error
        yield


def worker_needs(settings: Settings) -> Needs:
    """What a worker does with each topic; it also joins the group ``HOSO_APP_ID``.

    It reads what it processes, writes misrouted records on to the right partition, and keeps its
    rows in the changelogs and in the public output topic.
    """
    both = (Right.READ, Right.WRITE)
    needs = dict.fromkeys(map(settings.topic, SHORT_NAMES), both)
    needs |= dict.fromkeys(map(settings.changelog, CHANGELOGS), both)
    return {**needs, settings.topic(DEAD_LETTERS): (Right.WRITE,)}


async def _topics(settings: Settings) -> Mapping[str, TopicState] | None:
    """Every topic of ours, once all are as they must be; None if told to end before that."""
    changelogs = [settings.changelog(table) for table in CHANGELOGS]
    specs = catalogue(settings.topic_prefix, settings.partitions, settings.replication, changelogs)
    said: set[str] = set()

    async def create() -> None:
        report = await create_missing(settings.client_options(), specs)
        for topic in report.created:
            logger.info("created topic %s", topic)
        for difference in map(str, report.differences):
            if difference not in said:
                logger.warning("%s", difference)
                said.add(difference)

    ask = TopicQuestion(settings.client_options())
    try:
        return await TopicGate(
            settings,
            [spec.name for spec in specs],
            ask,
            create if settings.create_topics else None,
            handed_over(),
        ).passed()
    finally:
        await ask.close()


def run(settings: Settings) -> None:
    """Wait until every topic is right, creating what is missing unless told not to; then work
    until SIGTERM or SIGINT."""
    topics = asyncio.run(_topics(settings))
    if topics is None:
        return
    worker = Worker(
        settings,
        CollectorRegistry(),
        begun_with=topics,
        changed=start_again,
        watch=BrokerWatch(settings, worker_needs(settings), settings.app_id, exit_process).run,
    )
    process = FaustProcess(worker.faust)
    tune_interpreter()
    process.execute_from_commandline()
