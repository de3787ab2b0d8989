"""Who is told what in an hour of each fault: the table of docs/runbook.md.

    python -m tests.monitoring.faults

A real Prometheus and a real Alertmanager, at SPEED times their pace, one fault after the other.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.api.world import World
from tests.monitoring.site import Pace, program
from tests.monitoring.watched import SPEED, Site, in_shortfall, running, two_in_shortfall


def one_dead(site: Site) -> None:
    first, second = site.workers
    first.server.kill()
    second.take_over()


def all_dead(site: Site) -> None:
    for worker in site.workers:
        worker.server.kill()


def brokers_away(site: Site) -> None:
    for worker in site.workers:
        worker.lose_the_brokers()


def prometheus_away(site: Site) -> None:
    site.prometheus.stop()


def alertmanager_away(site: Site) -> None:
    site.alertmanager.stop()


def some_rejected(site: Site) -> None:
    site.workers[0].reject(36, "H56")


def many_rejected(site: Site) -> None:
    site.workers[0].reject(60, "H56", "H29", "G12")


FAULTS: dict[str, tuple[Callable[[], list[World]], Callable[[Site], None]]] = {
    "one of two workers dead": (two_in_shortfall, one_dead),
    "all workers dead": (two_in_shortfall, all_dead),
    "brokers away": (two_in_shortfall, brokers_away),
    "Prometheus away": (lambda: [in_shortfall()], prometheus_away),
    "Alertmanager away": (lambda: [in_shortfall()], alertmanager_away),
    "36 events of one agency rejected in a quiet hour": (
        lambda: [in_shortfall()],
        some_rejected,
    ),
    "60 events each of three agencies rejected": (lambda: [in_shortfall()], many_rejected),
}


def row(fault: str, binaries: tuple[str, str, str], directory: Path) -> str:
    """The fault, and what went to whom in the hour that it lasted."""
    worlds, strike = FAULTS[fault]
    with running(directory, Pace(SPEED), worlds(), binaries) as site:
        before = len(site.receiver.got)
        strike(site)
        began = time.monotonic()
        time.sleep(site.pace.seconds("1h"))  # the hour itself is what is asked about
        got = site.receiver.got[before:]
    beats = [one for one in got if one.receiver == "watchdog"]
    cells = []
    for receivers in (("pager",), ("operators", "ministries", "provinces")):
        told = Counter(
            f"{name} to {one.receiver}" if len(receivers) > 1 else name
            for one in got
            if one.receiver in receivers
            for name in {alert["labels"]["alertname"] for alert in one.alerts}
        )
        minutes = [
            f"{(one.at - began) * SPEED / 60:.0f}" for one in got if one.receiver in receivers
        ]
        number = len(minutes)
        said = "; ".join(f"{name}" if n == 1 else f"{n} × {name}" for name, n in told.items())
        cells.append(f"{number}: {said} (after {', '.join(minutes)} min)" if number else "none")
    beat = "goes on" if beats and beats[-1].at > began + 30 * 60 / SPEED else "stops"
    return f"| {fault} | {cells[0]} | {cells[1]} | {beat} |"


def main() -> int:
    found = (
        program("prometheus"),
        program("prometheus-alertmanager", "alertmanager"),
        program("promtool"),
    )
    binaries = tuple(name for name in found if name is not None)
    assert len(binaries) == 3, "Prometheus and Alertmanager are not installed"
    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as directory:
            print(row(fault, binaries, Path(directory)), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
