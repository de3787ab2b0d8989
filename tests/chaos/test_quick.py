"""A campaign of about a minute on each broker, each with another store."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from random import SystemRandom
from typing import Literal

import pytest

from tests.chaos import report
from tests.chaos.campaign import Campaign, Store
from tests.chaos.schedule import TINY, Profile
from tests.kafka.apache import KafkaUnavailableError


def _run(
    profile: Profile, brokers: Literal["apache", "embedded"], store: Store, directory: Path
) -> None:
    seed = int(os.environ.get("HOSO_TEST_SEED") or SystemRandom().randrange(10**6))
    print(f"HOSO_TEST_SEED={seed}")  # noqa: T201
    try:
        outcome = asyncio.run(Campaign(profile, brokers, store, seed, directory, print).run())
    except KafkaUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    assert outcome.good, report.text(outcome, "")
    assert outcome.letters.malformed > 0
    assert outcome.faults["kill"] >= profile.kills
    assert outcome.faults["freeze"] == profile.freezes


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.timeout(400)
def test_every_figure_survives_a_bad_minute_on_the_embedded_broker(tmp_path: Path) -> None:
    _run(TINY.on(4), "embedded", "memory", tmp_path)


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_every_figure_survives_a_bad_minute_on_three_apache_brokers(tmp_path: Path) -> None:
    _run(TINY, "apache", "rocksdb", tmp_path)
