"""What people are told when 91 agencies fall short and the worker dies.

By a real Prometheus and a real Alertmanager.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from schemas.topics import Topic
from tests.monitoring.site import (
    PROMETHEUS,
    SPEED,
    Alertmanager,
    Prometheus,
    Receiver,
    Server,
    eventually,
    faster,
    free_port,
    replaced,
    worker,
)
from tests.web.world import World, event, list_service, register, submit

AGENCIES = PROMETHEUS.parent / "streams" / "reference" / "agencies.csv"
GROUPS = {"national", "ministries", "provinces"}
FIGURES = ("operators", "ministries", "provinces")


def agencies() -> list[dict[str, str]]:
    with AGENCIES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def everyone(kind: str | None = None) -> set[str]:
    return {agency["code"] for agency in agencies() if kind in (None, agency["kind"])}


def in_shortfall() -> World:
    """A worker of 91 agencies, each with two services and not one dossier by 25 August."""
    world = World()
    for agency in agencies():
        register(world, agency["code"], agency["name"], agency["kind"])
        list_service(world, agency["code"], "1.0")
        list_service(world, agency["code"], "2.0")
    for indicator in ("services_with_dossiers", "online_processed"):
        assigned = event(
            "target.assigned", scope="national", indicator=indicator, year=2022, ratio=0.8
        )
        world.send(Topic.targets, f"national/{indicator}/2022", assigned)
    world.instruments.lag.labels("hoso.submissions", "0").set(0)
    return world


def exposition(world: World) -> str:
    """What the worker's /metrics shows."""
    return world.state_metrics.text() + generate_latest(world.registry).decode()


@dataclass
class Site:
    """A worker that can be killed, and whoever watches it."""

    world: World
    shown: list[str]
    """The exposition, rendered once for each state of the world: scrapes are many here."""
    worker: Server
    prometheus: Prometheus
    alertmanager: Alertmanager
    receiver: Receiver

    def heartbeats(self, number: int) -> None:
        """Return when the watchdog has been delivered so many times more, about once a second."""
        until = len(self.receiver.of("watchdog")) + number
        eventually("the watchdog", lambda: len(self.receiver.of("watchdog")) >= until, 120)

    def page(self) -> None:
        """Kill the worker and wait for the page."""
        self.worker.kill()
        eventually("the page", lambda: self.receiver.of("pager"))

    def meet_the_target(self, code: str) -> None:
        """The agency has an online dossier for each of its services."""
        for service in ("1.0", "2.0"):
            submit(self.world, code, service, f"{code}-{service}", "2022-08-01")
        self.shown[0] = exposition(self.world)

    def await_shortfalls(self, who: set[str]) -> None:
        """Wait until exactly these are behind their pace and nothing silences them."""
        eventually(
            f"{len(who)} shortfalls",
            lambda: self.alertmanager.active("HosoBehindPace", inhibited=False) == who,
        )


@pytest.fixture
def site(tmp_path: Path, prometheus_binary: str, alertmanager_binary: str) -> Iterator[Site]:
    """Everything running, and the first notifications of the shortfalls delivered."""
    world, receiver = in_shortfall(), Receiver()
    shown = [exposition(world)]
    exposed = worker(lambda: shown[0])
    port = free_port()
    config = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
    for name, usual in (
        ("scrape_interval", "15s"),
        ("scrape_timeout", "10s"),
        ("evaluation_interval", "30s"),
    ):
        # A second: a busy machine cannot keep up with less.
        config = replaced(config, f"{name}: {usual}", f"{name}: {SPEED}s")
    config = replaced(faster(config), "127.0.0.1:9093", f"127.0.0.1:{port}")
    config = replaced(config, "127.0.0.1:6066", f"127.0.0.1:{exposed.port}")
    (tmp_path / "prometheus.yml").write_text(config, encoding="utf-8")
    (tmp_path / "rules").mkdir()
    for path in (PROMETHEUS / "rules").glob("*.yml"):
        rules = path.read_text(encoding="utf-8")
        if path.name == "alerts.yml":
            rules = replaced(
                rules,
                "scope:hoso_behind_pace:bool[14d:1h]",
                "scope:hoso_behind_pace:bool[5s:500ms]",
            )
            rules = replaced(rules, ">= 0.8 * 14 * 24", ">= 0.8 * 10")
            # Outages here outlast it, as a long one does: the alerts end in Prometheus meanwhile.
            rules = replaced(rules, "keep_firing_for: 6h", "keep_firing_for: 3m")
            # Prometheus finds its first targets after five seconds, whatever it is told.
            head, alert, tail = rules.partition("- alert: HosoScrapeTooOld")
            rules = head + alert + tail.replace("for: 5m", "for: 20m", 1)
        (tmp_path / "rules" / path.name).write_text(faster(rules), encoding="utf-8")
    routes = faster((PROMETHEUS / "alertmanager.yml").read_text(encoding="utf-8"))
    routes = replaced(routes, "127.0.0.1:9099", f"127.0.0.1:{receiver.server.port}")
    (tmp_path / "alertmanager.yml").write_text(routes, encoding="utf-8")

    alertmanager = Alertmanager(alertmanager_binary, tmp_path, port)
    prometheus = Prometheus(prometheus_binary, tmp_path, "--rules.alert.resend-delay=1s")
    try:
        receiver.server.start()
        exposed.start()
        alertmanager.start()
        prometheus.start()
        eventually("the desks are told", lambda: len(receiver.of(*FIGURES)) >= 3)
        yield Site(world, shown, exposed, prometheus, alertmanager, receiver)
    finally:
        prometheus.stop()
        alertmanager.stop()
        exposed.kill()
        receiver.server.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ninety_one_shortfalls_are_one_notification_and_a_dead_worker_is_one_page(
    site: Site,
) -> None:
    told = site.receiver.of(*FIGURES)
    assert {(n.receiver, n.alertname): n.firing for n in told} == {
        ("operators", "HosoBehindPace"): everyone() | GROUPS,
        ("ministries", "HosoBehindPace"): everyone("ministry"),
        ("provinces", "HosoBehindPace"): everyone("province"),
    }
    assert len(told) == 3
    assert site.receiver.of("pager") == []
    thanh_hoa = next(
        alert
        for alert in told[0].alerts + told[1].alerts + told[2].alerts
        if alert["labels"]["scope"] == "H56"
    )
    assert thanh_hoa["annotations"] == {
        "summary": "Thanh Hóa (H56) is behind pace for services with online dossiers",
        "description": "The year so far stands at 0%; on course to the target of 80% it would be "
        "at 51.87% by now. It has been below for two weeks. 2 more services with an online dossier "
        "would meet the target.",
        "runbook_url": "docs/runbook.md#hosobehindpace",
        "dashboard_url": "http://localhost:3000/d/hoso-agency?var-agency=H56",
    }
    assert thanh_hoa["labels"].keys() == {
        "alertname", "scope", "kind", "indicator", "severity", "layer"
    }  # fmt: skip

    site.page()
    eventually(
        "the shortfalls end in Prometheus, which sees no figures",
        lambda: not site.prometheus.query('ALERTS{alertname="HosoBehindPace"}'),
    )
    site.heartbeats(20)  # longer than the groups wait between notifications
    assert site.receiver.of(*FIGURES) == told
    (page,) = site.receiver.of("pager")
    assert page.firing == {"HosoWorkerDown"}

    site.meet_the_target("H29")
    site.worker.start()
    eventually("the all-clear", lambda: len(site.receiver.of("pager")) == 2)
    assert site.receiver.of("pager")[1].resolved == {"HosoWorkerDown"}
    still = (everyone() | GROUPS) - {"H29"}
    site.await_shortfalls(still)
    # Whoever was told of them is not told anew, and the only one that is over is the one that is.
    eventually("the news", lambda: len(site.receiver.of(*FIGURES)) >= 5)
    site.heartbeats(20)
    assert {(n.receiver, n.firing, n.resolved) for n in site.receiver.of(*FIGURES)[3:]} == {
        ("operators", frozenset(still), frozenset({"H29"})),
        ("provinces", frozenset(everyone("province") - {"H29"}), frozenset({"H29"})),
    }
    assert len(site.receiver.of(*FIGURES)) == 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_prometheus_and_alertmanager_restarted_during_an_outage_stay_silent_about_figures(
    site: Site,
) -> None:
    told = site.receiver.of(*FIGURES)
    site.page()
    site.alertmanager.stop()
    site.alertmanager.start()
    site.heartbeats(15)
    site.prometheus.stop()
    site.prometheus.start()
    site.heartbeats(20)
    assert site.receiver.of(*FIGURES) == told
    assert [n.firing for n in site.receiver.of("pager")] == [{"HosoWorkerDown"}]
    assert site.alertmanager.active("HosoWorkerDown", inhibited=False) == {"HosoWorkerDown"}

    site.worker.start()
    site.await_shortfalls(everyone() | GROUPS)
    assert site.receiver.of(*FIGURES) == told


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_alertmanager_restarted_with_the_worker_down_hears_of_the_outage_before_it_tells_shortfalls(
    site: Site,
) -> None:
    """The alerts are still firing in Prometheus: only the inhibition keeps them back."""
    told = site.receiver.of(*FIGURES)
    site.alertmanager.stop()
    site.worker.kill()
    eventually(
        "the outage is known to Prometheus",
        lambda: site.prometheus.query('ALERTS{alertname="HosoWorkerDown",alertstate="firing"}'),
    )
    site.alertmanager.start()
    eventually("the page", lambda: site.receiver.of("pager"))
    site.heartbeats(20)
    assert site.receiver.of(*FIGURES) == told
    assert len(site.receiver.of("pager")) == 1
