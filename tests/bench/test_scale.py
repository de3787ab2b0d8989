"""A restart with RocksDB is timed only if its figures are right."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from bench import scale

SMALL = 2000


@pytest.mark.broker
@pytest.mark.slow
def test_a_restart_is_timed_from_the_kill_to_the_right_figures() -> None:
    steps, restarted = scale.more_dossiers(2, each=SMALL)
    assert [step["dossiers"] for step in steps] == [SMALL, 2 * SMALL]
    assert restarted["dossiers"] == 2 * SMALL
    assert 0 < restarted["recovery_seconds"] < restarted["ready_seconds"]
    assert restarted["ready_seconds"] <= restarted["publishing_seconds"]
    workers = {"one": 1, "two": 2, "ratio": 2.0, "cores": 2}
    said = "\n".join(scale.lines({"workers": workers, "dossiers": steps, "restart": restarted}))
    assert "4,000 dossiers, rocksdb, SIGKILL and another worker: ready after" in said
    assert "2,000 → 4,000 dossiers, rocksdb:" in said


def test_a_restart_with_wrong_figures_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Restarted:
        app_id, directory, rss = "bench", None, 0

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def stop(self, sig: int) -> None:
            assert sig == signal.SIGKILL

        def wait_ready(self, deadline: float) -> None:
            pass

        def get(self, path: str) -> str:
            return (
                'hoso_dossiers_submitted{agency="H56",kind="province",channel="online",'
                'period="year"} 7.0'
            )

    monkeypatch.setattr(scale, "Worker", Restarted)
    with pytest.raises(ValueError, match=r"1 agencies are wrong; H56: 7, expected 8"):
        scale.restart("localhost:1", Restarted(), {"H56": 8})  # type: ignore[arg-type]
