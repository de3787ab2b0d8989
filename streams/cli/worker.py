"""``hoso worker``: one Faust worker in the foreground."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Mapping
from importlib import import_module

import click

from streams.cli import logs
from streams.cli.errors import Failure
from streams.cli.running import load_settings, run, topic_specs, topics_of_a_worker
from streams.settings import Settings, authority, without_effect

logger = logging.getLogger(__name__)


@click.command()
def worker() -> None:
    """Run one worker until Ctrl-C; run more to scale.

    Takes in the records of its share of the partitions, keeps the dossiers and serves /metrics,
    the API and health at HOSO_WEB_HOST:HOSO_WEB_PORT. Missing topics are created unless
    HOSO_CREATE_TOPICS=false. While a topic is missing, or has another number of partitions than
    HOSO_PARTITIONS, the worker waits and says so at /readyz. Workers share HOSO_APP_ID; each needs
    its own HOSO_WEB_PORT and HOSO_DATA_DIR.
    """
    settings = load_settings()
    if settings.store == "rocksdb":
        import_module("rocksdict")  # the lack of it is said now, not at the first partition
    there = run(topics_of_a_worker(settings))
    from streams.runtime import process as worker_
    from streams.runtime.topic_gate import started_again

    if not started_again():
        _refuse_setting(settings, there)
        refuse_taken(settings)
    with worker_.hold_data(settings):
        logs.configure(settings)
        for line in without_effect(settings):
            logger.warning("%s", line)
        worker_.run(settings)


def _refuse_setting(settings: Settings, there: Mapping[str, int]) -> None:
    """Raises ``Failure`` if all topics are there and agree on another number of partitions.

    Then the setting is wrong. Where they do not agree topics are, and the worker waits for them.
    """
    counts = {there.get(spec.name) for spec in topic_specs(settings)}
    if len(counts) == 1 and counts.isdisjoint({None, settings.partitions}):
        raise Failure(
            f"HOSO_PARTITIONS is {settings.partitions}, but every topic has {counts.pop()} "
            "partitions"
        )


def refuse_taken(settings: Settings) -> None:
    """Raises ``Failure`` if the web port is taken: Faust would say so in a page of traceback."""
    if settings.web_port == 0:
        return
    try:
        addresses = socket.getaddrinfo(
            settings.web_host, settings.web_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, _, _, address = addresses[0]
        with socket.socket(family, kind) as probe:
            if sys.platform != "win32":
                # Allows a port in TIME_WAIT; on Windows it would allow a taken one.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        raise Failure(
            f"cannot listen on {authority(settings.web_host, settings.web_port)} "
            f"(HOSO_WEB_HOST, HOSO_WEB_PORT): {getattr(error, 'strerror', None) or error}"
        ) from error
