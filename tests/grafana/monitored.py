"""A real Prometheus that scrapes a real worker which has processed the scenario ``published``.

The past is what ``hoso export openmetrics`` writes and docs/metrics.md has put into Prometheus'
storage, moved in time so that its last day, the one before the as-of day, is yesterday.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from aiokafka import AIOKafkaProducer

from streams.domain.calendar import ZONE
from streams.kafka.broker import EmbeddedBroker, die_with_parent, free_port
from streams.kafka.partitioner import partition_for

_HOSO = [sys.executable, "-m", "streams"]
ROOT = Path(__file__).parents[2]
AS_OF = "2022-08-25"
DAY_SECONDS = 86_400
PAST_DAYS = 30
"""How many days before the as-of day are exported."""

JOB = "hoso"
RULES = ROOT / "prometheus" / "rules"


class Process:
    """A program in the background, with its output in a file."""

    def __init__(
        self, name: str, command: list[str], home: Path, environment: Mapping[str, str]
    ) -> None:
        self._name = name
        self._log = home / f"{name}.log"
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(),
            )

    def wait_for(self, holds: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
        """Poll until it holds; fail with the log when the time is up or the program has ended."""
        deadline = time.monotonic() + seconds
        while not _answered(holds):
            assert self._process.poll() is None, f"{self._name} ended:\n{self.log}"
            assert time.monotonic() < deadline, f"not {what} within {seconds:g} s:\n{self.log}"
            time.sleep(0.1)

    def ended_well(self, seconds: float) -> None:
        """Wait for its end; fail unless the exit code is 0."""
        assert self._process.wait(seconds) == 0, f"{self._name} failed:\n{self.log}"

    def kill(self) -> None:
        """SIGKILL: it has no time to say goodbye."""
        self._process.kill()
        self._process.wait()

    @property
    def log(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not help."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Monitored:
    """Broker, portals, worker and Prometheus; a context manager."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.worker_port = free_port()
        self.port = free_port()
        self._broker = EmbeddedBroker()
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        self._broker.__enter__()
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.stop()
        self._broker.__exit__(None, None, None)

    def _start(self) -> None:
        worker = Process("worker", [*_HOSO, "worker"], self.home, self._environment(AS_OF))
        self._running.append(worker)
        worker.wait_for(self._ready, "ready")
        self._hoso("portals", "simulate", "--scenario", "published")
        worker.wait_for(self._caught_up, "caught up", 150)
        self._remember()
        self._start_prometheus()

    def _hoso(self, name: str, *arguments: str) -> None:
        Process(name, [*_HOSO, *arguments], self.home, self._environment(AS_OF)).ended_well(150)

    def _environment(self, as_of: str) -> dict[str, str]:
        return {
            "HOSO_BROKERS": self._broker.bootstrap,
            "HOSO_AS_OF": as_of,
            "HOSO_WEB_PORT": str(self.worker_port),
            "HOSO_DATA_DIR": str(self.home / "data"),
        }

    def scrape(self) -> str:
        """What the worker shows now."""
        return _get(f"http://127.0.0.1:{self.worker_port}/metrics").decode()

    def _ready(self) -> bool:
        return "hoso_ready 1.0" in self.scrape()

    def _caught_up(self) -> bool:
        lags = [line for line in self.scrape().splitlines() if line.startswith("hoso_consumer_lag")]
        return self._ready() and bool(lags) and all(line.endswith(" 0.0") for line in lags)

    def exported(self, day: date) -> Iterator[tuple[str, float]]:
        """Every series of a day and its value."""
        for line in self._export(day, day).read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                series, value, _ = line.rsplit(" ", 2)
                yield series, float(value)

    def _export(self, first: date, last: date) -> Path:
        file = self.home / "history.txt"
        dates = ("--from", first.isoformat(), "--to", last.isoformat())
        self._hoso("export", "export", "openmetrics", *dates, "--output", str(file))
        return file

    def _remember(self) -> None:
        """Put the days before the as-of day into the storage, up to yesterday."""
        last = date.fromisoformat(AS_OF) - timedelta(days=1)
        exported = self._export(last - timedelta(days=PAST_DAYS - 1), last)
        later = (datetime.now(ZONE).date() - date.fromisoformat(AS_OF)).days * DAY_SECONDS
        moved = self.home / "moved.txt"
        with exported.open(encoding="utf-8") as lines, moved.open("w", encoding="utf-8") as out:
            for line in lines:
                if not line.startswith("#"):
                    series, value, at = line.rsplit(" ", 2)
                    line = f"{series} {value} {int(at) + later}\n"
                out.write(line)
        subprocess.run(
            [
                *("promtool", "tsdb", "create-blocks-from", "openmetrics"),
                *("--max-block-duration=8760h", str(moved), str(self.home / "tsdb")),
            ],
            check=True,
            capture_output=True,
        )

    def _start_prometheus(self) -> None:
        config = self.home / "prometheus.yml"
        config.write_text(
            json.dumps(  # every JSON document is a YAML document
                {
                    # A scrape may take as long as the interval; a machine under load needs it.
                    "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
                    "rule_files": [str(path) for path in sorted(RULES.glob("*.yml"))],
                    "scrape_configs": [
                        {
                            "job_name": JOB,
                            "static_configs": [{"targets": [f"127.0.0.1:{self.worker_port}"]}],
                        }
                    ],
                }
            )
        )
        prometheus = Process(
            "prometheus",
            [
                *("prometheus", f"--config.file={config}"),
                f"--storage.tsdb.path={self.home / 'tsdb'}",
                "--storage.tsdb.retention.time=10y",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            self.home,
            {},
        )
        self._running.append(prometheus)
        ready = f"http://127.0.0.1:{self.port}/-/ready"
        prometheus.wait_for(lambda: bool(_get(ready)), "started")
        prometheus.wait_for(
            lambda: len(self.query("last_over_time(hoso_ready[1m]) == 1")) == 1, "scraping"
        )
        prometheus.wait_for(
            lambda: len(self.query("hoso:figures_complete:bool == 1")) == 1, "recording"
        )

    def wait_until_seen(self, metric: str, total: float) -> None:
        """Return when Prometheus has scraped this sum, and some seconds ago too."""
        self._running[-1].wait_for(
            lambda: len(self.query(f"sum({metric} offset 6s) >= {total}")) == 1, f"{metric} seen"
        )

    def wait_until(self, expression: str) -> None:
        """Return when it gives a series."""
        self._running[-1].wait_for(lambda: bool(self.query(expression)), expression)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query now. Fails with what Prometheus says of a wrong one."""
        return self._ask("query", query=expression)

    def query_range(self, expression: str, seconds: float, step: float) -> list[dict[str, Any]]:
        """The series of a range query over the last ``seconds``."""
        now = time.time()
        return self._ask(
            "query_range",
            query=expression,
            start=str(now - seconds),
            end=str(now),
            step=str(step),
        )

    def _ask(self, endpoint: str, **parameters: str) -> list[dict[str, Any]]:
        body = urllib.parse.urlencode(parameters).encode()
        url = f"http://127.0.0.1:{self.port}/api/v1/{endpoint}"
        try:
            answer = json.loads(_get(url, body))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.read().decode()}\n{parameters['query']}") from None
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def send_rejected(self, agency: str, count: int) -> None:
        """Send submissions of an agency that are dated years ahead, and wait until they are in."""
        event = {
            "specversion": "1.0",
            "source": f"/portals/{agency}",
            "type": "hoso.dossier.submitted.v1",
            "time": "2022-01-05T09:00:00+07:00",
            "data": {
                "dossier": f"{agency}-ahead",
                "agency": agency,
                "service": "1.000001",
                "channel": "online",
                "submitted_at": "2099-01-05T08:59:58+07:00",
            },
        }

        async def send() -> None:
            async with AIOKafkaProducer(bootstrap_servers=self._broker.bootstrap) as producer:
                for number in range(count):
                    value = json.dumps({**event, "id": f"ahead-{number}"}).encode()
                    await producer.send_and_wait(
                        "hoso.submissions",
                        value,
                        agency.encode(),
                        partition=partition_for(agency.encode(), 12),
                    )

        before = self._rejected()
        asyncio.run(send())
        self._running[0].wait_for(lambda: self._rejected() >= before + count, "rejected")

    def _rejected(self) -> float:
        lines = self.scrape().splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith("hoso_events_rejected_total{")
        )

    def shares(self, as_of: str = AS_OF) -> dict[str, dict[str, Any]]:
        """The rows of the API by scope, for the year."""
        query = f"period=year&as_of={as_of}&definition=mic-2022"
        url = f"http://127.0.0.1:{self.worker_port}/api/v1/indicators?{query}"
        return {row["scope"]: row for row in json.loads(_get(url))["rows"]}


def _get(url: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, body, timeout=30) as answer:
        found: bytes = answer.read()
        return found


def _answered(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except (OSError, urllib.error.URLError):
        return False
