"""How a measurement run by itself says what it found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

Result = dict[str, Any]


def print_measured(
    measure: Callable[[], Result], said: Callable[[Result], str], as_json: bool
) -> None:
    """Measure, and print one JSON object or what people read. Exit code 1 if it has no result."""
    try:
        result = measure()
    except (ValueError, RuntimeError, TimeoutError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        json.dump(result, sys.stdout)
        print()
    else:
        print(said(result))
