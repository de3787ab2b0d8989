"""``hoso topics``: the topics of the register."""

from __future__ import annotations

import sys

import click

from streams.cli.errors import ANSWER_IS_NO, Commands
from streams.cli.running import load_settings, run, topic_specs, topics_on_broker
from streams.cli.terminal import say
from streams.settings import Settings


@click.group(cls=Commands)
def topics() -> None:
    """The topics of the register on the broker."""


@topics.command()
def create() -> None:
    """Create the topics that are missing, with the right partitions and policies.

    Also the changelog topics of the worker. What exists is compared and never changed; whatever
    differs is said. Exit code 1 if a topic has another number of partitions than HOSO_PARTITIONS,
    because no worker runs on that; other differences are yours to judge.
    """
    settings = load_settings()
    sys.exit(run(_create(settings), settings))


async def _create(settings: Settings) -> int:
    from streams.kafka.topics import create_missing

    await topics_on_broker(settings)
    specs = topic_specs(settings)
    report = await create_missing(settings.client_options(), specs)
    width = max(len(spec.name) for spec in specs)
    for spec in specs:
        differences = [d for d in report.differences if d.topic == spec.name]
        if spec.name in report.created:
            policy = spec.config["cleanup.policy"]
            say(f"{spec.name:<{width}}  created, {spec.partitions} partitions, {policy}")
        elif differences:
            for found in differences:
                say(
                    f"{spec.name:<{width}}  differs: {found.what} is {found.actual}, "
                    f"expected {found.expected}"
                )
        elif spec.name in report.unchecked:
            say(f"{spec.name:<{width}}  exists (the broker does not tell its policies)")
        else:
            say(f"{spec.name:<{width}}  exists")
    wrong = any(found.what == "partitions" for found in report.differences)
    return ANSWER_IS_NO if wrong else 0
