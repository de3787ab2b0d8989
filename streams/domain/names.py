"""Names as people type and sort them: found with or without diacritics, in Vietnamese order.

Pure. The one place where a name stands for an agency (contract, sections 7 and 9): commands take a
name in place of a code, and pages filter by one. What is said without diacritics (``ha noi``) finds
what has them; ``đ`` and ``d`` are told apart only where names are sorted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from unicodedata import combining, normalize

from streams.domain.indicators import Agency


class UnknownAgencyError(LookupError):
    """No registered agency has such a code or name."""

    def __init__(self, text: str) -> None:
        super().__init__(f"no agency has the code or the name {text!r}")


class AmbiguousNameError(LookupError):
    """Several agencies go by that name; the message lists them."""

    def __init__(self, text: str, candidates: list[Agency]) -> None:
        listed = ", ".join(f"{agency.code} {agency.name}" for agency in candidates)
        super().__init__(f"{text!r} may be any of: {listed}")
        self.candidates = candidates


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """``text`` as it is compared: small letters without diacritics, words parted by one space."""
    # Taken apart first and last: a few small letters come apart only when they are small (İ).
    small = normalize("NFKD", normalize("NFKD", text).casefold())
    letters = "".join("d" if c == "đ" else c for c in small if not combining(c))
    return " ".join(re.findall(r"\w+", letters))


def matches(code: str, name: str, text: str) -> bool:
    """Whether ``text`` is the beginning of the code or of words in a row of the name.

    Blank text matches everything, text without a letter or a figure nothing.
    """
    said = fold(text)
    if not said:
        return not text.strip()
    return f" {said}" in f" {fold(name)}" or fold(code).startswith(said)


def find(agencies: Iterable[Agency], text: str) -> Agency:
    """The agency that is meant by ``text``, its code or its name.

    What is exactly so comes first: a code, then a name, then a name but for its first words ("Hồ
    Chí Minh" for "Thành phố Hồ Chí Minh"), then a part of one. Raises ``UnknownAgencyError``, or
    ``AmbiguousNameError`` where the first of these that any agency meets is met by several.
    """
    known = list(agencies)
    said = fold(text)
    given = normalize("NFC", text).strip()
    ways: tuple[Callable[[Agency], bool], ...] = (
        lambda agency: agency.code == text,
        lambda agency: agency.code.casefold() == given.casefold(),
        lambda agency: normalize("NFC", agency.name).casefold() == given.casefold(),
        lambda agency: fold(agency.name) == said,
        lambda agency: _without_kind(fold(agency.name)) == _without_kind(said),
        lambda agency: matches(agency.code, agency.name, text),
    )
    for meant in ways[: len(ways) if said else 2]:
        found = [agency for agency in known if meant(agency)]
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousNameError(text, sorted(found, key=lambda agency: in_order(agency.name)))
    raise UnknownAgencyError(text)


def _without_kind(folded: str) -> str:
    """Without the words that say what kind of agency it is; official and spoken names differ."""
    return re.sub(r"^(thanh pho|tp|tinh|bo) (?=.)", "", folded)


_LETTERS = "aăâbcdđeêfghijklmnoôơpqrstuưvwxyz"
_PLACE = {letter: place for place, letter in enumerate(_LETTERS)}
_TONES = "\u0300\u0309\u0303\u0301\u0323"
"""Grave, hook above, tilde, acute, dot below, in the order of Vietnamese dictionaries."""
_MARKS = {"\u0306", "\u0302", "\u031b"}
"""Breve, circumflex and horn make another letter; the others are tones."""


@lru_cache(maxsize=4096)
def in_order(name: str) -> tuple[tuple[tuple[int, str], ...], tuple[int, ...], str]:
    """Sorts names as Vietnamese dictionaries do: Đ after D, Ă and Â after A, then by tone."""
    letters: list[tuple[int, str]] = []
    tones: list[int] = []
    base = ""
    for c in normalize("NFD", name.casefold()) + "\0":
        if c in _TONES and base:
            tones[-1] = _TONES.index(c) + 1
        elif combining(c) and base:
            base = normalize("NFC", base + c) if c in _MARKS else base
            letters[-1] = _letter(base)
        else:
            base = c
            letters.append(_letter(c))
            tones.append(0)
    return tuple(letters), tuple(tones), name


def _letter(c: str) -> tuple[int, str]:
    # What is no letter of Vietnamese stands by its code: signs and figures before, others after.
    place = _PLACE.get(c)
    if place is None:
        return (-1 if c < "a" else len(_LETTERS)), c
    return place, ""
