"""Says in one line what is wrong with an event: the field, its value, what was expected.

For the `hoso-detail` header of a dead letter and for `hoso validate`: read by the people who run
the portals, so in their words and not the validator's. Imports pydantic's errors only; decides
nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

LONGEST_VALUE: Final = 60
"""Characters of a value that are shown, the mark of omission included."""

_CODE: Final = "a code of 1 to 64 characters without spaces or control characters"
_AGENCY: Final = f"{_CODE}, nor the name of a group (national, ministries, provinces)"
_INSTANT: Final = "an RFC 3339 timestamp with an offset from UTC, such as 2022-01-05T09:00:00+07:00"

_LEAP_SECOND: Final = re.compile(r"[Tt][0-9]{2}:[0-9]{2}:60")

EXPECTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "value": "a JSON object",
        "specversion": "'1.0'",
        "id": "a non-empty string",
        "source": "a non-empty string",
        "type": "a non-empty string",
        "time": f"{_INSTANT}, or null",
        "data": "an object",
        "data.dossier": _CODE,
        "data.agency": _AGENCY,
        "data.service": _CODE,
        "data.channel": "one of online, in_person, postal, null",
        "data.submitted_at": _INSTANT,
        "data.due_at": f"{_INSTANT}, or null",
        "data.at": _INSTANT,
        "data.revision": "a whole number from 0 to 2147483647",
        "data.void": "true or false",
        "data.status": "a national status code from 2 to 10",
        "data.name": "a string of at most 500 characters",
        "data.level": "a level from 1 to 4",
        "data.eligible": "true or false",
        "data.listed": "true or false",
        "data.effective_from": "a day written YYYY-MM-DD",
        "data.kind": "one of ministry, province",
        "data.sources": "a list of non-empty strings",
        "data.sources[]": "a non-empty string",
        "data.scope": "national, ministries, provinces or an agency code",
        "data.indicator": "one of services_with_dossiers, online_processed",
        "data.year": "a year from 1900 to 9999",
        "data.ratio": "a number from 0 to 1",
    }
)
"""Path of a field → what belongs there. `[]` stands for any item of a list."""


def shorten(value: object) -> str:
    """`value` on one line as its sender wrote it, cut to `LONGEST_VALUE` characters.

    Strings come in quotes with control characters escaped; the rest as JSON.
    """
    if isinstance(value, str | bytes):
        text = repr(value[: LONGEST_VALUE + 1])
    else:
        try:
            text = json.dumps(value, ensure_ascii=False, default=repr)
        except (ValueError, RecursionError):
            text = f"a value of type {type(value).__name__}"
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: LONGEST_VALUE + 1])
    if len(text) > LONGEST_VALUE:
        text = text[: LONGEST_VALUE - 1] + "…"
    return text


def _shown_name(name: str) -> str:
    return name if name.isidentifier() and len(name) <= LONGEST_VALUE else shorten(name)


def _paths(loc: Sequence[str | int]) -> tuple[str, str]:
    """The path as shown (`data.sources[2]`) and as looked up (`data.sources[]`)."""
    shown = known = ""
    for step in loc:
        if isinstance(step, int):
            shown += f"[{step}]"
            known += "[]"
        else:
            dot = "." if shown else ""
            shown += dot + _shown_name(step)
            known += dot + step
    return shown or "value", known or "value"


def _describe_one(error: Mapping[str, Any]) -> str:
    shown, known = _paths(error["loc"])
    kind = error["type"]
    if kind == "unexpected_keyword_argument":
        return f"{shown}: unknown field"
    expected = EXPECTED.get(known)
    if kind == "missing":
        return f"{shown}: missing" + (f", expected {expected}" if expected else "")
    if expected is None:
        return f"{shown}: {shorten(error['input'])}: {error['msg']}"
    said = f"{shown}: {shorten(error['input'])} is not {expected}"
    why = _objection(error) if "timestamp" in expected or "day" in expected else None
    return f"{said} ({why})" if why else said


def _objection(error: Mapping[str, Any]) -> str | None:
    """Why a timestamp or day of the right form is none, if the form is right."""
    if error["type"] in ("greater_than_equal", "less_than_equal"):
        return "in Viet Nam this is outside the years 0001 to 9999"
    if _LEAP_SECOND.search(str(error["input"])):
        return "leap seconds are not taken"
    why = error.get("ctx", {}).get("error")
    return why if isinstance(why, str) else None


def describe(error: ValidationError) -> str:
    """The first fault of `error` on one line, and how many more there are."""
    faults = error.errors(include_url=False)
    more = len(faults) - 1
    return _describe_one(faults[0]) + (f" (and {more} more)" if more else "")
