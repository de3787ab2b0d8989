"""The engines under measurement. Each takes in the same topics and says what it counted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import TypeAdapter

from bench.workload import Expected
from schemas.events import ProcessedEvent, SubmittedEvent
from streams.kafka.broker import free_port


class Recovery(NamedTuple):
    """What a restart after a kill took."""

    rows: int
    seconds: float
    """Reading, merging and folding, from the assignment on."""
    until_ready: float
    """From starting the process; most of it is the broker missing the killed one."""


class Run(NamedTuple):
    """One measured run."""

    seconds: float
    """From the first record taken in to the last one done (start-up left out)."""
    events: int
    counted: Expected
    rss_before: int
    rss_after: int
    recovery: Recovery | None = None


Engine = Callable[[str, int, int], Run]
"""(bootstrap servers, events in the topics, reference records beside them) → a run."""

PREFIX = "hoso."
TOPICS = ("submissions", "processing")


def bare_aiokafka(bootstrap: str, events: int, reference: int) -> Run:
    """aiokafka's ``getmany``, pydantic, and dicts: no durability, no catalogue, no ledger.

    The same validation per event as hoso's; what is left of a stream processor without the rest.
    """
    return asyncio.run(_bare(bootstrap, events))


async def _bare(bootstrap: str, events: int) -> Run:
    validate = {
        PREFIX + "submissions": TypeAdapter(SubmittedEvent).validator.validate_json,
        PREFIX + "processing": TypeAdapter(ProcessedEvent).validator.validate_json,
    }
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 * 1024 * 1024,
    )
    await consumer.start()
    channels: dict[tuple[str, str], str | None] = {}
    ended: set[tuple[str, str]] = set()
    services: set[tuple[str, str]] = set()
    rss = psutil.Process().memory_info().rss
    try:
        names = [PREFIX + topic for topic in TOPICS]
        for name in names:
            await consumer._client.add_topic(name)
        tps = [
            TopicPartition(name, number)
            for name in names
            for number in consumer.partitions_for_topic(name) or ()
        ]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        done = 0
        started = time.perf_counter()
        while done < events:
            for tp, records in (await consumer.getmany(timeout_ms=1000, max_records=4000)).items():
                check = validate[tp.topic]
                for record in records:
                    data = check(record.value).data
                    key = data.agency, data.dossier
                    if tp.topic == names[0]:
                        channels[key] = data.channel
                        if data.channel == "online":
                            services.add((data.agency, data.service))
                    elif data.status in (9, 10):
                        ended.add(key)
                done += len(records)
        seconds = time.perf_counter() - started
    finally:
        await consumer.stop()
    online = sum(1 for key in ended if channels[key] == "online")
    return Run(
        seconds,
        done,
        Expected(len(channels), len(ended), online, len(services)),
        rss,
        psutil.Process().memory_info().rss,
    )


def hoso_memory(bootstrap: str, events: int, reference: int) -> Run:
    """A hoso worker with everything on, rows in memory."""
    return _hoso(bootstrap, events, reference, "memory")


def hoso_rocksdb(bootstrap: str, events: int, reference: int) -> Run:
    """A hoso worker with everything on, rows in RocksDB."""
    return _hoso(bootstrap, events, reference, "rocksdb")


class Worker:
    """A hoso worker as a process of its own, with a fresh identity."""

    def __init__(
        self,
        bootstrap: str,
        store: str = "memory",
        app_id: str | None = None,
        directory: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.port = free_port()
        self.app_id = app_id or f"bench-{os.getpid()}-{self.port}"
        self.directory = directory or tempfile.TemporaryDirectory(prefix="hoso-bench-")
        self.log = Path(self.directory.name) / "worker.log"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streams", "worker"],
            env={
                **os.environ,
                "HOSO_BROKERS": bootstrap,
                "HOSO_APP_ID": self.app_id,
                "HOSO_STORE": store,
                "HOSO_DATA_DIR": self.directory.name,
                "HOSO_WEB_PORT": str(self.port),
                "HOSO_AS_OF": "2022-12-31",
            },
            stderr=self.log.open("a"),
        )

    @property
    def rss(self) -> int:
        """Resident bytes now."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def get(self, path: str) -> str:
        """GET a path; raises ``OSError`` while nothing answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def wait_ready(self, deadline: float = 90.0) -> None:
        """Return when /readyz says so; raises ``TimeoutError`` with the log."""
        self._wait(lambda: '"ready":true' in self.get("/readyz"), deadline)

    def wait_taken_in(self, records: int, deadline: float = 900.0) -> int:
        """Return when ``records`` have been taken in and none is left, with how many have.

        Counting alone would not do: what is replayed after a rebalance is counted again.
        """
        self._wait(lambda: self.taken_in() >= records, deadline)
        if records > 1:
            self._wait(lambda: json.loads(self.get("/healthz"))["lag"] == 0, deadline)
        return self.taken_in()

    def taken_in(self) -> int:
        """Records of all topics that this process has finished with."""
        return int(json.loads(self.get("/healthz"))["taken_in"])

    def _wait(self, holds: Callable[[], bool], deadline: float) -> None:
        until = time.monotonic() + deadline
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise RuntimeError(f"the worker ended:\n{self.log.read_text()}")
            try:
                if holds():
                    return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.05)
        raise TimeoutError(self.log.read_text())

    def stop(self, sig: int = signal.SIGTERM) -> None:
        """End the process and wait for it."""
        self._process.send_signal(sig)
        self._process.wait(30)


def _hoso(bootstrap: str, events: int, reference: int, store: str) -> Run:
    worker = Worker(bootstrap, store)
    try:
        worker.wait_ready()
        before = worker.rss
        # From its first chunk on: joining the group takes seconds on any broker, once.
        first = worker.wait_taken_in(1)
        started = time.perf_counter()
        taken_in = worker.wait_taken_in(events + reference)
        seconds = time.perf_counter() - started
        run = Run(seconds, taken_in - first, _counted(worker), before, worker.rss)
    except BaseException:
        worker.stop(signal.SIGKILL)
        raise
    worker.stop(signal.SIGKILL)
    return run._replace(recovery=_recovered(bootstrap, store, worker))


def _recovered(bootstrap: str, store: str, killed: Worker) -> Recovery:
    """What a worker that takes over from ``killed``, on its data, needs to be ready."""
    started = time.perf_counter()
    worker = Worker(bootstrap, store, app_id=killed.app_id, directory=killed.directory)
    try:
        worker.wait_ready()
        took = json.loads(worker.get("/readyz"))["recovery"]
        return Recovery(took["rows"], took["seconds"], time.perf_counter() - started)
    finally:
        worker.stop(signal.SIGKILL)


def _counted(worker: Worker) -> Expected:
    dossiers = resolved = online = services = 0
    for year in (2022, 2023):
        answer = worker.get(f"/api/v1/indicators?period=year&as_of={year}-12-31")
        national = json.loads(answer)["rows"][0]
        dossiers += sum(national["dossiers_submitted"].values())
        resolved += national["dossiers_processed"]
        online += national["dossiers_processed_online"]
        if year == 2022:
            services = national["services_with_dossiers"]
    return Expected(dossiers, resolved, online, services)


ENGINES: dict[str, Engine] = {
    "bare-aiokafka": bare_aiokafka,
    "hoso-memory": hoso_memory,
    "hoso-rocksdb": hoso_rocksdb,
}
