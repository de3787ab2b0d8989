"""``hoso simulate``: the portals."""

from __future__ import annotations

import click

from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS
from streams.cli.playing import DEFAULT_RATE, play
from streams.cli.running import load_settings, prepare_topics, run
from streams.cli.sending import Outbox, summary
from streams.cli.terminal import progress, say
from streams.settings import Settings
from streams.simulator import SCENARIOS, Scenario


def scenario_named(context: click.Context, parameter: click.Parameter, name: str) -> Scenario:
    """An option's callback: the scenario of that name."""
    if name not in SCENARIOS:
        raise click.BadParameter(f"{name!r} is not one of {', '.join(SCENARIOS)}")
    return SCENARIOS[name]()


@click.command()
@click.option(
    "--scenario",
    required=True,
    metavar="NAME",
    callback=scenario_named,
    help=f"Which portals to play: {', '.join(SCENARIOS)}.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help=f"Records a second.  [default: as fast as possible; {DEFAULT_RATE:g} without an end]",
)
def simulate(scenario: Scenario, rate: float | None) -> None:
    """Be the portals: send a scenario's events to the broker.

    published plays 2019 to August 2022 as published, and ends. live plays a day of today's and
    never ends; it first sends the year so far, at full speed. Ctrl-C stops either.
    Missing topics are created unless HOSO_CREATE_TOPICS=false.
    """
    settings = load_settings()
    outbox = Outbox(settings)
    try:
        run(_simulate(settings, scenario, rate, outbox), settings)
    except KeyboardInterrupt:
        say("stopped", err=True)
    say(*summary(outbox.sent, settings))


async def _simulate(
    settings: Settings, scenario: Scenario, rate: float | None, outbox: Outbox
) -> None:
    await prepare_topics(settings, *map(settings.topic, sorted(EVENT_TOPICS | REFERENCE_TOPICS)))
    with progress() as bar:
        task = bar.add_task(f"{scenario.name}", total=scenario.total)
        async with outbox:
            await play(scenario, outbox, rate, lambda count: bar.advance(task, count))
