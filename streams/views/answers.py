"""The shape of an answer with figures: section 6 of the contract, as types.

What :mod:`streams.views.report` builds, what every reader gets as JSON, and what OpenAPI says of it
are the same types. A ratio is a number from 0 to 1, unrounded: the float nearest to the exact
fraction. Where there is nothing to divide by it is null, never 0.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from streams.domain.calendar import PeriodKind
from streams.domain.indicators import Kind

Day = Annotated[str, Field(json_schema_extra={"format": "date"}, pattern=r"^\d{4}-\d\d-\d\d$")]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

_CLOSED = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@with_config(_CLOSED)
class PeriodAnswer(TypedDict):
    """The days that are counted, both included."""

    kind: PeriodKind
    start: Day
    end: Day


@with_config(_CLOSED)
class Channels(TypedDict):
    """Dossiers by the way they came in."""

    online: Count
    in_person: Count
    postal: Count


@with_config(_CLOSED)
class Ratios(TypedDict):
    """Both indicators of another period."""

    services_with_dossiers_ratio: Share | None
    online_processed_ratio: Share | None


@with_config(_CLOSED)
class TargetAnswer(TypedDict):
    """A target and how far a share is from it."""

    ratio: Share | None
    """The target of the as-of day's year: the agency's own, else its group's, else the national
    one; null if none is assigned."""
    shortfall: Share | None
    """max(0, target − ratio)."""
    missing: Count | None
    """How many more services or dossiers would have met the target."""
    behind_pace: Share | None
    """max(0, pace − ratio)."""


@with_config(_CLOSED)
class TargetsAnswer(TypedDict):
    """The target of each indicator."""

    services_with_dossiers: TargetAnswer
    online_processed: TargetAnswer


@with_config(_CLOSED)
class Ranks(TypedDict):
    """The place among the agencies of the kind; ties share one."""

    services_with_dossiers: Annotated[int, Field(ge=1)] | None
    online_processed: Annotated[int, Field(ge=1)] | None


@with_config(_CLOSED)
class Row(TypedDict):
    """The figures of a group or an agency."""

    scope: str
    """national, ministries, provinces, or the agency's code."""
    name: str
    kind: Kind | None
    """Null for a group."""
    services_listed: Count
    """Services listed on the as-of day at the levels that the definition asks for."""
    services_with_dossiers: Count
    """Those of them with at least one online dossier in the period."""
    services_with_dossiers_ratio: Share | None
    dossiers_processed: Count
    """Dossiers resolved in the period (qd766: received)."""
    dossiers_processed_online: Count
    """Those of them that count as online (emc-2024: for a service at level 4 only)."""
    online_processed_ratio: Share | None
    dossiers_submitted: Channels
    on_time_ratio: Share | None
    """Dossiers resolved in the period by their due date ÷ those that had one."""
    level4_of_eligible: Share | None
    level34_of_listed: Share | None
    level4_of_listed: Share | None
    previous_year: Ratios
    """The same period up to the same day of the year before (29 Feb: 28 Feb)."""
    previous_period: Ratios
    """The whole period before."""
    targets: TargetsAnswer
    rank: Ranks
    last_event_at: Moment | None
    """The broker's time of the last accepted event, whatever the as-of day."""


@with_config(_CLOSED)
class IndicatorsAnswer(TypedDict):
    """Figures of groups and agencies: national, ministries, provinces, then agencies by code."""

    as_of: Day
    period: PeriodAnswer
    definition: str
    behind: Count | None
    """How many records the brokers have that these figures lack, of the whole country; null if it
    can't be told."""
    release: None
    """Null: these are the figures of now."""
    rows: list[Row]


@with_config(_CLOSED)
class ServiceAnswer(TypedDict):
    """A listed service."""

    code: str
    name: str | None
    level: Literal[1, 2, 3, 4]
    """On the as-of day."""
    online_dossiers: Count
    """Counted online dossiers of the period (submitted in it; qd766: received)."""
    first_day: Day | None
    last_day: Day | None
    """The first and last day with one; null without."""


@with_config(_CLOSED)
class ServicesAnswer(TypedDict):
    """The services that ``services_listed`` counts, by code."""

    agency: str
    as_of: Day
    period: PeriodAnswer
    definition: str
    services: list[ServiceAnswer]


@with_config(_CLOSED)
class RejectedAnswer(TypedDict):
    """An agency's rejected records by reason, as counted by the worker that owns it."""

    agency: str
    since: Moment
    """When that worker began to count."""
    rejected: dict[str, Count]


@with_config(ConfigDict(extra="allow"))
class ErrorAnswer(TypedDict):
    """What was wrong: ``parameter`` names a bad one, ``agency`` the code that was asked for."""

    error: str
