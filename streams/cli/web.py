"""``hoso web``: the API and the pages alone, in the foreground."""

from __future__ import annotations

import click

from streams.cli import logs
from streams.cli.running import load_settings, run, topics_on_broker
from streams.cli.worker import refuse_taken
from streams.settings import Settings


@click.command()
def web() -> None:
    """Serve the API and the pages alone until Ctrl-C; run any number in front of the public.

    Reads agency-months and the reference topics, without a consumer group, and writes nothing. It
    finds the workers that own an agency by itself for what only they know, its services. Needs
    Read on those topics, and Describe on the event topics to say how many records are behind.
    Serves at HOSO_WEB_HOST:HOSO_WEB_PORT.
    """
    settings = load_settings()
    run(_may_read(settings))
    from streams.runtime import web as web_
    from streams.runtime.topic_gate import started_again

    if not started_again():
        refuse_taken(settings)
    logs.configure(settings)
    web_.run(settings)


async def _may_read(settings: Settings) -> None:
    """Raises ``Failure`` without a broker, ``NotAllowedError`` without a right."""
    from streams.kafka.permissions import require
    from streams.runtime.web import web_needs

    await topics_on_broker(settings)
    await require(settings.client_options(), web_needs(settings))
