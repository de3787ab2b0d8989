"""What is wrong with what is drawn: each function yields a sentence for every fault it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from tests.grafana.look.viewer import Drawn

SILENT = {"–", "No data", "", None}
"""What a panel without data says when nobody has given it a word."""

MAY_BE_EMPTY = {
    "Cảnh báo đang phát",
    "Alerts firing",
    "Vào dead-letters, theo lý do",
    "Into the dead letters by reason",
    "Bị loại trong khoảng đã chọn, theo cơ quan",
    "Rejected in the range by agency",
    "Bản ghi mất, theo topic",
    "Records lost by topic",
    "Giảm nhiều nhất trong tuần: DVC trực tuyến phát sinh hồ sơ",
    "Most fallen in a week: Services with online dossiers",
    "Sự kiện bị loại, theo lý do",
    "Rejected events by reason",
}
"""Panels that show nothing where all is well, and say so."""

MANY = 8
"""More lines than this cannot all be told apart, or be in a legend."""


def of_panels(drawn: Iterable[Drawn]) -> Iterator[tuple[str, Drawn, dict[str, Any]]]:
    for one in drawn:
        for panel in one.panels:
            yield f"{one.shot.name}, {panel['title']!r}", one, panel


def errors(drawn: Iterable[Drawn]) -> Iterator[str]:
    """Queries that Prometheus refused, panels that could not be drawn, the browser's complaints."""
    for one in drawn:
        yield from (f"{one.shot.name}: {text}" for text in one.said)
    for where, _, panel in of_panels(drawn):
        yield from (f"{where}: {asked['error']}" for asked in panel["asked"] if "error" in asked)
        if "failed" in panel:
            yield f"{where}: {panel['failed']}"


def without_data(drawn: Iterable[Drawn]) -> Iterator[str]:
    """Panels that show nothing although there is something to show."""
    for where, _, panel in of_panels(drawn):
        if panel["said"] is not None and panel["title"] not in MAY_BE_EMPTY:
            yield f"{where} says {panel['said']!r}"


def wordless(drawn: Iterable[Drawn]) -> Iterator[str]:
    """Panels that show nothing and do not say why."""
    for where, _, panel in of_panels(drawn):
        if panel["said"] in SILENT and panel["said"] is not None:
            yield f"{where} says only {panel['said']!r}"


def partial(drawn: Iterable[Drawn]) -> Iterator[str]:
    """Tiles with some of their values: one is then taken for another. (A tile that shows names only
    is a sentence: it says whichever holds.)"""
    for where, _, panel in of_panels(drawn):
        if panel["type"] == "stat" and panel["mode"] != "name":
            # A value may be asked for in several ways (minutes, hours), one of which gives it.
            found: dict[str, int] = {}
            for asked in panel["asked"]:
                found[asked["name"]] = found.get(asked["name"], 0) + asked["series"]
            if 0 in found.values() and any(found.values()):
                yield f"{where}: {found}"


def cut(drawn: Iterable[Drawn]) -> Iterator[str]:
    """Headings, names, values and states that are not whole, or off the panel."""
    for where, _, panel in of_panels(drawn):
        if panel["cut"]:
            yield f"{where}: cut: {panel['cut']}"


def hidden_legends(drawn: Iterable[Drawn]) -> Iterator[str]:
    """Legends that must be scrolled."""
    for where, _, panel in of_panels(drawn):
        legend = panel["legend"]
        if legend and legend["seen"] < legend["of"] <= MANY:
            yield f"{where}: {legend['seen']} of {legend['of']} names in sight"


def alike(drawn: Iterable[Drawn]) -> Iterator[str]:
    """Lines of one panel that have the same colour and dashes."""
    for where, _, panel in of_panels(drawn):
        lines = panel.get("lines", [])
        looks = [(line["colour"], line["style"]) for line in lines]
        if len(lines) <= MANY and len(set(looks)) < len(looks):
            yield f"{where}: {[(line['name'], line['colour']) for line in lines]}"


def different_in_english(drawn: Iterable[Drawn]) -> Iterator[str]:
    """Colours that depend on the language."""

    def key(one: Drawn) -> tuple[object, ...]:
        page = one.shot.dashboard.partition("/")[2]
        return (page, one.shot.width, one.shot.at, one.shot.theme, one.shot.since)

    for _, pair in groupby(sorted(drawn, key=key), key):
        pages = list(pair)
        if len(pages) == 2:
            for one, other in zip(pages[0].panels, pages[1].panels, strict=True):
                a, b = (
                    [(line["colour"], line["style"]) for line in panel.get("lines", [])]
                    for panel in (one, other)
                )
                if sorted(a) != sorted(b):
                    yield f"{pages[0].shot.name}, {one['title']!r}: {a}, {other['title']!r}: {b}"


def crowded(drawn: Iterable[Drawn]) -> Iterator[str]:
    """Pages on which alerts are more than a few regions: a wall of colour."""
    for one in drawn:
        if one.regions > MANY:
            yield f"{one.shot.name}: {one.regions} regions"


CHECKS: tuple[Callable[[list[Drawn]], Iterator[str]], ...] = (
    errors,
    without_data,
    wordless,
    partial,
    cut,
    hidden_legends,
    alike,
    different_in_english,
    crowded,
)
