"""``hoso broker``: the embedded broker in the foreground."""

from __future__ import annotations

import asyncio

import click

from streams.cli.errors import Failure
from streams.cli.running import run
from streams.cli.terminal import say

_LOOK_SECONDS = 0.2


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=9092,
    show_default=True,
    help="Port to listen on, at 127.0.0.1.",
)
def broker(port: int) -> None:
    """Run the embedded broker until Ctrl-C.

    One process in memory, for trying things out: it forgets all topics and records when it stops.
    For production use Apache Kafka; docs/embedded-broker.md says which clients cannot connect and
    what else is different.
    """
    try:
        run(_serve(port))
    except KeyboardInterrupt:
        say("broker stopped; everything it held is gone", err=True)


async def _serve(port: int) -> None:
    from streams.kafka.broker import EmbeddedBroker

    with EmbeddedBroker(port) as embedded:
        say(f"broker listens at {embedded.bootstrap} (HOSO_BROKERS={embedded.bootstrap})")
        say("it keeps everything in memory and forgets it when it stops; Ctrl-C stops it")
        while embedded.running:  # noqa: ASYNC110 (a process has no event to wait for)
            await asyncio.sleep(_LOOK_SECONDS)
        raise Failure(f"the broker ended by itself with code {embedded.wait()}")
