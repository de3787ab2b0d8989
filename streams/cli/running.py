"""What the commands that talk to a broker share: settings, an event loop that ends in order, and
a broker that answers before anything else is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from streams import settings as settings_
from streams.cli import logs
from streams.cli.errors import Failure, StoppedError
from streams.cli.terminal import say
from streams.settings import Settings

T = TypeVar("T")

ANSWER_SECONDS = 5.0
"""How long a broker may take to answer at all."""


def load_settings(**overrides: Any) -> Settings:
    """The settings, with the libraries' logging off unless ``HOSO_LOG_LEVEL=debug``.

    A command says in one line what went wrong; a log beside it would say it again, in more words.
    Raises ``SettingsError``.
    """
    settings = settings_.load(**overrides)
    for line in settings_.unknown(os.environ):
        say(f"warning: {line}", err=True)
    for line in settings_.without_effect(settings):
        if line.startswith(("HOSO_SASL", "HOSO_SSL")):  # the others are the worker's to say
            say(f"warning: {line}", err=True)
    if settings.log_level == "debug":
        logs.configure(settings)
    else:
        logging.getLogger().setLevel(logging.CRITICAL + 1)
    return settings


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main``; SIGTERM and SIGHUP cancel it as Ctrl-C does, so that it can clean up.

    Raises ``KeyboardInterrupt`` after Ctrl-C, ``StoppedError`` after the other two.
    """

    async def guarded() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        received: list[int] = []

        def stop(signum: int) -> None:
            received.append(signum)
            task.cancel()

        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is None:
                continue  # Windows has no SIGHUP
            # Windows has no handlers on the loop (NotImplementedError), and only the main thread
            # may set any (RuntimeError); such a run is ended by Ctrl-C alone.
            with contextlib.suppress(NotImplementedError, RuntimeError):
                loop.add_signal_handler(number, stop, number)
        try:
            return await main
        except asyncio.CancelledError:
            if received:
                raise StoppedError(received[0]) from None
            raise

    return asyncio.run(guarded())


async def topics_on_broker(settings: Settings) -> dict[str, int]:
    """Every topic there, with its number of partitions. Raises ``Failure`` if no broker answers."""
    from aiokafka.errors import KafkaError

    from streams.kafka.diagnosis import diagnose
    from streams.kafka.topics import partition_counts

    options = settings.client_options()
    servers = len(options["bootstrap_servers"])
    try:
        async with asyncio.timeout(servers * ANSWER_SECONDS):
            # Or one server that says nothing would use up the time of all.
            return await partition_counts(
                {**options, "request_timeout_ms": int(1000 * ANSWER_SECONDS)}
            )
    except (KafkaError, TimeoutError, OSError) as error:
        reason = await diagnose(settings, seconds=ANSWER_SECONDS)
        raise Failure(f"no broker answers at {settings.brokers}: {reason}") from error


async def require_topics(settings: Settings, *names: str) -> None:
    """Make sure that these topics exist as they should, creating none.

    Raises ``Failure`` where one is missing, or has another number of partitions than the settings
    say: what stands on them would be read wrongly.
    """
    there = await topics_on_broker(settings)
    missing = [name for name in names if name not in there]
    if missing:
        raise Failure(f"no such topic: {', '.join(missing)}; `hoso topics create` creates them")
    _refuse_other_counts(settings, {name: there[name] for name in names})


async def examine_topics(settings: Settings) -> None:
    """Make sure that the topics that exist are as they should be, and that the others may be
    created. Raises ``Failure`` as :func:`require_topics` does.
    """
    names = [spec.name for spec in topic_specs(settings)]
    if not settings.create_topics:
        await require_topics(settings, *names)
        return
    there = await topics_on_broker(settings)
    _refuse_other_counts(settings, {name: there[name] for name in names if name in there})


async def prepare_topics(settings: Settings) -> None:
    """Have every topic there: create what is missing, unless ``HOSO_CREATE_TOPICS`` is false.

    Raises ``Failure`` as :func:`require_topics` does.
    """
    from streams.kafka.topics import create_missing

    await examine_topics(settings)
    if settings.create_topics:
        await create_missing(settings.client_options(), topic_specs(settings))


def topic_specs(settings: Settings) -> list[Any]:
    """The topics of the contract and the changelogs, as ``TopicSpec``."""
    from streams.kafka.topics import catalogue
    from streams.runtime.process import CHANGELOGS

    changelogs = [settings.changelog(table) for table in CHANGELOGS]
    return catalogue(settings.topic_prefix, settings.partitions, settings.replication, changelogs)


def _refuse_other_counts(settings: Settings, counts: dict[str, int]) -> None:
    wrong = {name: count for name, count in counts.items() if count != settings.partitions}
    if wrong:
        listed = ", ".join(f"{name} {count}" for name, count in wrong.items())
        raise Failure(
            f"HOSO_PARTITIONS is {settings.partitions}, but these topics have other numbers of "
            f"partitions: {listed}"
        )
