"""Every record in schemas/examples is judged as its file says."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import schemas
from schemas.admission import admit
from schemas.decoder import Reason, Rejection, decode
from schemas.events import Event
from schemas.topics import TOPIC_OF_TYPE, Topic

EXAMPLES = Path(schemas.__file__).parent / "examples"
FILES = sorted(EXAMPLES.glob("*/*.json"))
FEBRUARY_2022_MS = 1_643_673_600_000
AGENCIES = {"H56": [], "G12": [], "H29": ["/portals/H29"]}


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def value_of(example: Mapping[str, Any]) -> bytes | None:
    if "value_base64" in example:
        return b64decode(example["value_base64"])
    value = example["value"]
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode().ljust(example.get("pad_to", 0))


def judge(example: Mapping[str, Any]) -> Event | Rejection:
    raw_headers = {
        **{name: text.encode() for name, text in example["headers"].items()},
        **{name: b64decode(text) for name, text in example.get("headers_base64", {}).items()},
    }
    key = None if example["key"] is None else example["key"].encode()
    verdict = decode(Topic(example["topic"]), value_of(example), list(raw_headers.items()), key)
    if isinstance(verdict, Rejection):
        return verdict
    agencies = {
        code: frozenset(sources) for code, sources in example.get("agencies", AGENCIES).items()
    }
    return (
        admit(
            verdict,
            key,
            example.get("timestamp_ms", FEBRUARY_2022_MS),
            agencies,
        )
        or verdict
    )


def plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Fraction):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_example_record_is_judged_as_its_file_says(path: Path) -> None:
    example = load(path)
    expect = example["expect"]

    verdict = judge(example)

    if path.parent.name == "bad":
        assert isinstance(verdict, Rejection), f"accepted: {verdict}"
        assert (verdict.reason, path.stem.startswith(verdict.reason)) == (expect["reason"], True)
        assert expect["detail"], "an empty fragment would match anything"
        assert expect["detail"] in verdict.detail
    else:
        assert not isinstance(verdict, Rejection), verdict
        assert TOPIC_OF_TYPE[verdict.type] == example["topic"]
        assert expect["data"], "an example that expects nothing shows nothing"
        got = {name: plain(getattr(verdict.data, name)) for name in expect["data"]}
        assert got == expect["data"]


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_has_an_example(reason: Reason) -> None:
    assert [f for f in FILES if f.parent.name == "bad" and load(f)["expect"]["reason"] == reason]


@pytest.mark.parametrize("kind", list(TOPIC_OF_TYPE))
def test_each_event_type_has_good_examples_in_structured_and_in_binary_mode(kind: str) -> None:
    goods = [load(f) for f in FILES if f.parent.name == "good"]
    structured = [
        e for e in goods if isinstance(e["value"], dict) and e["value"].get("type") == kind
    ]
    binary = [e for e in goods if e["headers"].get("ce_type") == kind]
    assert structured
    assert binary
