"""Rows as CSV that a spreadsheet takes for what they are, and text that only shows.

Pure. Names come from events: one that a spreadsheet would run as a formula gets an apostrophe in
front, by which it knows that this is text, and characters that would do something are written out.
Numbers stay as they are.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

_FORMULA = tuple("=+-@＝＋－＠")
"""What a spreadsheet takes for the beginning of a formula."""


@cache
def shows_itself(character: str) -> bool:
    """Whether a character does nothing but show."""
    # No control characters (C0, C1, DEL), line separators, bidi and other format characters,
    # surrogates; of the spaces also those that Python does not call printable.
    return character.isprintable() or unicodedata.category(character) == "Zs"


def plain(text: str) -> str:
    """``text`` on one line; characters that would do something are written as Python writes them.

    Such as ``\\x1b``, ``\\n`` and ``\\u202e``. A backslash is left as it is.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if shows_itself(c) else ascii(c)[1:-1] for c in text)


def csv_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The lines of a table, the header first; all rows have the same columns."""
    written = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(written, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({column: _cell(value) for column, value in row.items()})
        yield written.getvalue()
        written.seek(0)
        written.truncate()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
