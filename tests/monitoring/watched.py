"""Workers whose agencies fall short, and whoever watches them, with two weeks of history.

``SPEED`` times as fast as in earnest in the tests, and at any pace from the command line.
"""

from __future__ import annotations

import csv
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import generate_latest

from schemas.topics import Topic
from streams.kafka.broker import free_port
from streams.processing.task import Phase
from tests.api.world import World, event, list_service, process, register, submit
from tests.monitoring.site import (
    PROMETHEUS,
    Alertmanager,
    Notification,
    Pace,
    Prometheus,
    Receiver,
    Server,
    eventually,
    replaced,
    worker,
)

SPEED = 30
"""A minute of the configuration is two seconds here. Prometheus looks for its workers and for
Alertmanager five seconds after its start, however fast the rest is: that is two and a half minutes
here, still less than what any alert waits for."""

AGENCIES = PROMETHEUS.parent / "streams" / "data" / "agencies.csv"
GROUPS = {"national": "nation", "ministries": "group", "provinces": "group"}
DESKS = ("operators", "ministries", "provinces")
INDICATORS = ("services_with_dossiers", "online_processed")
PARTITIONS = 12


def agencies() -> list[dict[str, str]]:
    with AGENCIES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def everyone(kind: str | None = None) -> set[str]:
    return {agency["code"] for agency in agencies() if kind in (None, agency["kind"])}


class Worker:
    """What a worker's /metrics shows of a world, rendered once for each state, for scrapes are
    many. Of the year only: the other periods are most of it, and no alert reads them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.show()
        self.server: Server = worker(lambda: self._shown)

    def show(self) -> None:
        text = self.world.state_text() + generate_latest(self.world.registry).decode()
        lines = text.splitlines(keepends=True)
        self._shown = "".join(
            line for line in lines if "period=" not in line or 'period="year"' in line
        )

    def take_over(self) -> None:
        """All partitions are this worker's now, and recovered."""
        for number in range(PARTITIONS):
            self.world.tasks.tasks.setdefault(number, self.world.task(number, Phase.RUNNING))
        self.show()

    def lose_the_brokers(self) -> None:
        """What a worker shows ten seconds after the last broker went: it publishes nothing, and
        says that it is not ready (tests/runtime/test_broker_away.py)."""
        kept = ("hoso_as_of_timestamp_seconds", "hoso_events_")
        lines = [line for line in self._shown.splitlines(keepends=True) if line.startswith(kept)]
        self._shown = "".join([*lines, "hoso_ready 0.0\n"])

    def reject(self, number: int, *codes: str) -> None:
        """So many events of each of these agencies are rejected."""
        for code in codes:
            topic = self.world.settings.topic(Topic.submissions)
            self.world.instruments.rejected.labels(code, "bad_data").inc(number)
            self.world.instruments.events.labels(topic, "rejected").inc(number)
        self.show()


def in_shortfall(owns: frozenset[int] | None = None) -> World:
    """A worker of 91 agencies, each with two services and not one online dossier by 25 August;
    of eight dossiers one was processed online."""
    world = World(owns=owns)
    for agency in agencies():
        code = agency["code"]
        register(world, code, agency["name"], agency["kind"])
        list_service(world, code, "1.0")
        list_service(world, code, "2.0")
        list_service(world, code, "3.0", level=2)
        for number in range(8):
            channel, service = ("online", "3.0") if number == 0 else ("in_person", "1.0")
            submit(world, code, service, f"{code}-{number}", "2022-03-01", channel=channel)
            process(world, code, f"{code}-{number}", 9, "2022-03-02")
    for indicator in INDICATORS:
        assigned = event(
            "target.assigned", scope="national", indicator=indicator, year=2022, ratio=0.8
        )
        world.send(Topic.targets, f"national/{indicator}/2022", assigned)
    world.instruments.lag.labels("hoso.submissions", "0").set(0)
    return world


def two_in_shortfall() -> list[World]:
    """Two workers, each with half of the partitions."""
    half = PARTITIONS // 2
    return [
        in_shortfall(frozenset(range(half))),
        in_shortfall(frozenset(range(half, PARTITIONS))),
    ]


def two_weeks_behind(pace: Pace, promtool: str, directory: Path) -> None:
    """What Prometheus has recorded: everybody behind the pace at every full hour of 15 days."""
    step = pace.seconds("1h")
    now = time.time()
    last = int((now - 1) / step)
    scopes = {agency["code"]: agency["kind"] for agency in agencies()} | GROUPS
    lines = ["# TYPE scope:hoso_behind_pace:bool gauge"]
    for scope, kind in scopes.items():
        for indicator in INDICATORS:
            labels = f'scope="{scope}",kind="{kind}",indicator="{indicator}"'
            lines += [
                f"scope:hoso_behind_pace:bool{{{labels}}} 1 {number * step:.3f}"
                for number in range(last - 15 * 24, last + 1)
            ]
    history = directory / "history.txt"
    history.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=8760h"]
    done = subprocess.run(
        [*command, str(history), str(directory / "tsdb")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@dataclass
class Site:
    """Workers that can be killed, and whoever watches them."""

    pace: Pace
    workers: list[Worker]
    prometheus: Prometheus
    alertmanager: Alertmanager
    receiver: Receiver

    def told(self, *receivers: str) -> list[Notification]:
        """What the desks, or these receivers, were told so far."""
        return self.receiver.of(*(receivers or DESKS))

    def pass_time(self, *durations: str) -> None:
        """Return so much of the configuration's time later, and not before a heartbeat shows that
        alerts are delivered."""
        seconds = sum(map(self.pace.seconds, durations))
        until = time.monotonic() + seconds
        eventually(
            f"a heartbeat {seconds} s later",
            lambda: any(beat.at > until for beat in self.told("watchdog")),
            seconds + max(180, self.pace.seconds("10m")),
        )

    def let_all_be_told(self) -> None:
        """Whatever Prometheus and Alertmanager were going to tell of what they know, they have
        told: an evaluation of what is said every four minutes, a group's wait, its interval."""
        self.pass_time("4m", "4m", "15m", "6m")

    def be_away(self, outage: str, *programs: Prometheus | Alertmanager) -> None:
        """Stop these, and start them again so much later."""
        for one in programs:
            one.stop()
        time.sleep(self.pace.seconds(outage))  # nothing answers meanwhile
        for one in programs:
            one.start()

    def meet_the_target(self, code: str) -> None:
        """The agency has an online dossier for each of its services."""
        for one in self.workers:
            for service in ("1.0", "2.0"):
                submit(one.world, code, service, f"{code}-{service}", "2022-08-01")
            one.show()

    def all_fall_short(self) -> None:
        """Prometheus has an alert of everybody. Not at every moment: on a busy machine it may be
        late, and a query looks back for little longer than from one evaluation to the next."""
        everybody = everyone() | set(GROUPS)
        question = 'ALERTS{alertname="HosoBehindPace",alertstate="firing"}'
        eventually(
            "everybody falls short",
            lambda: {labels["scope"] for labels, _ in self.prometheus.query(question)} == everybody,
        )


@contextmanager
def running(
    directory: Path,
    pace: Pace,
    workers: list[World],
    binaries: tuple[str, str, str],
    language: str = "vi",
    said: Callable[[Notification], None] = lambda _: None,
) -> Iterator[Site]:
    """Everything running, and each desk told of the shortfalls."""
    prometheus_binary, alertmanager_binary, promtool = binaries
    receiver, shown, port = Receiver(said), [Worker(world) for world in workers], free_port()
    config = pace.configuration((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    config = replaced(config, "127.0.0.1:9093", f"127.0.0.1:{port}")
    addresses = ", ".join(f'"127.0.0.1:{one.server.port}"' for one in shown)
    config = replaced(config, '"127.0.0.1:6066"', addresses)
    (directory / "prometheus.yml").write_text(config, encoding="utf-8")
    (directory / "rules").mkdir()
    for path in (PROMETHEUS / "rules").glob("*.yml"):
        rules = path.read_text(encoding="utf-8")
        if path.name == "alerts.yml":
            # At no time of day, at whatever time of day this runs.
            rules = replaced(rules, "hour() >= 1 < 3", "hour() > 24")
            seconds = pace.seconds("2m")
            rules = replaced(rules, "timestamp[1d]) > 120", f"timestamp[1d]) > {seconds}")
        (directory / "rules" / path.name).write_text(pace.configuration(rules), encoding="utf-8")
    routes = pace.configuration((PROMETHEUS / "alertmanager.yml").read_text(encoding="utf-8"))
    routes = replaced(routes, "127.0.0.1:9099", f"127.0.0.1:{receiver.server.port}")
    (directory / "alertmanager.yml").write_text(routes, encoding="utf-8")
    two_weeks_behind(pace, promtool, directory)

    alertmanager = Alertmanager(alertmanager_binary, directory, port)
    prometheus = Prometheus(
        prometheus_binary,
        directory,
        *pace.flags,
        environment={
            "HOSO_GRAFANA_URL": "https://grafana.example.vn",
            "HOSO_RUNBOOK_URL": "https://wiki.example.vn/runbook",
            "HOSO_ALERT_LANGUAGE": language,
        },
    )
    site = Site(pace, shown, prometheus, alertmanager, receiver)
    try:
        receiver.server.start()
        for one in shown:
            one.server.start()
        alertmanager.start()
        prometheus.start()
        eventually(
            "every desk is told",
            lambda: {n.receiver for n in site.told()} == set(DESKS),
            max(300, pace.seconds("30m")),
        )
        site.pass_time("1m")  # Alertmanager has noted that it told them
        yield site
    finally:
        prometheus.stop()
        alertmanager.stop()
        for one in shown:
            one.server.kill()
        receiver.server.kill()
