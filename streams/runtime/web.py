"""``hoso web``: the API and the pages alone, for the public; any number of such processes.

Figures come from ``agency-months`` and the reference topics, read without a group; what only the
owner of an agency knows is asked of that worker. Writes nothing, and nothing is kept over a
restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Mapping
from datetime import datetime
from typing import NoReturn

from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, Topic
from streams.api.server import WebServer
from streams.api.worker_view import NotReadyError, Progress, Readiness
from streams.domain.calendar import ZONE
from streams.domain.ledger import AgencyLedger
from streams.kafka.permissions import Needs, Right
from streams.kafka.reconnect import start_when_reachable
from streams.kafka.topic_metadata import TopicQuestion, TopicState
from streams.runtime.app import exit_process
from streams.runtime.broker_watch import BrokerWatch
from streams.runtime.deadline import STOP_SECONDS, end_within
from streams.runtime.owners import Owners
from streams.runtime.process import tune_interpreter
from streams.runtime.topic_gate import TopicGate, handed_over, start_again, watch_topics
from streams.settings import Settings
from streams.views.published_months import PublishedMonths
from streams.views.reference_data import ReferenceData

logger = logging.getLogger(__name__)


def web_needs(settings: Settings) -> Needs:
    """What is done with each topic: of events only where they end is asked."""
    read = {Topic.agency_months, *REFERENCE_TOPICS}
    return {
        **{settings.topic(topic): (Right.READ,) for topic in sorted(read)},
        **{settings.topic(topic): (Right.DESCRIBE,) for topic in sorted(EVENT_TOPICS)},
    }


class Reader:
    """A process that owns no partition, as its API sees it (``streams.api.worker_view``)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.reference = ReferenceData(settings)
        self.register = PublishedMonths(settings)
        self.owners = Owners(self.register.served_at)

    async def start(self) -> None:
        """Return when everything published so far has been read."""
        await start_when_reachable(self.reference.start)
        await start_when_reachable(self.register.start)

    async def stop(self) -> None:
        await self.register.stop()
        await self.reference.stop()

    def as_of(self) -> int:
        return self.register.as_of(self.settings.as_of, datetime.now(ZONE).toordinal())

    def lag(self) -> Mapping[tuple[str, int], int]:
        return {}

    def progress(self) -> Progress:
        return Progress(0, time.monotonic())

    def readiness(self) -> Readiness:
        """Served from the moment that everything has been read."""
        return Readiness(True, [], [], [], {}, {})

    def ledger(self, agency: str) -> AgencyLedger | None:
        return None

    def rejected(self, agency: str) -> NoReturn:
        raise NotReadyError(f"this process does not own agency {agency!r}")

    def owner_url(self, partition: int) -> str | None:
        return self.owners.url(partition)


def run(settings: Settings) -> None:
    """Wait until every topic is right; then serve until SIGTERM or SIGINT."""
    topics = asyncio.run(_topics(settings))
    if topics is not None:
        asyncio.run(_serve(settings, topics))


async def _topics(settings: Settings) -> Mapping[str, TopicState] | None:
    ask = TopicQuestion(settings.client_options())
    try:
        return await TopicGate(
            settings, list(web_needs(settings)), ask, changed=handed_over()
        ).passed()
    finally:
        await ask.close()


async def _serve(settings: Settings, topics: Mapping[str, TopicState]) -> None:
    reader, stop = Reader(settings), asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        end_within(STOP_SECONDS, 0, "nothing is written here")
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        # Windows has no handlers on the loop (NotImplementedError), and only the main thread may
        # set any (RuntimeError).
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, told)
    question = TopicQuestion(settings.client_options())
    server = WebServer(reader)
    beside = [
        asyncio.create_task(each)
        for each in (
            watch_topics(question, settings.partitions, topics, start_again),
            BrokerWatch(settings, web_needs(settings), None, exit_process).run(),
            _read_then_serve(reader, server),
            stop.wait(),
        )
    ]
    try:
        done, _ = await asyncio.wait(beside, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # none ends by itself, but the one that was told to
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await server.stop()
        await reader.stop()
        await question.close()


async def _read_then_serve(reader: Reader, server: WebServer) -> None:
    await reader.start()
    tune_interpreter()
    await server.start()
    await reader.owners.run()
