"""What people see: tables on stdout, progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from fractions import Fraction

from rich.console import Console
from rich.measure import Measurement
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

NOTHING = "–"
_WIDE = 200  # columns where there is no terminal whose width could be asked


def out() -> Console:
    """Results. Without a terminal, wide enough that nothing is cut off."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE, highlight=False)


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


def err() -> Console:
    """Progress and remarks."""
    return Console(file=sys.stderr, highlight=False)


def progress() -> Progress:
    """A progress bar on stderr, or nothing at all where that is no terminal."""
    console = err()
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def decimal(value: Fraction, decimals: int) -> str:
    """``value`` with so many decimals, rounded half up, from exact arithmetic."""
    scaled = abs(value) * 10**decimals
    units = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    whole, rest = divmod(units, 10**decimals)
    sign = "-" if value < 0 and units else ""
    return f"{sign}{whole:,}" + (f".{rest:0{decimals}d}" if decimals else "")


def percent(value: Fraction | None, decimals: int = 2) -> str:
    """A share as percent without the sign, or a dash where there is none."""
    return NOTHING if value is None else decimal(100 * value, decimals)
