"""What the commands that talk to a broker share: settings, an event loop that ends in order, and
a broker that answers before anything else is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from streams import settings as settings_
from streams.cli import logs
from streams.cli.errors import COULD_NOT_RUN, Failure, StoppedError
from streams.cli.terminal import say
from streams.runtime.deadline import end_within, ended
from streams.runtime.tested_versions import require_tested_versions
from streams.settings import Settings

T = TypeVar("T")

ANSWER_SECONDS = 5.0
"""How long a broker may take to answer at all."""

OUTAGE_SECONDS = 60.0
"""How long a command that is at work waits for brokers that are away."""

LAST_SECONDS = 10.0
"""How long a command may take to end in order."""


def load_settings(**overrides: Any) -> Settings:
    """The settings, with the libraries' logging off unless ``HOSO_LOG_LEVEL=debug``.

    A command says in one line what went wrong; a log beside it would say it again, in more words.
    Raises ``SettingsError``, and ``UntestedVersionError`` before anything is begun.
    """
    require_tested_versions()
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


def run(main: Coroutine[Any, Any, T], settings: Settings | None = None) -> T:
    """Run ``main``; SIGINT, SIGTERM and SIGHUP cancel it, so that it can clean up.

    With ``settings`` it does not wait for brokers without end: when none has answered for
    ``OUTAGE_SECONDS`` it is cancelled too. What it cleans up then has ``LAST_SECONDS``, or the
    process ends without.

    Raises ``KeyboardInterrupt`` after SIGINT, ``StoppedError`` after the other signals, and
    ``Failure`` when the brokers are away.
    """

    async def guarded() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        received: list[int] = []
        reasons: list[str] = []

        def stop(signum: int) -> None:
            if received and signum == signal.SIGINT:
                raise KeyboardInterrupt  # the second Ctrl-C: no time to clean up
            received.append(signum)
            end_within(LAST_SECONDS, 128 + signum, "what was begun is left", _say_error)
            task.cancel()

        def give_up(reason: str) -> None:
            reasons.append(reason)
            end_within(LAST_SECONDS, COULD_NOT_RUN, reason, _say_error)
            task.cancel()

        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is None:
                continue  # Windows has no SIGHUP
            # Windows has no handlers on the loop (NotImplementedError), and only the main thread
            # may set any (RuntimeError); such a run is ended by Ctrl-C alone.
            with contextlib.suppress(NotImplementedError, RuntimeError):
                loop.add_signal_handler(number, stop, number)
        watch = None if settings is None else asyncio.create_task(_watch(settings, give_up))
        try:
            return await main
        except asyncio.CancelledError:
            if reasons:
                raise Failure(reasons[0]) from None
            if signal.SIGINT in received:
                raise KeyboardInterrupt from None
            if received:
                raise StoppedError(received[0]) from None
            raise
        finally:
            if watch is not None:
                watch.cancel()

    try:
        return asyncio.run(guarded())
    finally:
        ended()


def _say_error(text: str) -> None:
    say(f"error: {text}", err=True)


async def _watch(settings: Settings, give_up: Callable[[str], None]) -> None:
    """Call ``give_up`` with the reason when no broker has answered for ``OUTAGE_SECONDS``."""
    from aiokafka.errors import KafkaError

    from streams.kafka.diagnosis import diagnose

    since: float | None = None
    while True:
        await asyncio.sleep(ANSWER_SECONDS)
        try:
            await _partition_counts(settings)
        except (KafkaError, TimeoutError, OSError):
            now = time.monotonic()
            if since is None:
                since = now
                reason = f"no broker answers at {settings.brokers}: {await diagnose(settings)}"
                say(f"warning: {reason}; waiting {OUTAGE_SECONDS:g} s for it", err=True)
            elif now - since >= OUTAGE_SECONDS:
                give_up(f"{reason}, for {now - since:.0f} s")
                return
        else:
            if since is not None:
                say(f"a broker answers again at {settings.brokers}", err=True)
            since = None


async def _partition_counts(settings: Settings) -> dict[str, int]:
    from streams.kafka.topics import partition_counts

    options = settings.client_options()
    # Every server has its time, or one that says nothing would use up that of all.
    async with asyncio.timeout(len(options["bootstrap_servers"]) * ANSWER_SECONDS):
        return await partition_counts({**options, "request_timeout_ms": int(1000 * ANSWER_SECONDS)})


async def topics_on_broker(settings: Settings) -> dict[str, int]:
    """Every topic there, with its number of partitions. Raises ``Failure`` if no broker answers."""
    from aiokafka.errors import KafkaError

    from streams.kafka.diagnosis import diagnose

    try:
        return await _partition_counts(settings)
    except (KafkaError, TimeoutError, OSError) as error:
        reason = await diagnose(settings, seconds=ANSWER_SECONDS)
        raise Failure(f"no broker answers at {settings.brokers}: {reason}") from error


async def require_topics(
    settings: Settings, *names: str, to_write: bool = False, behind: Iterable[str] = ()
) -> None:
    """Make sure that these topics exist as they should and may be read (or written to).

    Creates none. Topics ``behind`` them are not read, but what was made of them is: where they can
    be seen they must have the right count too. Raises ``Failure`` where one is missing, or has
    another number of partitions than the settings say: what stands on them would be read wrongly;
    ``NotAllowedError`` without the rights.
    """
    there = await topics_on_broker(settings)
    await _require_rights(settings, names, to_write=to_write)
    missing = [name for name in names if name not in there]
    if missing:
        raise Failure(f"no such topic: {', '.join(missing)}; `hoso topics create` creates them")
    looked_at = {*names, *behind} & there.keys()
    _refuse_other_counts(settings, {name: there[name] for name in sorted(looked_at)})


async def topics_to_read(settings: Settings, *names: str) -> bool:
    """Whether these topics are there, to be read; raises as :func:`require_topics`."""
    there = await topics_on_broker(settings)
    await _require_rights(settings, names)
    if not all(name in there for name in names):
        return False
    _refuse_other_counts(settings, {name: there[name] for name in names})
    return True


async def topics_of_a_worker(settings: Settings) -> dict[str, int]:
    """As :func:`topics_on_broker`. Raises ``NotAllowedError`` too, if a worker lacks a right."""
    from streams.kafka.permissions import require
    from streams.runtime.process import worker_needs

    there = await topics_on_broker(settings)
    await require(settings.client_options(), worker_needs(settings), settings.app_id)
    return there


async def prepare_topics(settings: Settings, *written: str) -> None:
    """Have the topics there: create what is missing, unless ``HOSO_CREATE_TOPICS`` is false.

    Topics that may not even be seen here are somebody else's, unless they are among the
    ``written``. Raises as :func:`require_topics` does.
    """
    from streams.kafka.permissions import Permissions
    from streams.kafka.topics import create_missing

    there = await topics_on_broker(settings)
    await _require_rights(settings, written, to_write=True)
    specs = topic_specs(settings)
    async with Permissions(settings.client_options()) as permissions:
        hidden = await permissions.hidden([spec.name for spec in specs])
    specs = [spec for spec in specs if spec.name not in hidden]
    missing = [spec.name for spec in specs if spec.name not in there]
    if missing and not settings.create_topics:
        raise Failure(f"no such topic: {', '.join(missing)}; `hoso topics create` creates them")
    _refuse_other_counts(settings, {s.name: there[s.name] for s in specs if s.name in there})
    if missing:
        await create_missing(settings.client_options(), specs)
        await _require_rights(settings, written, to_write=True)


async def _require_rights(
    settings: Settings, names: Sequence[str], *, to_write: bool = False
) -> None:
    from streams.kafka.permissions import Right, require

    right = Right.WRITE if to_write else Right.READ
    await require(settings.client_options(), dict.fromkeys(names, (right,)))


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
