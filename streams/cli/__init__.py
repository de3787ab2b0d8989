"""The ``hoso`` command line: the group; each command has a module of its own."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import click

from streams.cli.audit import audit
from streams.cli.broker import broker
from streams.cli.compare import compare
from streams.cli.dead_letters import dead_letters
from streams.cli.demo import demo
from streams.cli.errors import Commands
from streams.cli.events import publish, validate
from streams.cli.export import export
from streams.cli.reference import reference
from streams.cli.report import report
from streams.cli.services import services
from streams.cli.simulate import simulate
from streams.cli.terminal import say
from streams.cli.topics import topics
from streams.cli.web import web
from streams.cli.worker import worker


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> Any:
    if wanted:
        try:
            version = metadata.version("hoso")
        except metadata.PackageNotFoundError:
            version = "(run from source, not installed)"
        say(f"hoso {version}")
        context.exit()


@click.group(cls=Commands)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version.",
)
def main() -> None:
    """A live, exact register of how much online public services are really used.

    Settings come from HOSO_… environment variables; HOSO_BROKERS (default 127.0.0.1:9092) is where
    the brokers are. Exit codes: 0 done, 1 the answer is no (a bad file, figures that differ),
    2 it could not run.
    """


for _command in (
    demo,
    broker,
    topics,
    worker,
    web,
    reference,
    publish,
    validate,
    simulate,
    report,
    compare,
    services,
    audit,
    dead_letters,
    export,
):
    main.add_command(_command)
