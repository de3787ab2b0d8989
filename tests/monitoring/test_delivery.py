"""What people are told when 91 agencies fall short and the worker dies.

By a real Prometheus and a real Alertmanager. Most of the time goes into waiting for what must not
come. Waits that a slow machine could outrun are longer than a sixtieth of the real ones: what
stays is the order of the waits, which the project's configuration relies on (RESEND_SECONDS).
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from schemas.topics import Topic
from streams.kafka.broker import free_port
from tests.api.world import World, event, list_service, register, submit
from tests.monitoring.site import (
    PROMETHEUS,
    SPEED,
    Alertmanager,
    Notification,
    Prometheus,
    Receiver,
    Server,
    eventually,
    faster,
    replaced,
    worker,
)

AGENCIES = PROMETHEUS.parent / "streams" / "data" / "agencies.csv"
GROUPS = {"national", "ministries", "provinces"}
FIGURES = ("operators", "ministries", "provinces")

RESEND_SECONDS = 8
"""Prometheus repeats an alert after so long, and Alertmanager takes it for over after four times
that without news. A sixtieth of the real minute would be shorter than a restart: Prometheus finds
Alertmanager five seconds after its start even here, and says what it said before then only after
another resend delay."""

GROUP_WAIT_SECONDS = 15
"""Longer than RESEND_SECONDS, as in earnest: a restarted Alertmanager has heard everything."""

GROUP_INTERVAL_SECONDS = 15
MARGIN_SECONDS = 5
"""For Alertmanager to do what it has a timer for."""


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
    return world.state_text() + generate_latest(world.registry).decode()


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

    def told(self) -> list[Notification]:
        """What people were told about figures so far."""
        return self.receiver.of(*FIGURES)

    def pass_time(self, seconds: float) -> None:
        """Return so many seconds later, when a heartbeat shows that alerts are still delivered."""
        until = time.monotonic() + seconds
        eventually(
            f"a heartbeat {seconds} s later",
            lambda: any(beat.at > until for beat in self.receiver.of("watchdog")),
            seconds + 120,
        )

    def pass_a_group_interval(self) -> None:
        """Whatever Alertmanager was going to tell of what it knew, it has told."""
        self.pass_time(GROUP_INTERVAL_SECONDS + MARGIN_SECONDS)

    def pass_a_restart(self) -> None:
        """The same of an Alertmanager that has just started and knew nothing."""
        self.pass_time(RESEND_SECONDS + GROUP_WAIT_SECONDS + MARGIN_SECONDS)

    def page(self) -> None:
        """Kill the worker and wait for the page, and until Alertmanager has noted that it went."""
        self.worker.kill()
        eventually("the page", lambda: self.receiver.of("pager"))
        self.pass_time(1)

    def hear_again(self, alertname: str) -> None:
        """Wait until Prometheus says once more, from now on, that this alert fires."""
        now = datetime.now(UTC)

        def heard() -> bool:
            last = self.alertmanager.last_heard(alertname)
            return last is not None and last > now

        eventually(f"{alertname} is said again", heard)

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


def _longer(rules: str, alert: str, old: str, new: str) -> str:
    """The first ``old`` after the name of ``alert`` made ``new``."""
    head, name, tail = rules.partition(f"- alert: {alert}\n")
    assert old in tail.partition("- alert:")[0], (alert, old)
    return head + name + tail.replace(old, new, 1)


@contextmanager
def running(
    directory: Path, prometheus_binary: str, alertmanager_binary: str, kept_firing: str
) -> Iterator[Site]:
    """Everything running, and the first notifications of the shortfalls delivered.

    ``kept_firing``: how long a shortfall outlasts its figures, in minutes or hours of earnest.
    """
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
    (directory / "prometheus.yml").write_text(config, encoding="utf-8")
    (directory / "rules").mkdir()
    for path in (PROMETHEUS / "rules").glob("*.yml"):
        rules = path.read_text(encoding="utf-8")
        if path.name == "alerts.yml":
            rules = replaced(
                rules,
                "scope:hoso_behind_pace:bool[14d:1h]",
                "scope:hoso_behind_pace:bool[5s:500ms]",
            )
            rules = replaced(rules, ">= 0.8 * 14 * 24", ">= 0.8 * 10")
            rules = replaced(rules, "keep_firing_for: 6h", f"keep_firing_for: {kept_firing}")
            # Prometheus finds its first targets after five seconds, whatever it is told.
            rules = _longer(rules, "HosoScrapeTooOld", "for: 5m", "for: 20m")
            # More than a scrape or two that a busy machine did not answer within a second.
            rules = _longer(rules, "HosoWorkerDown", "for: 1m", "for: 5m")
        (directory / "rules" / path.name).write_text(faster(rules), encoding="utf-8")
    routes = (PROMETHEUS / "alertmanager.yml").read_text(encoding="utf-8")
    routes = replaced(routes, "group_wait: 5m", f"group_wait: {GROUP_WAIT_SECONDS}m")
    assert f"group_interval: {GROUP_INTERVAL_SECONDS}m" in routes
    routes = replaced(faster(routes), "127.0.0.1:9099", f"127.0.0.1:{receiver.server.port}")
    (directory / "alertmanager.yml").write_text(routes, encoding="utf-8")

    alertmanager = Alertmanager(alertmanager_binary, directory, port)
    prometheus = Prometheus(
        prometheus_binary, directory, f"--rules.alert.resend-delay={RESEND_SECONDS}s"
    )
    site = Site(world, shown, exposed, prometheus, alertmanager, receiver)
    try:
        receiver.server.start()
        exposed.start()
        alertmanager.start()
        prometheus.start()
        eventually(
            "every desk is told", lambda: {n.receiver for n in site.told()} == set(FIGURES), 300
        )
        site.pass_time(1)  # Alertmanager has noted that it told them
        yield site
    finally:
        prometheus.stop()
        alertmanager.stop()
        exposed.kill()
        receiver.server.kill()


Start = Callable[[str], AbstractContextManager[Site]]


@pytest.fixture
def start(tmp_path: Path, prometheus_binary: str, alertmanager_binary: str) -> Start:
    return lambda kept_firing: running(
        tmp_path, prometheus_binary, alertmanager_binary, kept_firing
    )


@pytest.fixture
def site(start: Start) -> Iterator[Site]:
    """Its shortfalls end in Prometheus three seconds after their figures, as in a long outage."""
    with start("3m") as site:
        yield site


@pytest.fixture
def site_that_remembers(start: Start) -> Iterator[Site]:
    """Its shortfalls are kept firing for longer than the outage, as in a short one."""
    with start("6h") as site:
        yield site


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ninety_one_shortfalls_are_one_notification_and_a_dead_worker_is_one_page(
    site: Site,
) -> None:
    told = site.told()
    assert {(n.receiver, n.alertname): n.firing for n in told} == {
        ("operators", "HosoBehindPace"): everyone() | GROUPS,
        ("ministries", "HosoBehindPace"): everyone("ministry"),
        ("provinces", "HosoBehindPace"): everyone("province"),
    }
    assert len(told) == 3
    assert site.receiver.of("pager") == []
    thanh_hoa = next(
        alert
        for notification in told
        for alert in notification.alerts
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
    site.pass_a_group_interval()
    assert site.told() == told
    (page,) = site.receiver.of("pager")
    assert page.firing == {"HosoWorkerDown"}

    site.meet_the_target("H29")
    site.worker.start()
    eventually("the all-clear", lambda: len(site.receiver.of("pager")) == 2)
    assert site.receiver.of("pager")[1].resolved == {"HosoWorkerDown"}
    still = (everyone() | GROUPS) - {"H29"}
    site.await_shortfalls(still)
    # Whoever was told of them is not told anew, and the only one that is over is the one that is.
    eventually("the news", lambda: len(site.told()) >= 5)
    site.pass_a_group_interval()
    assert {(n.receiver, n.firing, n.resolved) for n in site.told()[3:]} == {
        ("operators", frozenset(still), frozenset({"H29"})),
        ("provinces", frozenset(everyone("province") - {"H29"}), frozenset({"H29"})),
    }, site.told()
    assert len(site.told()) == 5, site.told()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_prometheus_and_alertmanager_restarted_during_an_outage_stay_silent_about_figures(
    site: Site,
) -> None:
    told = site.told()
    site.page()
    site.alertmanager.stop()
    site.alertmanager.start()
    site.hear_again("HosoWorkerDown")
    site.pass_a_restart()
    assert site.told() == told
    # Alertmanager believes what it heard for four resend delays: time enough for a restart.
    site.hear_again("HosoFiguresNotFresh")
    site.prometheus.stop()
    site.prometheus.start()
    site.hear_again("HosoFiguresNotFresh")
    site.pass_a_group_interval()
    assert site.told() == told
    # The outage may end for Alertmanager before the new Prometheus says that it goes on: the page
    # may come twice.
    pages = site.receiver.of("pager")
    assert {n.firing | n.resolved for n in pages} == {frozenset({"HosoWorkerDown"})}
    eventually("the page", lambda: site.receiver.of("pager")[-1].firing)
    assert site.alertmanager.active("HosoWorkerDown", inhibited=False) == {"HosoWorkerDown"}

    site.worker.start()
    site.await_shortfalls(everyone() | GROUPS)
    site.pass_a_group_interval()
    assert site.told() == told


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_alertmanager_restarted_with_the_worker_down_hears_of_the_outage_before_it_tells_shortfalls(
    site_that_remembers: Site,
) -> None:
    """The alerts are still firing in Prometheus: only the inhibition keeps them back."""
    site = site_that_remembers
    told = site.told()
    site.alertmanager.stop()
    site.worker.kill()
    eventually(
        "the outage is known to Prometheus",
        lambda: site.prometheus.query('ALERTS{alertname="HosoWorkerDown",alertstate="firing"}'),
    )
    site.alertmanager.start()
    eventually("the page", lambda: site.receiver.of("pager"))
    eventually(
        "the shortfalls are known again, and kept back",
        lambda: site.alertmanager.active("HosoBehindPace", inhibited=True) == everyone() | GROUPS,
    )
    site.pass_a_restart()
    assert site.told() == told
    assert site.alertmanager.active("HosoBehindPace", inhibited=True) == everyone() | GROUPS
    assert len(site.receiver.of("pager")) == 1
