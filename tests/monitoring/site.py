"""Prometheus, Alertmanager, a worker's exposition and a webhook receiver: real ones.

The configuration is the project's own. ``Pace`` divides every duration of it by one number, also
those inside of expressions, and those of the programs' own settings.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from streams.kafka.broker import free_port

PROMETHEUS = Path(__file__).parents[2] / "prometheus"

_WAIT = re.compile(
    r"\b(scrape_interval|scrape_timeout|evaluation_interval|interval|for|keep_firing_for|group_wait"
    r"|group_interval|repeat_interval|resolve_timeout): (\d+)([smhd])\b"
)
_RANGE = re.compile(r"\[(\d+)([smhd])(?::(\d+)([smhd]))?\]|\boffset (\d+)([smhd])\b")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Pace:
    """How many times as fast as in earnest everything goes."""

    speed: int

    def seconds(self, duration: str) -> float:
        """What ``duration``, as in a configuration ("5m"), lasts here."""
        return int(duration[:-1]) * _SECONDS[duration[-1]] / self.speed

    def _ms(self, number: str, unit: str) -> str:
        return f"{int(number) * _SECONDS[unit] * 1000 // self.speed}ms"

    def configuration(self, text: str) -> str:
        """A configuration or rule file with its waits and its ranges shortened."""

        def of_range(match: re.Match[str]) -> str:
            number, unit, step, step_unit, offset, offset_unit = match.groups()
            if offset:
                return f"offset {self._ms(offset, offset_unit)}"
            steps = f":{self._ms(step, step_unit)}" if step else ""
            return f"[{self._ms(number, unit)}{steps}]"

        if self.speed == 1:
            return text
        text = _WAIT.sub(lambda wait: f"{wait[1]}: {self._ms(wait[2], wait[3])}", text)
        return _RANGE.sub(of_range, text)

    @property
    def flags(self) -> list[str]:
        """Prometheus' own durations: as they come, but for the outages over which it remembers for
        how long an alert has been waiting (prometheus.yml says so)."""
        return [
            f"--rules.alert.resend-delay={self._ms('1', 'm')}",
            f"--rules.alert.for-grace-period={self._ms('10', 'm')}",
            f"--rules.alert.for-outage-tolerance={self._ms('25', 'h')}",
            f"--query.lookback-delta={self._ms('5', 'm')}",
            "--enable-feature=expand-external-labels",
        ]


def faster(text: str) -> str:
    """A configuration or rule file with its waits a sixtieth as long, and its ranges as they are.
    What is evaluated once an hour still is."""

    def shorten(wait: re.Match[str]) -> str:
        name, number, unit = wait.groups()
        if (name, unit) == ("interval", "h"):
            return wait[0]
        return f"{name}: {int(number) * _SECONDS[unit] * 1000 // 60}ms"

    return _WAIT.sub(shorten, text)


def replaced(text: str, old: str, new: str) -> str:
    """``text`` with ``old``, which must be there, replaced."""
    assert old in text, old
    return text.replace(old, new)


def eventually(what: str, check: Callable[[], Any], seconds: float = 180) -> Any:
    """The first true answer of ``check``; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return answer


def get_json(url: str) -> Any:
    """What ``url`` answers; None while nothing does."""
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return json.load(response)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


class Notification(NamedTuple):
    """One webhook call."""

    receiver: str
    alertname: str
    """Of the group; empty where a group holds several."""
    firing: frozenset[str]
    """Scope, agency or instance of the firing alerts, or the alert's name where there is none."""
    resolved: frozenset[str]
    at: float
    """When it came, by the monotonic clock."""
    since_start: float
    """The same in seconds from the start of the receiver."""
    alerts: list[dict[str, Any]]
    size: int
    """In bytes."""

    def __repr__(self) -> str:
        """What a person wants to see of it where a test fails."""
        said = [
            f"{len(who)} {status}" + (f" ({', '.join(sorted(who))})" if len(who) < 6 else "")
            for status, who in (("firing", self.firing), ("resolved", self.resolved))
            if who
        ]
        name = self.alertname or "(several)"
        return f"<{self.since_start:.1f} s: {self.receiver} {name}: {', '.join(said)}>"


def _subject(alert: dict[str, Any]) -> str:
    labels = alert["labels"]
    for label in ("scope", "agency", "desk"):
        if label in labels:
            return str(labels[label])
    return str(labels["alertname"])


class Server:
    """An HTTP server that can be killed and started again on its port."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.port = free_port()
        self._handler = handler
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def kill(self) -> None:
        """Nothing listens on the port any more, and open connections answer nothing."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def worker(exposition: Callable[[], str]) -> Server:
    """A server of ``/metrics``."""

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exposition().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Server(Metrics)


class Receiver:
    """Everything that Alertmanager delivered, in order; ``said`` hears all but heartbeats."""

    def __init__(self, said: Callable[[Notification], None] = lambda _: None) -> None:
        self.got: list[Notification] = []
        got, began = self.got, time.monotonic()

        class Hook(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(size))
                alerts = body["alerts"]
                by = {
                    status: frozenset(_subject(a) for a in alerts if a["status"] == status)
                    for status in ("firing", "resolved")
                }
                name = body["groupLabels"].get("alertname", "")
                now = time.monotonic()
                notification = Notification(
                    receiver=self.path[1:],
                    alertname=name,
                    firing=by["firing"],
                    resolved=by["resolved"],
                    at=now,
                    since_start=now - began,
                    alerts=alerts,
                    size=size,
                )
                got.append(notification)
                if notification.receiver != "watchdog":
                    said(notification)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = Server(Hook)

    def of(self, *receivers: str) -> list[Notification]:
        """What these receivers got so far."""
        return [
            notification for notification in list(self.got) if notification.receiver in receivers
        ]


class Process:
    """A program of Debian's packages, run from a directory of the test."""

    def __init__(
        self,
        ready_url: str,
        arguments: list[str],
        log: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._ready_url = ready_url
        self._arguments = arguments
        self._log = log
        self._environment = os.environ | (environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it answers that it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments, stdout=log, stderr=log, env=self._environment
            )

        def ready() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
            try:
                with urllib.request.urlopen(self._ready_url, timeout=30) as response:
                    return bool(response.status == 200)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return False

        eventually(f"{self._arguments[0]} is ready", ready)

    def stop(self) -> None:
        """End it in order (SIGTERM), or else by force."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def program(*names: str) -> str | None:
    """The path of the first of ``names`` that is installed."""
    return next(filter(None, map(shutil.which, names)), None)


class Prometheus(Process):
    """Prometheus over ``directory``, which holds prometheus.yml; data is kept there too."""

    def __init__(
        self,
        binary: str,
        directory: Path,
        *flags: str,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        super().__init__(
            f"{self.url}/-/ready",
            [
                binary,
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--log.level=warn",
                *flags,
            ],
            directory / "prometheus.log",
            environment,
        )

    def query(self, expr: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """The instant vector of ``expr``: labels and value of each element."""
        question = {"query": expr} | ({} if at is None else {"time": repr(at)})
        answer = get_json(f"{self.url}/api/v1/query?{urllib.parse.urlencode(question)}")
        assert answer is not None, f"Prometheus does not answer {expr}"
        assert answer["status"] == "success", answer
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]


class Alertmanager(Process):
    """Alertmanager over ``directory``, which holds alertmanager.yml and its own state."""

    def __init__(self, binary: str, directory: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(
            f"{self.url}/-/ready",
            [
                binary,
                f"--config.file={directory / 'alertmanager.yml'}",
                f"--storage.path={directory / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
                "--log.level=warn",
            ],
            directory / "alertmanager.log",
        )

    def active(self, alertname: str, inhibited: bool) -> frozenset[str]:
        """Who this alert is firing about, inhibited or not."""
        question = urllib.parse.urlencode(
            {"filter": f'alertname="{alertname}"', "inhibited": str(inhibited).lower()}
        )
        answer = get_json(f"{self.url}/api/v2/alerts?{question}") or []
        return frozenset(
            _subject(alert) for alert in answer if bool(alert["status"]["inhibitedBy"]) == inhibited
        )
