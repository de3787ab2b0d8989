"""``hoso demo``: broker, worker and portals in one, and the published figures beside ours."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from contextlib import AsyncExitStack
from datetime import datetime
from typing import TYPE_CHECKING

import aiohttp
import click

from streams.cli.errors import ANSWER_IS_NO
from streams.cli.playing import play
from streams.cli.running import load_settings, prepare_topics, run
from streams.cli.sending import Outbox
from streams.cli.simulate import scenario_named
from streams.cli.terminal import progress, say, say_json, say_large
from streams.cli.worker import refuse_taken
from streams.domain.calendar import ZONE
from streams.settings import Settings
from streams.simulator import SCENARIOS, Remembering, Scenario, Succession

if TYPE_CHECKING:
    from streams.cli.demo_worker import WorkerProcess

_STALL_SECONDS = 60.0
_POLL_SECONDS = 0.2


class _Outcome:
    """What has been found so far, also when the rest is interrupted."""

    agreed: bool | None = None


@click.command()
@click.option(
    "--scenario",
    default="published",
    show_default=True,
    metavar="NAME",
    callback=scenario_named,
    help=f"Which portals to play: {', '.join(SCENARIOS)}.",
)
@click.option("--headless", is_flag=True, help="End after the comparison.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print the comparison; json ends after it.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Records a second.  [default: as fast as possible]",
)
@click.option(
    "--no-browser", is_flag=True, help="Open no browser on the page; its address is printed."
)
def demo(
    scenario: Scenario, headless: bool, form: str, rate: float | None, no_browser: bool
) -> None:
    """Show everything at work, with nothing to set up.

    Starts the embedded broker and a worker with its page, plays the scenario through them, and
    prints each published figure beside the measured one. Exit code 0 if all agree, 1 if not.

    Then it streams a live day into the same page, until Ctrl-C; --headless ends before that.
    Whatever was started is stopped, and nothing is kept. HOSO_BROKERS is not used; HOSO_WEB_PORT,
    HOSO_PARTITIONS, HOSO_DEFINITION and HOSO_AS_OF are.
    """
    stays = not headless and form == "table"
    if scenario.total is None and not stays:
        raise click.UsageError(f"the scenario {scenario.name} has no end to compare figures at")
    outcome = _Outcome()
    try:
        opens = stays and not no_browser
        run(_demo(_settings(), Remembering(scenario), rate, form, stays, opens, outcome))
    except KeyboardInterrupt:
        if outcome.agreed is None:
            raise
        say("stopped", err=True)
    if not outcome.agreed:
        sys.exit(ANSWER_IS_NO)


def _settings() -> Settings:
    from streams.kafka.broker import free_port

    usual = load_settings(
        brokers="127.0.0.1:1",  # replaced once the broker has its port
        security_protocol="PLAINTEXT",
        replication=1,
        create_topics=True,
        web_host="127.0.0.1",
    )
    changes: dict[str, object] = {}
    if not usual.web_port:
        changes["web_port"] = free_port()
    elif "web_port" in usual.model_fields_set:
        refuse_taken(usual)
    elif not _is_free(usual.web_host, usual.web_port):
        changes["web_port"] = free_port()
    if "HOSO_AS_OF" not in os.environ:
        # A scenario of the past, seen from today, would leave /metrics empty.
        changes["as_of"] = "latest"
    return usual.model_copy(update=changes)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


async def _demo(
    settings: Settings,
    scenario: Remembering,
    rate: float | None,
    form: str,
    stays: bool,
    opens: bool,
    outcome: _Outcome,
) -> None:
    from streams.cli.demo_checks import as_json, measured, print_table
    from streams.cli.demo_live import open_page, watch
    from streams.cli.demo_worker import WorkerProcess
    from streams.cli.questions import open_register
    from streams.kafka.broker import EmbeddedBroker

    async with AsyncExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker())
        settings = settings.model_copy(update={"brokers": broker.bootstrap})
        await prepare_topics(settings)
        worker = stack.enter_context(WorkerProcess(settings))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        )
        if stays:
            say(f"broker at {broker.bootstrap}", err=True)
            say_large("The figures, as they move", f"{worker.url}/", err=True)
        if opens:
            opening = asyncio.create_task(open_page(worker, session))
            stack.callback(opening.cancel)
        started = time.monotonic()
        if scenario.total is not None:
            events = await _play_to_the_end(settings, scenario, rate, worker, session)
        register, reference = await stack.enter_async_context(open_register(settings))
        seconds = time.monotonic() - started
        if scenario.total is not None:
            results = await measured(scenario.checks, register, reference, worker, session)
            outcome.agreed = all(result.ok for result in results)
            if form == "json":
                say_json(as_json(results, events, seconds))
            else:
                print_table(results)
                agree = sum(result.ok for result in results)
                say(
                    f"{agree} of {len(results)} figures agree; {events:,} events in "
                    f"{seconds:.1f} s ({events / seconds:,.0f} a second)"
                )
        else:
            outcome.agreed = True
        if stays:
            say_large("The figures, live", f"{worker.url}/", err=True)
            live: Scenario = scenario
            pace = rate
            if scenario.total is not None:
                new_year = datetime.now(ZONE).date().replace(month=1, day=1)
                live = Succession(scenario, SCENARIOS["live"](), new_year)
                pace = None
            await watch(settings, live, pace, register, reference, worker, session)


async def _play_to_the_end(
    settings: Settings,
    scenario: Scenario,
    rate: float | None,
    worker: WorkerProcess,
    session: aiohttp.ClientSession,
) -> int:
    """Play and return once every record has been processed; gives their number.

    Raises ``Failure`` when the worker dies, or is stalled.
    """
    from streams.cli.demo_worker import Intake, Stall, get_json

    stall = Stall(_STALL_SECONDS)
    with progress() as bar:
        sent = bar.add_task("sent", total=scenario.total)
        processed = bar.add_task("processed", total=scenario.total)
        async with Intake(settings) as intake, Outbox(settings) as outbox:
            playing = asyncio.create_task(
                play(scenario, outbox, rate, lambda count: bar.advance(sent, count))
            )
            ends = None
            try:
                while True:
                    worker.check()
                    committed = await intake.committed()
                    total = sum(committed.values())
                    bar.update(processed, completed=total)
                    if playing.done():
                        await playing
                        if ends is None:
                            ends = await intake.ends()
                        elif all(committed.get(tp, 0) >= end for tp, end in ends.items()):
                            # A record forwarded to its right partition comes in once more.
                            again = await intake.ends()
                            if again == ends:
                                break
                            ends = again
                        if stall.over(total):
                            raise worker.failure(
                                f"the worker has processed nothing for {_STALL_SECONDS:g} s, "
                                f"{total:,} of {sum(ends.values()):,} records are in"
                            )
                    await asyncio.wait({playing}, timeout=_POLL_SECONDS)
                    if playing.done():
                        await asyncio.sleep(_POLL_SECONDS)
                while (await get_json(session, f"{worker.url}/readyz"))[0] != 200:
                    worker.check()
                    if stall.over(total):
                        raise worker.failure("the worker does not become ready")
                    await asyncio.sleep(_POLL_SECONDS)
            finally:
                playing.cancel()
                await asyncio.wait({playing})
            return sum(outbox.sent.values())
