"""A campaign of about a minute on both brokers with both stores."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from random import SystemRandom
from typing import Literal

import pytest

from tests.chaos import report
from tests.chaos.campaign import Campaign, Store
from tests.chaos.schedule import NODES, QUICK, plan, tally
from tests.kafka.apache import KafkaUnavailableError

Kind = Literal["embedded", "apache"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", ["memory", "rocksdb"])
@pytest.mark.parametrize(
    "brokers",
    [
        pytest.param("embedded", marks=pytest.mark.broker),
        pytest.param("apache", marks=pytest.mark.kafka),
    ],
)
def test_every_figure_survives_a_bad_minute(brokers: Kind, store: Store, tmp_path: Path) -> None:
    profile = QUICK if brokers == "apache" else QUICK.on(4)
    seed = int(os.environ.get("HOSO_TEST_SEED") or SystemRandom().randrange(10**6))
    print(f"HOSO_TEST_SEED={seed}")  # noqa: T201
    try:
        outcome = asyncio.run(Campaign(profile, brokers, store, seed, tmp_path, print).run())
    except KafkaUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    wrong = [*outcome.violations, *outcome.letters.problems, *outcome.comparison.differences]
    first = f"seed {seed}, {len(wrong)} wrong, first: {wrong[:1]}"
    assert outcome.good, f"{first}\n{report.text(outcome, '')}"
    print(report.text(outcome, ""))  # noqa: T201
    assert outcome.letters.malformed > 0
    assert outcome.commit_looks > 0
    nodes = NODES if brokers == "apache" else 1
    planned = tally(plan(seed, profile, nodes=nodes, on_disk=store == "rocksdb"))
    for kind, count in planned.items():
        assert outcome.faults.get(kind, 0) >= count, kind
