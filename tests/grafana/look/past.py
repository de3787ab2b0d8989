"""What Prometheus remembers of a register to which things happened: one storage, a moment of each.

Real workers process the scenario ``published``; their history is exported and put into Prometheus'
storage as docs/metrics.md says, moved in time so that the day before the as-of day is yesterday. A
Prometheus with the project's rules then scrapes them while alerts fire, events are rejected and
workers die. Whoever asks as of a moment later gets what dashboards would have got then.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaProducer

from streams.domain.calendar import ZONE
from streams.kafka.broker import EmbeddedBroker, free_port
from tests.grafana.monitored import AS_OF, JOB, Process
from tests.monitoring.site import faster

ROOT = Path(__file__).parents[3]
MOMENTS = {
    "history": "nothing was ever scraped, only history is there",
    "normal": "two workers, no alert",
    "shortfalls": "every agency behind its pace or below last year has an alert",
    "rejected": "some events were rejected, the first ones ever",
    "worker dead": "one of two workers is dead, the other shows every agency",
    "all dead": "both workers are dead",
}
REJECTED = {"future_time": 5, "not_json": 3}
AGENCIES = 91
_OF_THE_PIPELINE = (
    "up|hoso_(ready|consumer_lag|behind_records|conservation_difference|services_listed)"
    "|(instance_outcome|instance_topic|topic|job):.+:(rate5m|sum)"
    "|instance:hoso_(partitions|agencies):count|instance:hoso_batch_seconds:quantile5m"
)
HOURS = 7
"""That the pipeline's page shows, and one."""
DAYS = 96
"""Of history before the first scrape; three days of a year ago are there too."""


class Past(NamedTuple):
    """A directory with the storage, and which moment was when (seconds since 1970)."""

    home: Path
    moments: dict[str, float]

    @classmethod
    def kept(cls, home: Path) -> Self:
        """One that was recorded before."""
        return cls(home, json.loads((home / "moments.json").read_text(encoding="utf-8")))

    def prometheus(self) -> Prometheus:
        """One that has the storage and scrapes nothing."""
        return Prometheus(self.home, {})


def record(home: Path) -> Past:
    """Let all of it happen, which takes about two minutes."""
    with EmbeddedBroker() as broker:
        recorder = _Recorder(home, broker.bootstrap)
        try:
            recorder.run()
        finally:
            recorder.stop()
    (home / "moments.json").write_text(json.dumps(recorder.moments), encoding="utf-8")
    return Past(home, recorder.moments)


class Prometheus:
    """A running one on the storage below ``home``."""

    def __init__(self, home: Path, config: dict[str, Any]) -> None:
        self.port = free_port()
        (home / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
        self._process = Process(
            "prometheus",
            [
                *("prometheus", f"--config.file={home / 'prometheus.yml'}"),
                f"--storage.tsdb.path={home / 'tsdb'}",
                "--storage.tsdb.retention.time=10y",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            home,
            {},
        )
        self._process.wait_for(lambda: bool(self._get("/-/ready")), "ready")

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The series of an instant query."""
        asked = {"query": expression} | ({} if at is None else {"time": str(at)})
        answer = json.loads(self._get(f"/api/v1/query?{urllib.parse.urlencode(asked)}"))
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def wait_for(self, expression: str, seconds: float = 90) -> None:
        """Return when the expression finds something."""
        self._process.wait_for(lambda: bool(self.query(expression)), expression, seconds)

    def stop(self) -> None:
        self._process.stop()

    def _get(self, path: str) -> bytes:
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=60) as response:
            body: bytes = response.read()
            return body


class _Recorder:
    def __init__(self, home: Path, brokers: str) -> None:
        self.moments: dict[str, float] = {}
        self._home = home
        self._brokers = brokers
        self._workers: dict[int, Process] = {}
        self._prometheus: Prometheus | None = None

    def run(self) -> None:
        first, second = free_port(), free_port()
        for port in (first, second):
            self._workers[port] = self._hoso(f"worker-{port}", port, "worker")
            self._workers[port].wait_for(lambda port=port: _ready(port), "ready")
        self._hoso("portals", 0, "simulate", "--scenario", "published").ended_well(300)
        for port, worker in self._workers.items():
            worker.wait_for(lambda port=port: _caught_up(port), "caught up", 150)
        self._backfill_history()
        # Before the hours that are repeated below, and not in the minutes after midnight, when an
        # instant query sees the sample of the day before.
        before = time.time() - (HOURS + 1) * 3600
        in_day = (
            before - datetime.now(ZONE).replace(hour=0, minute=0, second=0).timestamp()
        ) % 86_400
        self.moments["history"] = before - (600 if in_day < 360 else 0)

        self._start_prometheus(str)
        self._wait_for(f"{_every_agency()} and on () count(up == 1) == 2")
        self._wait_for("count(scope:hoso_behind_pace:bool) > 180")
        self._wait_for("count(hoso_ready offset 11s) == 2")
        self._now("normal")

        asyncio.run(self._send_rejected())
        self._wait_for(f"sum(hoso_events_rejected_total offset 6s) == {sum(REJECTED.values())}")
        # A graph shows what was counted until a whole minute.
        counted = (time.time() // 60 + 1) * 60

        # Alerts ask whether a shortfall has lasted for weeks, and the pipeline's page shows hours.
        self._repeat('{__name__=~".+:bool"}', 3600, 21 * 24)
        self._repeat(f'{{__name__=~"{_OF_THE_PIPELINE}"}}', 60, HOURS)
        self._start_prometheus(faster)
        self._wait_for('count(ALERTS{alertstate="firing",alertname="HosoBehindPace"}) > 100')
        self._wait_for('count(ALERTS{alertstate="firing",alertname="HosoBelowLastYear"}) > 50')
        self._now("shortfalls")
        self._wait_for(f"vector(time()) > {counted + 1}")
        self._now("rejected")

        self._workers.pop(second).kill()
        self._wait_for('ALERTS{alertstate="firing",alertname="HosoWorkerDown"}')
        # Rules record at their evaluation only, and a graph has a point every 15 seconds.
        ago = " offset 16s"
        self._wait_for(
            f"{_every_agency(ago)} and on () min(hoso_ready{ago}) == 1"
            f" and on () count((up{ago}) == 0) == 1"
        )
        self._now("worker dead")

        self._workers.pop(first).kill()
        self._wait_for("count(up == 0) == 2")
        self._wait_for("count((up offset 6s) == 0) == 2")
        self._now("all dead")

    def stop(self) -> None:
        if self._prometheus is not None:
            self._prometheus.stop()
        for worker in self._workers.values():
            worker.stop()

    def _now(self, moment: str) -> None:
        self.moments[moment] = time.time()

    def _wait_for(self, expression: str) -> None:
        assert self._prometheus is not None
        self._prometheus.wait_for(expression)

    def _hoso(self, name: str, port: int, *arguments: str) -> Process:
        environment = {
            "HOSO_BROKERS": self._brokers,
            "HOSO_AS_OF": AS_OF,
            "HOSO_WEB_PORT": str(port),
            "HOSO_DATA_DIR": str(self._home / name),
        }
        command = [sys.executable, "-m", "streams", *arguments]
        return Process(name, command, self._home, environment)

    def _start_prometheus(self, changed: Callable[[str], str]) -> None:
        if self._prometheus is not None:
            self._prometheus.stop()
        rules = self._home / "rules"
        rules.mkdir(exist_ok=True)
        for file in (ROOT / "prometheus" / "rules").glob("*.yml"):
            text = changed(file.read_text(encoding="utf-8"))
            (rules / file.name).write_text(text, encoding="utf-8")
        targets = [f"127.0.0.1:{port}" for port in self._workers]
        self._prometheus = Prometheus(
            self._home,
            {
                # A scrape may take as long as the interval; a machine under load needs it.
                "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
                "rule_files": [str(rules / "*.yml")],
                "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": targets}]}],
            },
        )

    def _backfill_history(self) -> None:
        last = date.fromisoformat(AS_OF) - timedelta(days=1)
        year_ago = last - timedelta(days=365)
        today = datetime.now(ZONE).date()
        moved = (today - date.fromisoformat(AS_OF)).days * 86_400
        for first, end in (
            (year_ago - timedelta(days=1), year_ago + timedelta(days=1)),
            (last - timedelta(days=DAYS - 1), last),
        ):
            export = self._hoso(
                *("export", 0, "export", "openmetrics"),
                *("--from", first.isoformat(), "--to", end.isoformat()),
                *("-o", str(self._home / "history.txt")),
            )
            export.ended_well(120)
            exported = (self._home / "history.txt").read_text(encoding="utf-8")
            self._backfill(
                line if line.startswith("#") else _later(line, moved)
                for line in exported.splitlines()
            )

    def _repeat(self, selector: str, every: int, hours: int) -> None:
        """Write what these series showed when all was normal as what they showed all the hours
        before: workers are not run for weeks here."""
        assert self._prometheus is not None
        # On the hour, as a subquery asks: an instant sees a sample for five minutes only.
        last = int(time.time()) // every * every
        times = range(last - hours * 3600, last, every)
        families: dict[str, list[str]] = {}
        for series in self._prometheus.query(selector, self.moments["normal"]):
            name = series["metric"].pop("__name__")
            labels = ",".join(f'{label}="{value}"' for label, value in series["metric"].items())
            shown = f"{name}{{{labels}}} {series['value'][1]}"
            families.setdefault(name, []).extend(f"{shown} {moment}" for moment in times)
        lines = [
            line
            for name, samples in families.items()
            for line in (f"# TYPE {name} unknown", *samples)
        ]
        self._backfill([*lines, "# EOF"])

    def _backfill(self, lines: Iterable[str]) -> None:
        source = self._home / "openmetrics.txt"
        source.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        subprocess.run(
            [
                *("promtool", "tsdb", "create-blocks-from", "openmetrics"),
                *("--max-block-duration=8760h", str(source), str(self._home / "tsdb")),
            ],
            check=True,
            capture_output=True,
        )

    async def _send_rejected(self) -> None:
        event = {
            "specversion": "1.0",
            "source": "/portals/H56",
            "type": "hoso.dossier.submitted.v1",
            "time": "2022-01-05T09:00:00+07:00",
            "data": {
                "dossier": "H56-ahead",
                "agency": "H56",
                "service": "1.000001",
                "channel": "online",
                "submitted_at": "2099-01-05T08:59:58+07:00",
            },
        }
        records = [
            json.dumps({**event, "id": f"ahead-{number}"}).encode()
            for number in range(REJECTED["future_time"])
        ]
        records += [b"no json"] * REJECTED["not_json"]
        async with AIOKafkaProducer(bootstrap_servers=self._brokers) as producer:
            for record in records:
                await producer.send_and_wait("hoso.submissions", record, b"H56")


def _every_agency(ago: str = "") -> str:
    return f'count(count by (agency) (hoso_services_listed{{level="4"}}{ago})) == {AGENCIES}'


def _later(line: str, seconds: int) -> str:
    series, value, timestamp = line.rsplit(" ", 2)
    return f"{series} {value} {float(timestamp) + seconds:.0f}"


def _shown(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        text: str = response.read().decode()
        return text.splitlines()


def _ready(port: int) -> bool:
    return "hoso_ready 1.0" in _shown(port)


def _caught_up(port: int) -> bool:
    lags = [line for line in _shown(port) if line.startswith("hoso_consumer_lag{")]
    return _ready(port) and bool(lags) and all(line.endswith(" 0.0") for line in lags)
