"""Nothing in hoso reads a record of a transaction that was aborted or is open (contract, 1)."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry

from streams.runtime.app import Worker
from streams.settings import Settings

ROOT = Path(__file__).parents[2]
MAKERS = {"streams/kafka/consumers.py", "streams/audit/logs.py"}
"""Who may make a consumer; the audit by itself, so that it does not share a fault."""


def _uses(tree: ast.AST) -> Iterator[ast.AST]:
    """Where the class of consumers is used for more than a type, or under another name."""
    annotations = {
        id(node)
        for holder in ast.walk(tree)
        for hint in (getattr(holder, "annotation", None), getattr(holder, "returns", None))
        if hint is not None
        for node in ast.walk(hint)
    }
    for node in ast.walk(tree):
        named = isinstance(node, ast.Name) and node.id == "AIOKafkaConsumer"
        reached = isinstance(node, ast.Attribute) and node.attr == "AIOKafkaConsumer"
        if (named or reached) and id(node) not in annotations:
            yield node
        if isinstance(node, ast.alias) and node.name == "AIOKafkaConsumer" and node.asname:
            yield node


def test_a_consumer_is_made_in_two_places_only_and_both_read_committed_records() -> None:
    makers = set()
    for path in sorted((ROOT / "streams").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text())
        uses = list(_uses(tree))
        if not uses:
            continue
        assert name in MAKERS, f"{name} makes a consumer; use plain_consumer"
        makers.add(name)
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        made = [call for call in calls if call.func in uses]
        assert len(made) == len(uses), f"{name}: the class is used without being called"
        for call in made:
            levels = [word.value for word in call.keywords if word.arg == "isolation_level"]
            assert [ast.literal_eval(level) for level in levels] == ["read_committed"], name
    assert makers == MAKERS


def test_a_second_way_to_make_a_consumer_is_seen() -> None:
    for text in (
        "AIOKafkaConsumer(group_id=None)",
        "aiokafka.AIOKafkaConsumer()",
        "make = partial(AIOKafkaConsumer)",
        "from aiokafka import AIOKafkaConsumer as Reader",
    ):
        assert list(_uses(ast.parse(text))), text
    for text in ("from aiokafka import AIOKafkaConsumer", "x: AIOKafkaConsumer | None = None"):
        assert not list(_uses(ast.parse(text))), text


async def test_the_workers_consumer_reads_committed_records() -> None:
    app = Worker(Settings(), CollectorRegistry()).faust
    loop = asyncio.get_running_loop()
    consumer = app.consumer._new_consumer_thread()._create_consumer(loop)
    assert consumer._isolation_level == "read_committed"
