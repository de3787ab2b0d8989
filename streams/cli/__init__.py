"""The ``hoso`` command line."""

from __future__ import annotations

import sys

import click

from streams import settings as settings_
from streams.cli import logs


@click.group()
def main() -> None:
    """A live, exact register of how much online public services are really used."""


@main.command()
def worker() -> None:
    """Run one worker; run more to scale."""
    from streams import worker as worker_

    try:
        settings = settings_.load()
    except settings_.SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    logs.configure(settings)
    worker_.run(settings)
