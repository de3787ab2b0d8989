"""Clients that start while the brokers are away."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from streams.kafka import reconnect
from streams.kafka.reconnect import start_when_reachable


async def test_a_start_is_tried_again_until_a_broker_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconnect, "RECONNECT_SECONDS", 0)
    outcomes: list[Exception | None] = [KafkaConnectionError(), KafkaConnectionError(), None]

    async def start() -> None:
        if (error := outcomes.pop(0)) is not None:
            raise error

    await start_when_reachable(start)
    assert outcomes == []


async def test_what_waiting_does_not_cure_is_raised_at_once() -> None:
    async def start() -> None:
        raise TopicAuthorizationFailedError

    with pytest.raises(TopicAuthorizationFailedError):
        await start_when_reachable(start)
