"""What a figure is asked for: the options that commands share, and the names they take.

A scope is a group's code or an agency's code or name (``H26``, ``Hà Nội``, ``ha noi``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any, Literal, Protocol, TypeVar

import click

from schemas.topics import EVENT_TOPICS, Topic
from streams.cli.errors import Failure
from streams.cli.running import require_topics, topics_to_read
from streams.domain import names
from streams.domain.calendar import PERIOD_KINDS, ZONE
from streams.domain.definitions import DEFINITIONS
from streams.domain.indicators import GROUP_NAMES, GROUPS, NATIONAL, Agency, Kind
from streams.domain.targets import GROUP_OF
from streams.settings import AsOf, Settings
from streams.views.published_months import PublishedMonths
from streams.views.reference_data import ReferenceData

ASK_SECONDS = 5.0
"""How long the brokers may take to say how far they are."""

C = TypeVar("C", bound=Callable[..., Any])
R = TypeVar("R", bound="Scoped")


class DayType(click.ParamType):
    """A date, or one of some words: ``today``, and ``latest`` where the register is read."""

    name = "day"

    def __init__(self, *words: Literal["today", "latest"]) -> None:
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> AsOf:
        if value in self._words or isinstance(value, date):
            found: AsOf = value
            return found
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
        if day is None or day.isoformat() != value:
            expected = " or ".join(", ".join(("a date YYYY-MM-DD", *self._words)).rsplit(", ", 1))
            self.fail(f"{value!r} is not {expected}", param, ctx)
        return day


def period_and_definition(command: C) -> C:
    """The options ``--period`` and ``--definition``."""
    period = click.option(
        "--period",
        type=click.Choice(PERIOD_KINDS),
        default="year",
        show_default=True,
        help="From the first day of the period that holds the as-of day.",
    )
    definition = click.option(
        "--definition",
        type=click.Choice(list(DEFINITIONS)),
        help="How the indicators are counted.  [default: HOSO_DEFINITION]",
    )
    return period(definition(command))


def format_of(help_: str) -> Callable[[C], C]:
    """The option ``--format``."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json", "csv"]),
        default="table",
        show_default=True,
        help=help_,
    )


def scope_and_limit(command: C) -> C:
    """The options ``--scope`` and ``--limit``."""
    scope = click.option(
        "--scope",
        metavar="GROUP|AGENCY",
        help=f"Only a group ({', '.join(GROUPS)}) with its agencies, or one agency, by code or by "
        "name with or without diacritics.",
    )
    limit = click.option(
        "--limit", type=click.IntRange(min=1), help="At most so many agencies, below the group."
    )
    return scope(limit(command))


@asynccontextmanager
async def open_register(settings: Settings) -> AsyncIterator[tuple[PublishedMonths, ReferenceData]]:
    """Everything published so far; raises ``Failure`` where the topics are not as they should."""
    topics = (Topic.agency_months, Topic.agencies, Topic.targets)
    await require_topics(
        settings, *map(settings.topic, topics), behind=map(settings.topic, EVENT_TOPICS)
    )
    register, reference = PublishedMonths(settings), ReferenceData(settings)
    try:
        await register.start()
        await reference.start()
        yield register, reference
    finally:
        await reference.stop()
        await register.stop()


def day_of_setting(as_of: AsOf, register: PublishedMonths) -> int:
    """The ordinal of an as-of setting, as the worker understands it."""
    return register.as_of(as_of, datetime.now(ZONE).toordinal())


@asynccontextmanager
async def open_reference(settings: Settings) -> AsyncIterator[ReferenceData | None]:
    """The registered agencies and assigned targets; None where their topics are not there yet."""
    if not await topics_to_read(settings, *map(settings.topic, (Topic.agencies, Topic.targets))):
        yield None
        return
    reference = ReferenceData(settings)
    await reference.start()
    try:
        yield reference
    finally:
        await reference.stop()


def agency_named(agencies: Iterable[Agency], text: str) -> Agency:
    """The agency that is meant. Raises ``Failure`` that says why none is, or lists candidates."""
    try:
        return names.find(agencies, text)
    except LookupError as error:
        raise Failure(str(error)) from error


def group_named(text: str) -> str | None:
    """The code of the group that is meant, if it is one."""
    for code, name in GROUP_NAMES.items():
        if text == code or names.fold(text) == names.fold(name):
            return code
    return None


class Scoped(Protocol):
    """A row about a group or an agency."""

    @property
    def scope(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind | None: ...


def chosen(
    rows: Iterable[R],
    scope: str | None = None,
    key: Callable[[R], Any] | None = None,
    *,
    descending: bool = False,
    limit: int | None = None,
) -> list[R]:
    """The rows of a scope: its groups as they are, then its agencies, sorted by ``key``.

    Where ``key`` gives None an agency stands last, either way. ``limit`` is for agencies. Raises
    ``Failure`` where there is no such scope.
    """
    groups: list[R] = []
    agencies: dict[Agency, R] = {}
    for row in rows:
        if row.kind is None:
            groups.append(row)
        else:
            agencies[Agency(row.scope, row.name, row.kind)] = row
    if scope is not None:
        group = group_named(scope)
        if group is None:
            return [agencies[agency_named(agencies, scope)]]
        groups = [row for row in groups if row.scope == group]
        agencies = {
            agency: row
            for agency, row in agencies.items()
            if group in (NATIONAL, GROUP_OF[agency.kind])
        }
    ordered = list(agencies.values())
    if key is not None:
        without = [row for row in ordered if key(row) is None]
        ordered = [row for row in ordered if key(row) is not None]
        ordered = sorted(ordered, key=key, reverse=descending) + without
    return groups + ordered[:limit]
