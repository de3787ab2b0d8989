"""Nothing is read, counted or shown before every topic is there as it must be.

A worker comes up whatever the topics are: while one is missing or has another number of partitions
it answers health and readiness with the reason, and nothing else, and waits for a person. When a
topic changes under a running worker, its clients hold on to what the topic was. So the process
starts itself anew, under the same process id, which brings it back here: one way in, whether the
topics were wrong at the start or became so. It goes on by itself once they are right.

How many partitions a topic has, and which topic it is, is looked at once by every client there is:
consumers are assigned what was there, producers choose among it, views read it. So a change would
leave part of it read by nobody, and show nowhere; here the topics are looked at all the time.

Nothing is kept but the reasons, which the process hands to itself in its environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import orjson
from aiohttp import web
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry, exposition

from streams.api.pages.routes import serve_starting, serve_static
from streams.kafka.topic_metadata import TopicState
from streams.metrics.catalogue import Instruments
from streams.runtime.deadline import STOP_SECONDS, end_within
from streams.settings import Settings

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often to look. The contract (section 1) gives 30 s until a worker says so."""
_ANSWER_SECONDS = 15.0

HOLD_SECONDS = 30.0
"""A topic that was exchanged under a running worker keeps it from being ready for so long at least,
though all may look well again: long enough for a scrape and for a person to see it."""

_HANDED_OVER = "_HOSO_TOPICS_CHANGED"  # no setting, so not HOSO_*

Ask = Callable[[Iterable[str]], Awaitable[Mapping[str, TopicState]]]
"""Gives those of the named topics that exist; see ``TopicQuestion``."""
Create = Callable[[], Awaitable[None]]


def wrong_topics(
    now: Mapping[str, TopicState],
    names: Iterable[str],
    partitions: int,
    begun_with: Mapping[str, TopicState] | None = None,
) -> list[str]:
    """What is wrong with the topics, a line for each; nothing if all are as they must be.

    ``begun_with``: as they were when the figures began to be counted from them.
    """
    problems = []
    for name in names:
        state, before = now.get(name), (begun_with or {}).get(name)
        if state is None:
            problems.append(f"{name}: missing")
        elif state.partitions != partitions:
            noun = "partition" if state.partitions == 1 else "partitions"
            problems.append(f"{name}: {state.partitions} {noun}, expected {partitions}")
        elif before is not None and before.identity != state.identity:
            problems.append(f"{name}: deleted and created anew")
    return problems


async def watch_topics(
    ask: Ask,
    partitions: int,
    begun_with: Mapping[str, TopicState],
    changed: Callable[[list[str]], None],
) -> None:
    """Look at the topics of a running worker until cancelled.

    ``changed`` is called with what is wrong, by each look that finds something. Without a broker
    that answers nothing is known to be wrong.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                now = await ask(begun_with)
        except (KafkaError, TimeoutError, OSError) as error:
            logger.debug("the topics cannot be looked at: %r", error)
            continue
        if problems := wrong_topics(now, begun_with, partitions, begun_with):
            changed(problems)


def start_again(problems: Sequence[str]) -> None:
    """Start this process anew, at once and in place: what was in flight is replayed.

    Where a process cannot take its own place (Windows), it ends with exit code 2.
    """
    logger.error("not ready, the topics have changed: %s", "; ".join(problems))
    logging.shutdown()
    if sys.platform == "win32":
        os._exit(2)
    os.environ[_HANDED_OVER] = "\n".join(problems)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def started_again() -> bool:
    """Whether this process was started by :func:`start_again`, and has not been told why yet."""
    return _HANDED_OVER in os.environ


def handed_over() -> list[str]:
    """What :func:`start_again` was called with before this process was started anew, once."""
    return os.environ.pop(_HANDED_OVER, "").splitlines()


class TopicGate:
    """Waits for the topics to be right, and serves the reason meanwhile."""

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        ask: Ask,
        create: Create | None = None,
        changed: Sequence[str] = (),
    ) -> None:
        """``create`` makes what is missing, if that is wanted.

        ``changed``: what a running worker found. Then nothing is created: a topic that was deleted
        took its records with it, and a person has to know before it is there again, empty.
        """
        self._settings = settings
        self._names = list(names)
        self._ask = ask
        self._create = None if changed else create
        self._changed = list(changed)
        self._began = time.monotonic()
        self._told: list[str] = list(changed)
        self.problems: list[str] = list(changed)

    async def passed(self) -> Mapping[str, TopicState] | None:
        """The topics, once they are right; None if the process was told to end before.

        Raises ``KafkaError`` that trying again cannot settle (authorisation), and what ``create``
        raises.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def told() -> None:
            stop.set()  # but a broker that is asked may not answer for long
            end_within(STOP_SECONDS, 0, "nothing was begun yet")

        for number in (signal.SIGTERM, signal.SIGINT):
            # Windows has no handlers on the loop (NotImplementedError), and only the main thread
            # may set any (RuntimeError).
            with contextlib.suppress(NotImplementedError, RuntimeError):
                loop.add_signal_handler(number, told)
        runner: web.AppRunner | None = None
        try:
            while not stop.is_set():
                now = await self._look()
                if now is not None:
                    return now
                if runner is None:
                    runner = await self._serve()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
            return None
        finally:
            if runner is not None:
                await runner.cleanup()
            for number in (signal.SIGTERM, signal.SIGINT):
                with contextlib.suppress(NotImplementedError, RuntimeError):
                    loop.remove_signal_handler(number)

    async def _look(self) -> Mapping[str, TopicState] | None:
        try:
            if self._create is not None:
                await self._create()
            now = await self._ask(self._names)
        except (KafkaError, TimeoutError, OSError) as error:
            if isinstance(error, KafkaError) and not error.retriable:
                raise
            self._tell([f"the topics cannot be looked at: {error!r}"])
            return None
        problems = wrong_topics(now, self._names, self._settings.partitions)
        if not problems and self._changed and time.monotonic() - self._began < HOLD_SECONDS:
            problems = self._changed
        if problems:
            self._tell(problems)
            return None
        if self._told:
            logger.warning("the topics are right again, starting")
        return now

    def _tell(self, problems: list[str]) -> None:
        self.problems = problems
        if problems != self._told:
            logger.error("not ready, waiting for the topics: %s", "; ".join(problems))
            self._told = problems

    async def _serve(self) -> web.AppRunner:
        application = web.Application()
        application.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/static/{name}", serve_static),
                web.route("*", "/{path:.*}", self._nothing_else),
            ]
        )
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        settings = self._settings
        await web.TCPSite(runner, settings.web_host, settings.web_port).start()
        return runner

    async def _healthz(self, _: web.Request) -> web.Response:
        return _json({"healthy": True, "failed": [], "problems": self.problems}, 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        body = {"ready": False, "problems": self.problems, "partitions": [], "recovering": []}
        return _json(body, 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        """The counters of a process that has counted nothing, and that it is not ready."""
        registry = CollectorRegistry()
        Instruments(registry, self._settings)
        encode, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    async def _nothing_else(self, request: web.Request) -> web.Response:
        if "text/html" in request.headers.get("Accept", "") and self._settings.web_pages:
            return await serve_starting(request)
        return _json({"error": f"not ready: {'; '.join(self.problems)}"}, 503)


def _json(body: object, status: int) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", charset="utf-8"
    )
