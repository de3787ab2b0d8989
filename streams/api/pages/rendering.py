"""HTML from templates, in slices: the loop that takes events in is never held up for long.

One page is rendered at a time, so that between two slices of any page everything else on the loop
gets its turn. Everything in a template is escaped unless it is markup already.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from streams.api.pages.written import isolated
from streams.views.spreadsheet import plain

_SLICE_SECONDS = 0.005
STATIC = {
    "hoso.css": "text/css",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""What pages refer to, and what it is."""


@cache
def static(name: str) -> bytes:
    """The bytes of one of ``STATIC``."""
    return files("streams.api.pages").joinpath("static", name).read_bytes()


@cache
def static_address(name: str) -> str:
    """Where a page finds it: another address for other bytes, so that it may be kept for good."""
    return f"/static/{name}?v={hashlib.sha256(static(name)).hexdigest()[:12]}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("streams.api.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"named": isolated, "plain": plain}
    environment.globals["static"] = static_address
    return environment


async def render(template: str, **context: Any) -> bytes:
    """The page, in UTF-8."""
    pieces: list[str] = []
    began = time.monotonic()
    for piece in _environment().get_template(template).generate(context):
        pieces.append(piece)
        if time.monotonic() - began > _SLICE_SECONDS:
            await asyncio.sleep(0)
            began = time.monotonic()
    return "".join(pieces).encode()
