"""What a page may be asked: its query parameters as models, on top of the API's.

A wrong one is refused here as it is there (contract, section 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlencode

from pydantic import BeforeValidator, Field, WithJsonSchema

from streams.api.queries import IndicatorsQuery, day_of_text

Language = Literal["vi", "en"]
LANGUAGES: tuple[Language, ...] = ("vi", "en")
ScoreboardSort = Literal[
    "name",
    "code",
    "services_with_dossiers",
    "services_missing",
    "services_change",
    "online_processed",
    "online_missing",
    "online_change",
    "last_event",
]
PooledSort = Literal[
    "name",
    "code",
    "services_with_dossiers",
    "services_listed",
    "online_processed",
    "dossiers_processed",
]
ServicesSort = Literal["code", "name", "level", "online_dossiers", "last_day"]
Table = Literal["services", "course", "rejected", "channels", "levels"]

_SCOREBOARD_SORTS: tuple[str, ...] = get_args(ScoreboardSort)
_POOLED_SORTS: tuple[str, ...] = get_args(PooledSort)
_SERVICES_SORTS: tuple[str, ...] = get_args(ServicesSort)
_TABLES: tuple[str, ...] = get_args(Table)
_ORDER = "asc or desc"
_Order = Literal["asc", "desc"]


def _count(text: object) -> int:
    if not (isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 4):
        raise ValueError
    return int(text)


def _one_of(values: tuple[str, ...]) -> str:
    return f"one of {', '.join(values)}"


def _day_or_blank(text: object) -> date | None:
    # A form sends every field that it has, also those that nobody filled in.
    return None if text == "" else day_of_text(text)


_Day = Annotated[
    date | None,
    BeforeValidator(_day_or_blank),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"const": ""}]}),
]


class PageQuery(IndicatorsQuery):
    """What every page may be asked. A day may be left blank."""

    as_of: _Day = Field(None, description="a date YYYY-MM-DD")
    lang: Language | None = Field(None, description="vi or en")
    """None: as the reader's browser prefers."""
    q: str = Field("", max_length=500, description="at most 500 characters")
    """Rows whose name begins a word with this, with or without diacritics, or whose code does."""
    order: _Order | None = Field(None, description=_ORDER)
    """None: figures from the highest, names and codes from A."""
    format: Literal["html", "csv", "json"] = Field("html", description="one of html, csv, json")

    def descending(self, sort: str) -> bool:
        return self.order == "desc" or (
            self.order is None and sort not in ("name", "code", "level")
        )


class ScoreboardQuery(PageQuery):
    """A question for the scoreboard."""

    scope: Literal["national", "ministries", "provinces"] = Field(
        "national", description="one of national, ministries, provinces"
    )
    """Whose rows; national: all."""
    sort: ScoreboardSort = Field("services_with_dossiers", description=_one_of(_SCOREBOARD_SORTS))
    limit: Annotated[int, Field(ge=1, le=9999), BeforeValidator(_count)] | None = Field(
        None, description="a number from 1 to 9999"
    )
    """So many agencies of each kind at most."""
    since: _Day = Field(None, description="a date YYYY-MM-DD")
    """What changed from this day to the as-of day; None: from a week before."""


class AgencyQuery(PageQuery):
    """A question for the page of an agency."""

    with_dossiers: Literal["true", "false"] | None = Field(None, description="true or false")
    """None: both."""
    sort: ServicesSort = Field("code", description=_one_of(_SERVICES_SORTS))
    table: Table = Field("services", description=_one_of(_TABLES))
    """Which of its tables ``format`` gives."""


class WhyQuery(PageQuery):
    """A question for what stands behind the figures of a scope."""

    scope: str = Field(
        "national",
        min_length=1,
        max_length=64,
        description="national, ministries, provinces or the code of an agency",
    )
    sort: PooledSort = Field("code", description=_one_of(_POOLED_SORTS))


SORTS: dict[type[PageQuery], tuple[str, ...]] = {
    ScoreboardQuery: _SCOREBOARD_SORTS,
    AgencyQuery: _SERVICES_SORTS,
    WhyQuery: _POOLED_SORTS,
}
"""What the rows of each page may be sorted by."""


def address(path: str, query: PageQuery, **changes: Any) -> str:
    """The address of ``query`` with ``changes``; what is as by default is left out."""
    asked: dict[str, Any] = {name: getattr(query, name) for name in type(query).model_fields}
    said = {
        name: str(value)
        for name, value in (asked | changes).items()
        if value is not None and not _is_default(query, name, value)
    }
    return f"{path}?{urlencode(said)}" if said else path


def carried(query: PageQuery, **changes: Any) -> Mapping[str, Any]:
    """What a link to another page takes along: day, period, definition and language."""
    return {
        "period": query.period,
        "as_of": query.as_of,
        "definition": query.definition,
        "lang": query.lang,
    } | changes


def elsewhere(path: str, query: PageQuery, **changes: Any) -> str:
    """The address of another page, about the same day, period and definition."""
    said = {
        name: str(value)
        for name, value in carried(query, **changes).items()
        if value is not None and not (name == "period" and value == "year")
    }
    return f"{path}?{urlencode(said)}" if said else path


def _is_default(query: PageQuery, name: str, value: Any) -> bool:
    field = type(query).model_fields.get(name)
    return field is not None and value == field.default
