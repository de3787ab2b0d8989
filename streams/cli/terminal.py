"""What people see: text and tables on stdout, progress and remarks on stderr.

The only module of the commands that prints. Whatever it is given may hold text from outside (names
of agencies, dead letters, file names, what a broker answers), so nothing of it is read as markup,
and no character of it reaches the terminal that does anything but show itself.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from streams.domain import percent as domain
from streams.views.spreadsheet import csv_lines, plain, shows_itself

NOTHING = "–"
_WIDE = 200  # columns where there is no terminal whose width could be asked


def write_anything() -> None:
    """Let stdout and stderr take any text: what their encoding lacks is written as ``\\u1ed9``.

    Names are Vietnamese wherever this runs, also where the output is ASCII or Latin-1.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")


def say(*lines: str, err: bool = False) -> None:
    """Print each of ``lines`` as a line of its own, to stdout or stderr."""
    for line in lines:
        click.echo(plain(line), err=err)


def say_large(title: str, address: str, err: bool = False) -> None:
    """Print an address that nobody overlooks: in a box on a terminal, else on a line."""
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        say(f"{title}: {address}", err=err)
        return
    text = Text(f"{plain(title)}\n\n", justify="center")
    text.append(plain(address), style="bold underline")
    _Console(file=stream).print(Panel.fit(text, padding=(1, 8), border_style="green"))


def json_text(value: Any, indent: int | None = None) -> str:
    """``value`` as JSON that any reader takes for the same and that may be shown on a terminal."""
    text = json.dumps(
        value,
        ensure_ascii=False,
        indent=indent,
        separators=(",", ":") if indent is None else None,
    )
    return re.sub(r"[^ -~\n]", lambda found: _json_escaped(found[0]), text)


def _json_escaped(character: str) -> str:
    return character if shows_itself(character) else json.dumps(character)[1:-1]


def say_json(value: Any, indent: int | None = None) -> None:
    """Print ``value`` to stdout as JSON."""
    text = json_text(value, indent)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(
            value, indent=indent, separators=(",", ":") if indent is None else None
        )  # the same value, in ASCII
    click.echo(text)


def say_csv(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print ``rows``, which all have the same columns, to stdout as CSV with a header."""
    for line in csv_lines(rows):
        sys.stdout.write(line)  # click would write UTF-8 where the output takes ASCII


class _Console(Console):
    """Shows every string as the text that it is."""

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich, which all strings in a table, a title or a message go through."""
        options |= {"markup": False, "emoji": False, "highlight": False}
        # As it will be written, so that columns stay aligned: \u1ed9 takes six places.
        shown = plain(text).encode(self.encoding, "backslashreplace").decode(self.encoding)
        return super().render_str(shown, **options)


def out() -> Console:
    """Tables. Without a terminal, wide enough that nothing is cut off."""
    return _Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE)


def print_first_that_fits(tables: Iterable[Table]) -> None:
    """Print to stdout the first table that is not too wide, or else the last, which is cut.

    Rich would cut into the numbers of any column; half a number is worse than a column less.
    """
    console = out()
    boundless = console.options.update(max_width=10_000)
    chosen = None
    for chosen in tables:
        if Measurement.get(console, boundless, chosen).maximum <= console.width:
            break
    if chosen is not None:
        console.print(chosen)


def progress() -> Progress:
    """A progress bar on stderr, or nothing at all where that is no terminal."""
    console = _Console(file=sys.stderr)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def percent(value: Fraction | None, decimals: int = 2) -> str:
    """A share as percent without the sign, or a dash where there is none."""
    if value is None:
        return NOTHING
    return domain.percent(value.numerator, value.denominator, decimals)


def target(value: Fraction | None) -> str:
    """A target as percent without the sign: decimals only where it has any."""
    whole = value is None or (100 * value).denominator == 1
    return percent(value, 0 if whole else 2)
