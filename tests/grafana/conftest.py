"""One monitored register for all tests here: replaying the scenario takes most of a minute."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.grafana.monitored import Monitored


@pytest.fixture(scope="session")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    """A Prometheus that scrapes a worker with all of ``published``, two of whose past days it
    remembers, and some rejected events of one agency."""
    missing = [tool for tool in ("prometheus", "promtool") if shutil.which(tool) is None]
    if missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"missing: {', '.join(missing)} (Debian's package prometheus)")
        pytest.skip(f"missing: {', '.join(missing)} (Debian's package prometheus)")
    with Monitored(tmp_path_factory.mktemp("monitored")) as running:
        running.send_rejected("H56", 3)
        running.wait_until_seen("hoso_events_rejected_total", 3)
        running.send_rejected("H56", 2)
        running.wait_until_seen("hoso_events_rejected_total", 5)
        running.wait_until("sum(sum_over_time(instance:hoso_events_rejected:count[1h])) == 5")
        yield running
