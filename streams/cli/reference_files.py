"""Reference data as people keep it, in CSV files, turned into events.

The same row always becomes the same event, id and bytes, so that loading a file twice says nothing
new. Everything is judged by the schemas; nothing here repeats what they know.
"""

from __future__ import annotations

import csv
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from schemas.admission import admit
from schemas.decoder import Reason, Rejection, decode
from schemas.events import Event, RegisteredEvent, TargetEvent
from schemas.explain import shorten
from schemas.topics import Topic
from streams.cli.sending import Message
from streams.domain.indicators import GROUPS

SOURCE: Final = "/reference"
"""The CloudEvents source of what is loaded from files."""

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://hoso.invalid/reference")


class Fault(NamedTuple):
    """What is wrong in a file, and where."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


class Row(NamedTuple):
    """A good row."""

    file: Path
    line: int
    event: Event
    message: Message


class _BadCellError(ValueError):
    """A cell is not what its column holds; the message says so."""


@dataclass(frozen=True)
class _Sheet:
    """How the rows of a kind of file become events."""

    topic: Topic
    type: str
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    others_ignored: bool
    data: Callable[[Mapping[str, str]], dict[str, Any]]
    same: Callable[[Any], tuple[object, ...]]
    """What of an event's data no two rows may share."""


def _whole(row: Mapping[str, str], column: str) -> int:
    try:
        if not row[column].isascii():
            raise ValueError
        return int(row[column])
    except ValueError:
        raise _BadCellError(f"{column}: {shorten(row[column])} is not a whole number") from None


def _flag(row: Mapping[str, str], column: str) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    try:
        return known[row[column].lower()]
    except KeyError:
        raise _BadCellError(f"{column}: {shorten(row[column])} is not true or false") from None


def _share(row: Mapping[str, str], column: str) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise _BadCellError(
            f"{column}: {shorten(row[column])} is not a number from 0 to 1"
        ) from None


def _agency(row: Mapping[str, str]) -> dict[str, Any]:
    sources = [source.strip() for source in row.get("sources", "").split("|")]
    return {
        "agency": row["code"],
        "name": row["name"],
        "kind": row["kind"],
        "sources": [source for source in sources if source],
    }


def _service(row: Mapping[str, str]) -> dict[str, Any]:
    name = {"name": row["name"]} if row["name"] else {}
    return {
        "agency": row["agency"],
        "service": row["service"],
        **name,
        "level": _whole(row, "level"),
        "eligible": _flag(row, "eligible"),
        "listed": _flag(row, "listed"),
        "effective_from": row["effective_from"],
        "revision": _whole(row, "revision") if row.get("revision") else 0,
    }


def _target(row: Mapping[str, str]) -> dict[str, Any]:
    return {
        "scope": row["scope"],
        "indicator": row["indicator"],
        "year": _whole(row, "year"),
        "ratio": _share(row, "ratio"),
    }


AGENCIES: Final = _Sheet(
    Topic.agencies,
    "hoso.agency.registered.v1",
    ("code", "name", "kind"),
    ("sources",),
    True,
    _agency,
    lambda data: (data.agency,),
)
SERVICES: Final = _Sheet(
    Topic.catalogue,
    "hoso.service.listed.v1",
    ("agency", "service", "name", "level", "eligible", "listed", "effective_from"),
    ("revision",),
    False,
    _service,
    lambda data: (data.agency, data.service, data.effective_from, data.revision),
)
TARGETS: Final = _Sheet(
    Topic.targets,
    "hoso.target.assigned.v1",
    ("scope", "indicator", "year", "ratio"),
    (),
    False,
    _target,
    lambda data: (data.scope, data.indicator, data.year),
)


def files_in(directory: Path) -> list[tuple[_Sheet, Path]]:
    """The files to load, agencies first: later ones are judged by them."""
    found = [(AGENCIES, directory / "agencies.csv")]
    found += [(SERVICES, path) for path in sorted(directory.glob("services*.csv"))]
    found += [(SERVICES, path) for path in sorted(directory.glob("services/*.csv"))]
    found.append((TARGETS, directory / "targets.csv"))
    return [(sheet, path) for sheet, path in found if path.is_file()]


@dataclass
class Loader:
    """Reads files into ``rows`` and ``faults``.

    ``agencies``: those registered already, with their sources; rows of ``agencies.csv`` are added.
    """

    agencies: dict[str, frozenset[str]]
    rows: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _seen: dict[tuple[object, ...], tuple[Path, int]] = field(default_factory=dict)

    @property
    def messages(self) -> list[Message]:
        """What the rows become, in their order."""
        return [row.message for row in self.rows]

    def load(self, sheet: _Sheet, path: Path) -> None:
        """Read one file. Raises ``OSError`` if it cannot be read."""
        with path.open(encoding="utf-8-sig", newline="") as lines:
            try:
                for number, row in self._rows(sheet, path, lines):
                    self._row(sheet, path, number, row)
            except UnicodeDecodeError as error:
                self.faults.append(Fault(path, 1, f"not UTF-8: {error}"))
            except csv.Error as error:
                self.faults.append(Fault(path, 1, f"not CSV: {error}"))

    def _rows(
        self, sheet: _Sheet, path: Path, lines: Iterable[str]
    ) -> Iterator[tuple[int, dict[str, str]]]:
        reader = csv.reader(lines, strict=True)
        header = [name.strip() for name in next(reader, [])]
        expected = ",".join(sheet.needed) + "".join(f"[,{name}]" for name in sheet.optional)
        faults = [f"no column {name}" for name in sheet.needed if name not in header]
        if not sheet.others_ignored:
            known = (*sheet.needed, *sheet.optional)
            faults += [f"{shorten(name)}: unknown column" for name in header if name not in known]
        faults += [
            f"{shorten(name)}: column given twice" for name in header if header.count(name) > 1
        ]
        if faults:
            self.faults += [
                Fault(path, 1, f"{fault}, expected {expected}") for fault in dict.fromkeys(faults)
            ]
            return
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                fault = f"{len(cells)} cells, expected {len(header)} as in the first line"
                self.faults.append(Fault(path, reader.line_num, fault))
                continue
            row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            yield reader.line_num, row

    def _row(self, sheet: _Sheet, path: Path, number: int, row: Mapping[str, str]) -> None:
        try:
            data = sheet.data(row)
        except _BadCellError as error:
            self.faults.append(Fault(path, number, str(error)))
            return
        value = event_bytes(sheet.type, data, self._source(sheet, data))
        event = decode(sheet.topic, value)
        if not isinstance(event, Rejection):
            fault = self._objection(event)
            if fault is not None:
                event = fault
        if isinstance(event, Rejection):
            what = event.detail.removeprefix("data.")
            if sheet is AGENCIES:
                what = what.replace("agency:", "code:", 1) if what.startswith("agency:") else what
            self.faults.append(Fault(path, number, what))
            return
        same = (sheet.topic, *sheet.same(event.data))
        if same in self._seen:
            first, line = self._seen[same]
            self.faults.append(
                Fault(path, number, f"says again what {first.name}:{line} says; one must go")
            )
            return
        self._seen[same] = path, number
        if isinstance(event, RegisteredEvent):
            self.agencies[event.data.agency] = frozenset(event.data.sources)
        message = Message(sheet.topic, event.key.encode(), value)
        self.rows.append(Row(path, number, event, message))

    def _objection(self, event: Event) -> Rejection | None:
        if isinstance(event, TargetEvent):
            scope = event.data.scope
            if scope not in GROUPS and scope not in self.agencies:
                # The worker would take a target for nobody in without a word.
                return Rejection(
                    Reason.unknown_agency,
                    f"scope: {shorten(scope)} is not {', '.join(GROUPS)} or a registered agency",
                    None,
                )
        now_ms = int(time.time() * 1000)
        return admit(event, event.key.encode(), now_ms, self.agencies)

    def _source(self, sheet: _Sheet, data: Mapping[str, Any]) -> str:
        """Who speaks. An agency that only its own sources may speak for is spoken for as by the
        first of them: whoever loads reference data also decides on the sources."""
        allowed = self.agencies.get(data.get("agency", ""), frozenset())
        if sheet is not SERVICES or not allowed or SOURCE in allowed:
            return SOURCE
        return min(allowed)


def event_bytes(kind: str, data: Mapping[str, Any], source: str = SOURCE) -> bytes:
    """A CloudEvent whose id follows from what it says."""
    content = msgspec.json.encode([kind, source, data], order="sorted")
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": str(uuid.uuid5(_NAMESPACE, content.decode())),
            "source": source,
            "type": kind,
            "datacontenttype": "application/json",
            "data": data,
        }
    )
