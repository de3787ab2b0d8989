"""Published beside measured: the figures of a scenario, asked of the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple

import aiohttp
import orjson
from rich import box
from rich.table import Table
from rich.text import Text

from streams.cli.demo_worker import WorkerProcess, get_json
from streams.cli.terminal import NOTHING, print_first_that_fits
from streams.domain.calendar import PERIOD_KINDS, PeriodKind
from streams.domain.percent import decimal, percent
from streams.simulator import Check, agrees, measure
from streams.views.published_months import PublishedMonths
from streams.views.reference_data import ReferenceData
from streams.views.report import report_json

_AGREE_SECONDS = 30.0
_POLL_SECONDS = 0.1


class Result(NamedTuple):
    """A published figure and the measured one."""

    check: Check
    name: str
    measured: Fraction | None

    @property
    def ok(self) -> bool:
        return agrees(self.check, self.measured)


async def measured(
    checks: Sequence[Check],
    register: PublishedMonths,
    reference: ReferenceData,
    worker: WorkerProcess,
    session: aiohttp.ClientSession,
) -> list[Result]:
    """Every check, measured from the rows of the API.

    The whole numbers that the API does not carry come from the register of this process, which
    must give the very answer that the API gives. Raises ``Failure`` where the two go on differing.
    """
    answers: dict[tuple[date, str, str], list[dict[str, Any]]] = {}
    results = []
    for check in checks:
        question = check.as_of, check.period, check.definition
        if question not in answers:
            answers[question] = await _rows(*question, register, reference, worker, session)
        rows = answers[question]
        names = {row["scope"]: row["name"] for row in rows}
        name = names.get(check.scope, check.scope)
        results.append(Result(check, name, measure(check, rows)))
    return results


async def _rows(
    as_of: date,
    period: str,
    definition: str,
    register: PublishedMonths,
    reference: ReferenceData,
    worker: WorkerProcess,
    session: aiohttp.ClientSession,
) -> list[dict[str, Any]]:
    kind, day = _kind(period), as_of.toordinal()
    ends = await register.behind.ends(_AGREE_SECONDS)
    own = orjson.loads(orjson.dumps(report_json(register, reference, definition, kind, day, ends)))
    deadline = time.monotonic() + _AGREE_SECONDS
    while True:
        worker.check()
        status, answer = await get_json(
            session,
            f"{worker.url}/api/v1/indicators",
            as_of=as_of.isoformat(),
            period=period,
            definition=definition,
        )
        if status == 200 and answer == own:
            break
        if time.monotonic() > deadline:
            raise worker.failure(
                f"the API's answer for {as_of} ({period}, {definition}, status {status}) is not "
                f"what the topic agency-months says"
            )
        # The worker follows the topic as we do; it may be a moment behind.
        await asyncio.sleep(_POLL_SECONDS)
    rows: list[dict[str, Any]] = answer["rows"]
    for row, figures in zip(rows, register.figures(reference, definition, kind, day), strict=True):
        counts = figures.counts
        row |= {
            "level4": counts.level4,
            "level34": counts.level34,
            "listed": counts.listed,
            "eligible": counts.eligible,
            "eligible_level4": counts.eligible_level4,
        }
    return rows


def _kind(period: str) -> PeriodKind:
    for kind in PERIOD_KINDS:
        if kind == period:
            return kind
    raise ValueError(f"a scenario asks for the period {period!r}, which there is not")


def as_json(results: Sequence[Result], events: int, seconds: float) -> Mapping[str, Any]:
    """The answer of ``hoso demo --format json``; percentages as published, unrounded where
    measured. Where only a range was published, ``published`` is its upper bound and
    ``published_range`` has both: more than the first, at most the second.
    """
    return {
        "checks": [_check_as_json(result) for result in results],
        "events": events,
        "seconds": round(seconds, 3),
    }


def _check_as_json(result: Result) -> dict[str, Any]:
    check = result.check
    published = _number(Fraction(check.published))
    found: dict[str, Any] = {
        "as_of": check.as_of.isoformat(),
        "scope": check.scope,
        "period": check.period,
        "indicator": check.indicator,
        "published": published,
        "measured": None if result.measured is None else _number(result.measured),
        "ok": result.ok,
    }
    if check.above is not None:
        found["published_range"] = [_number(Fraction(check.above)), published]
    return found


def _number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


# What a narrower terminal goes without.
_NARROWER = ((), ("name",), ("name", "period"))


def print_table(results: Sequence[Result]) -> None:
    """Published beside measured, for people; measured with two decimals more."""
    print_first_that_fits(_table(results, without) for without in _NARROWER)


def _table(results: Sequence[Result], without: Collection[str]) -> Table:
    table = Table(
        title="published and measured",
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for head in ("as of", "period", "scope", "name", "indicator", "published", "measured", ""):
        if head not in without:
            number = head in ("published", "measured")
            table.add_column(head, no_wrap=True, justify="right" if number else "left")
    day = None
    for result in results:
        check = result.check
        if day is not None and check.as_of != day:
            table.add_section()
        day = check.as_of
        cells: dict[str, str | Text] = {
            "as of": check.as_of.isoformat(),
            "period": check.period,
            "scope": check.scope,
            "name": result.name,
            "indicator": check.indicator,
            "published": _published(check),
            "measured": _measured(result),
            "": Text("ok", "green") if result.ok else Text("differs", "bold red"),
        }
        table.add_row(*(text for head, text in cells.items() if head not in without))
    return table


def _published(check: Check) -> str:
    printed = f"{check.published:,}" + ("" if check.is_count else " %")
    return printed if check.above is None else f"{check.above} to {printed}"


def _measured(result: Result) -> str:
    if result.measured is None:
        return NOTHING
    if result.check.is_count:
        return decimal(result.measured, 0 if result.measured.denominator == 1 else 2)
    share = result.measured / 100
    return percent(share.numerator, share.denominator, result.check.decimals + 2) + " %"
