"""What may be asked: the query parameters of the API, as models.

A wrong parameter is refused with its name and what was expected (contract, section 6).
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, TypeVar

from multidict import MultiMapping
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from streams.domain.calendar import PERIOD_KINDS, PeriodKind
from streams.domain.definitions import DEFINITIONS


class BadParameterError(ValueError):
    """A query parameter is wrong; the message says what was expected."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter


def day_of_text(text: object) -> date:
    """``YYYY-MM-DD`` and no other way to write a day. Raises ``ValueError``."""
    day = date.fromisoformat(str(text))
    if day.isoformat() != text:
        raise ValueError
    return day


def _definition(text: str) -> str:
    if text not in DEFINITIONS:
        raise ValueError
    return text


class IndicatorsQuery(BaseModel):
    """A question for figures. A field's description follows "is not" where a value is wrong."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    period: PeriodKind = Field("year", description=f"one of {', '.join(PERIOD_KINDS)}")
    as_of: Annotated[date, BeforeValidator(day_of_text)] | None = Field(
        None, description="a date YYYY-MM-DD"
    )
    """None: the worker's own as-of day."""
    definition: (
        Annotated[
            str,
            BeforeValidator(_definition),
            Field(json_schema_extra={"enum": list[Any](DEFINITIONS)}),
        ]
        | None
    ) = Field(None, description=f"one of {', '.join(DEFINITIONS)}")
    """None: that of ``HOSO_DEFINITION``."""


class ServicesQuery(IndicatorsQuery):
    """A question for the services behind a ratio."""

    with_dossiers: Literal["true", "false"] | None = Field(None, description="true or false")
    """None: both."""


class NoQuery(BaseModel):
    """A question without parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Q = TypeVar("Q", bound=BaseModel)


def read(model: type[Q], query: MultiMapping[str]) -> Q:
    """The question that ``query`` asks. Raises ``BadParameterError``."""
    fields = model.model_fields
    for name in query:
        if name not in fields:
            raise BadParameterError(
                name, f"no such parameter, expected {', '.join(sorted(fields)) or 'none'}"
            )
        if len(query.getall(name)) > 1:
            raise BadParameterError(name, "given more than once")
    try:
        return model.model_validate(dict(query))
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise BadParameterError(
            name, f"{query[name]!r} is not {fields[name].description}"
        ) from error
