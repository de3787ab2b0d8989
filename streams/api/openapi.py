"""What is served, as OpenAPI 3.1: made of the models of parameters and answers, and nothing else.

A parameter is described by the model that reads it, an answer by the type that it is built as.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata
from typing import Any

from pydantic import BaseModel, TypeAdapter

from streams.api.pages.questions import AgencyQuery, ScoreboardQuery, WhyQuery
from streams.api.queries import IndicatorsQuery, NoQuery, ServicesQuery
from streams.views.answers import (
    ErrorAnswer,
    IndicatorsAnswer,
    RejectedAnswer,
    ServicesAnswer,
)

_ANSWERS: tuple[Any, ...] = (IndicatorsAnswer, ServicesAnswer, RejectedAnswer, ErrorAnswer)
_REF = "#/components/schemas/{model}"
_CODE = {
    "name": "code",
    "in": "path",
    "required": True,
    "description": "the code of an agency",
    "examples": {"province": {"summary": "Thanh Hóa", "value": "H56"}},
    "schema": {"type": "string", "minLength": 1, "maxLength": 64},
}


@lru_cache
def document(*, metrics: bool = True, pages: bool = True) -> dict[str, Any]:
    """All paths; the metrics and the pages where they are served."""
    paths = {
        "/api/v1/indicators": _get(
            "The figures of every group and agency, of any day",
            _json(IndicatorsAnswer),
            IndicatorsQuery,
            errors=(400, 503),
        ),
        "/api/v1/agencies/{code}/services": _get(
            "The services behind an agency's ratio",
            _json(ServicesAnswer),
            ServicesQuery,
            errors=(400, 404, 503),
        ),
        "/api/v1/agencies/{code}/rejected": _get(
            "An agency's rejected records by reason",
            _json(RejectedAnswer),
            NoQuery,
            errors=(400, 404, 503),
        ),
        "/api/v1/openapi.json": _get(
            "This document", {"application/json": {"schema": {"type": "object"}}}, NoQuery
        ),
        "/healthz": _health("Whether the process is alive and gets on"),
        "/readyz": _health("Whether its figures may be shown"),
    }
    if metrics:
        text = {"schema": {"type": "string"}}
        paths["/metrics"] = _get(
            "Prometheus metrics", {"text/plain": text, "application/openmetrics-text": text}, None
        )
    if pages:
        paths |= {
            "/": _page("The scoreboard", ScoreboardQuery),
            "/agencies/{code}": _page("An agency", AgencyQuery, 404),
            "/why": _page("What stands behind the figures of a scope", WhyQuery, 404),
        }
    for path, item in paths.items():
        if "{code}" in path:
            item["parameters"] = [_CODE]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hoso",
            "version": metadata.version("hoso"),
            "description": "How much online public services are really used: figures, and what is "
            "behind them. Days are calendar days in Asia/Ho_Chi_Minh.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _schemas() -> dict[str, Any]:
    adapters = [(answer, "serialization", TypeAdapter(answer)) for answer in _ANSWERS]
    _, found = TypeAdapter.json_schemas(adapters, ref_template=_REF)  # type: ignore[arg-type]
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def _json(answer: Any) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(model=answer.__name__)}}}


def _get(
    summary: str,
    content: dict[str, Any],
    query: type[BaseModel] | None,
    errors: tuple[int, ...] = (400,),
) -> dict[str, Any]:
    says = {
        400: "A parameter is wrong, unknown or given twice",
        404: "No agency with this code is registered",
        503: "It cannot be told now; try again soon",
    }
    responses = {"200": {"description": "As asked", "content": content}}
    if query is not None:
        responses |= {
            str(status): {"description": says[status], "content": _json(ErrorAnswer)}
            for status in errors
        }
    parameters = [] if query is None else _parameters(query)
    return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}


def _page(summary: str, query: type[BaseModel], *errors: int) -> dict[str, Any]:
    html = {"text/html": {"schema": {"type": "string"}}}
    forms = html | {
        "text/csv": {"schema": {"type": "string"}},
        "application/json": {"schema": {"type": "object"}},
    }
    item = _get(summary, forms, query, (400, *errors, 503))
    for status, response in item["get"]["responses"].items():
        if status != "200":
            response["content"] = html | _json(ErrorAnswer)
    return item


def _health(summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    item = _get(summary, content, None)
    no = {"description": "No, and why", "content": content}
    item["get"]["responses"]["503"] = no
    return item


def _parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    schema = query.model_json_schema(mode="validation")
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": field.get("description", ""),
            "schema": _of_a_parameter(field),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _of_a_parameter(field: dict[str, Any]) -> dict[str, Any]:
    """Without null: a parameter that is not given is left out."""
    kinds = [one for one in field.get("anyOf", [field]) if one != {"type": "null"}]
    found = {
        name: value
        for name, value in (field | kinds[0] if len(kinds) == 1 else field).items()
        if name not in ("anyOf", "title", "description") and (name, value) != ("default", None)
    }
    return found if len(kinds) == 1 else found | {"anyOf": kinds}
