"""Programs of Debian's packages; without them tests are skipped, but fail in CI (CI=true)."""

from __future__ import annotations

import os

import pytest

from tests.monitoring.site import program


def _required(*names: str) -> str:
    found = program(*names)
    if found is None:
        reason = f"{names[0]} is not installed (.ci/install-tools)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def prometheus_binary() -> str:
    return _required("prometheus")


@pytest.fixture(scope="session")
def promtool() -> str:
    return _required("promtool")


@pytest.fixture(scope="session")
def alertmanager_binary() -> str:
    return _required("prometheus-alertmanager", "alertmanager")


@pytest.fixture(scope="session")
def amtool() -> str:
    return _required("amtool")
