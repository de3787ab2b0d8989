"""The five event types and their envelope, as immutable typed objects.

Imports pydantic and the standard library only. The types are strict: nothing is coerced, so
`"1"` or `true` is never a number. Unknown envelope attributes are CloudEvents extensions and
pass; unknown fields in `data` are refused, because a misspelt optional field would otherwise be
lost without a word. Source: the contract, section 2, and CloudEvents 1.0 sections 3 (context
attributes) and 3.1 of its JSON event format (envelope, `data`, `data_base64`).

Objects are pydantic dataclasses with slots: as fast to make as models, and smaller.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from schemas.instants import CalendarDay, DatedInstant, Timestamp, epoch_us

CODE_PATTERN: Final = r"^[^\s\u0000-\u001f\u007f-\u009f]+$"

Code = Annotated[str, Field(min_length=1, max_length=64, pattern=CODE_PATTERN)]
"""1 to 64 characters (code points) without Unicode white space or control characters."""

GROUPS: Final = frozenset({"national", "ministries", "provinces"})
"""Scopes of figures and targets that pool agencies, so no agency may be called so."""


def _no_group(code: str) -> str:
    if code in GROUPS:
        raise ValueError("is the name of a group")
    return code


AgencyCode = Annotated[
    Code,
    AfterValidator(_no_group),
    Field(json_schema_extra={"not": {"enum": sorted(GROUPS)}}),
]
"""A `Code` that is not the name of a group of agencies (the contract, section 2)."""

LONGEST_NAME: Final = 500
Name = Annotated[str, Field(max_length=LONGEST_NAME)]
"""What people call an agency or a service: at most 500 characters (code points)."""

NonEmpty = Annotated[str, Field(min_length=1)]
Revision = Annotated[int, Field(ge=0, lt=2**31)]
Channel = Literal["online", "in_person", "postal"]
Kind = Literal["ministry", "province"]
Indicator = Literal["services_with_dossiers", "online_processed"]

_ENVELOPE: Final = ConfigDict(strict=True, extra="ignore")
_DATA: Final = ConfigDict(strict=True, extra="forbid")


@dataclass(config=_DATA, frozen=True, slots=True, kw_only=True)
class Submitted:
    """A dossier was handed in. The highest `(revision, submitted_at, id)` replaces the others."""

    dossier: Code
    agency: AgencyCode
    service: Code
    channel: Channel | None = None
    submitted_at: DatedInstant
    due_at: Timestamp | None = None
    revision: Revision = 0
    void: bool = False

    @property
    def channel_or_default(self) -> Channel:
        """The channel, with null and absent read as `in_person`."""
        return self.channel or "in_person"

    @property
    def submitted_at_us(self) -> int:
        """`submitted_at` in microseconds since the epoch, exact."""
        return epoch_us(self.submitted_at)

    @property
    def due_at_us(self) -> int | None:
        """`due_at` in microseconds since the epoch, exact; None if there is no due date."""
        return None if self.due_at is None else epoch_us(self.due_at)


@dataclass(config=_DATA, frozen=True, slots=True, kw_only=True)
class Processed:
    """A dossier reached a national status (2 to 10; see dossier_statuses.csv)."""

    dossier: Code
    agency: AgencyCode
    status: Annotated[int, Field(ge=2, le=10)]
    at: DatedInstant
    revision: Revision = 0
    void: bool = False

    @property
    def at_us(self) -> int:
        """`at` in microseconds since the epoch, exact."""
        return epoch_us(self.at)


@dataclass(config=_DATA, frozen=True, slots=True, kw_only=True)
class Listed:
    """A service's entry in the catalogue, in force from a day (level 3 một phần, 4 toàn trình)."""

    agency: AgencyCode
    service: Code
    name: Name | None = None
    level: Annotated[int, Field(ge=1, le=4)]
    eligible: bool
    listed: bool
    effective_from: CalendarDay
    revision: Revision = 0


@dataclass(config=_DATA, frozen=True, slots=True, kw_only=True)
class Registered:
    """An agency, and the CloudEvents `source` values that may speak for it (empty: any)."""

    agency: AgencyCode
    name: Name
    kind: Kind
    sources: tuple[NonEmpty, ...]


@dataclass(config=_DATA, frozen=True, slots=True, kw_only=True)
class TargetAssigned:
    """A ratio to be reached in a year by the nation, a group or one agency."""

    scope: Code
    indicator: Indicator
    year: Annotated[int, Field(ge=1900, le=9999)]
    ratio: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

    @property
    def exact_ratio(self) -> Fraction:
        """The ratio as the decimal that was written: 0.8 is 4/5, not the float next to it.

        Exact for up to 15 significant digits, which is as much as the JSON number keeps.
        """
        return Fraction(str(self.ratio))


@dataclass(config=_ENVELOPE, frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every CloudEvent must have, whatever its type (CloudEvents 1.0 section 3).

    `time` is optional, null counts as absent (JSON event format, section 2.2). The decoder uses
    this class alone only to tell a bad envelope from bad data.
    """

    specversion: Literal["1.0"]
    id: NonEmpty
    source: NonEmpty
    type: NonEmpty
    time: Timestamp | None = None
    data_base64: Any = None


@dataclass(config=_ENVELOPE, frozen=True, slots=True, kw_only=True)
class SubmittedEvent(Envelope):
    """On `submissions`. `data_base64` is always None here: the decoder turns it into `data`."""

    type: Literal["hoso.dossier.submitted.v1"]
    data: Submitted
    data_base64: None = None

    @property
    def key(self) -> str:
        """The record key this event belongs under."""
        return self.data.agency


@dataclass(config=_ENVELOPE, frozen=True, slots=True, kw_only=True)
class ProcessedEvent(Envelope):
    """On `processing`."""

    type: Literal["hoso.dossier.processed.v1"]
    data: Processed
    data_base64: None = None

    @property
    def key(self) -> str:
        """The record key this event belongs under."""
        return self.data.agency


@dataclass(config=_ENVELOPE, frozen=True, slots=True, kw_only=True)
class ListedEvent(Envelope):
    """On `catalogue`."""

    type: Literal["hoso.service.listed.v1"]
    data: Listed
    data_base64: None = None

    @property
    def key(self) -> str:
        """The record key this event belongs under."""
        return self.data.agency


@dataclass(config=_ENVELOPE, frozen=True, slots=True, kw_only=True)
class RegisteredEvent(Envelope):
    """On `agencies`."""

    type: Literal["hoso.agency.registered.v1"]
    data: Registered
    data_base64: None = None

    @property
    def key(self) -> str:
        """The record key this event belongs under."""
        return self.data.agency


@dataclass(config=_ENVELOPE, frozen=True, slots=True, kw_only=True)
class TargetEvent(Envelope):
    """On `targets`."""

    type: Literal["hoso.target.assigned.v1"]
    data: TargetAssigned
    data_base64: None = None

    @property
    def key(self) -> str:
        """The record key this event belongs under: `scope/indicator/year`."""
        return f"{self.data.scope}/{self.data.indicator}/{self.data.year}"


Event = SubmittedEvent | ProcessedEvent | ListedEvent | RegisteredEvent | TargetEvent
