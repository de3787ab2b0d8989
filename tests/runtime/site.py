"""A register on a real broker: topics of its own, portals that send, workers as processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from streams.kafka.broker import die_with_parent, free_port
from streams.kafka.offsets import end_offsets
from streams.kafka.partitioner import partition_for
from streams.kafka.topics import catalogue, create_missing
from tests.conftest import Broker
from tests.domain.register import Register

PARTITIONS = 4
DEADLINE = 60.0
_ROOT = Path(__file__).parents[2]

Event = Mapping[str, Any]
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def eventually(
    condition: Callable[[], Awaitable[bool]], what: str, seconds: float = DEADLINE
) -> None:
    """Poll until it holds; fail with its name when the time is up."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"within {seconds:g} s not {what}"
        await asyncio.sleep(0.1)


class WorkerProcess:
    """``hoso worker``, or ``hoso web``, in a process of its own."""

    def __init__(
        self, name: str, environment: Mapping[str, str], directory: Path, command: str = "worker"
    ) -> None:
        self.name = name
        self.port = int(environment["HOSO_WEB_PORT"])
        self._log = directory / f"{name}.log"
        self.started = time.monotonic()
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams", command],
                cwd=_ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(),
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait()

    async def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while (code := self.process.poll()) is None:
            assert time.monotonic() < deadline, f"{self.name} did not stop in {seconds:g} s"
            await asyncio.sleep(0.05)
        return code

    async def get(self, path: str, **parameters: str) -> tuple[int, bytes]:
        """Status and body; status 0 while it does not answer."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session,
                session.get(f"http://127.0.0.1:{self.port}{path}", params=parameters) as answer,
            ):
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            assert self.alive, f"{self.name} ended:\n{self.log[-3000:]}"
            return 0, b""

    async def json(self, path: str, **parameters: str) -> Any:
        """The body of a good answer."""
        status, body = await self.get(path, **parameters)
        assert status == 200, f"{path}: {status} {body[:300]!r}"
        return json.loads(body)

    async def is_ready(self) -> bool:
        return (await self.get("/readyz"))[0] == 200

    async def ready(self, seconds: float = DEADLINE) -> float:
        """Wait until it is ready; the seconds since its start."""
        await eventually(self.is_ready, f"{self.name} ready", seconds)
        return time.monotonic() - self.started

    async def owned(self) -> list[int]:
        """The partitions it owns and has recovered."""
        status, body = await self.get("/readyz")
        if status == 0:
            return []
        state = json.loads(body)
        return sorted(set(state["partitions"]) - set(state["recovering"]))

    async def metrics(self) -> Series:
        """Every sample of a scrape."""
        status, body = await self.get("/metrics")
        if status != 200:
            return {}
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }

    async def counted(self, topic: str, outcome: str) -> float:
        """``hoso_events_total`` of a topic (its full name)."""
        series = await self.metrics()
        labels = frozenset({("topic", topic), ("outcome", outcome)})
        return series.get(("hoso_events_total", labels), 0.0)


class Site:
    """Topics, portals and workers of one test."""

    def __init__(self, broker: Broker, prefix: str, directory: Path) -> None:
        self.broker = broker
        self.prefix = prefix
        self.app_id = prefix.rstrip(".")
        self.directory = directory
        self.workers: list[WorkerProcess] = []
        self.readers: list[WorkerProcess] = []
        self._producer: AIOKafkaProducer | None = None

    def topic(self, name: str) -> str:
        return self.prefix + name

    def changelog(self, table: str) -> str:
        return f"{self.app_id}-{table}-changelog"

    async def __aenter__(self) -> Site:
        changelogs = [self.changelog("dossiers"), self.changelog("services")]
        await create_missing(
            self.broker.client_options, catalogue(self.prefix, PARTITIONS, 1, changelogs)
        )
        self._producer = AIOKafkaProducer(**self.broker.client_options, acks="all")
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.workers + self.readers:
            if process.alive:
                process.kill()
        if self._producer is not None:
            await self._producer.stop()

    # Portals

    @property
    def producer(self) -> AIOKafkaProducer:
        assert self._producer is not None
        return self._producer

    async def send(self, events: Iterable[Event]) -> None:
        """Send events to the partitions of their keys, in order, and wait for the broker."""
        by_partition: dict[tuple[str, int], list[tuple[bytes, bytes | None]]] = {}
        for event in events:
            key, value = event["key"].encode(), event["value"]
            raw = None if value is None else json.dumps(value).encode()
            at = event["topic"], partition_for(key, PARTITIONS)
            by_partition.setdefault(at, []).append((key, raw))
        await asyncio.gather(
            *(self.append(self.topic(t), n, rows) for (t, n), rows in by_partition.items())
        )

    async def append(
        self, topic: str, partition: int, rows: Sequence[tuple[bytes | None, bytes | None]]
    ) -> None:
        """Append raw rows to a partition, as few batches as it takes."""
        batch = self.producer.create_batch()
        for key, value in rows:
            if batch.append(key=key, value=value, timestamp=None) is None:
                await (await self.producer.send_batch(batch, topic, partition=partition))
                batch = self.producer.create_batch()
                assert batch.append(key=key, value=value, timestamp=None) is not None
        if batch.record_count():
            await (await self.producer.send_batch(batch, topic, partition=partition))

    async def send_raw(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> tuple[int, int]:
        """Send one record; its partition and offset."""
        if partition is None:
            partition = partition_for(key or b"", PARTITIONS)
        at = await self.producer.send_and_wait(
            self.topic(topic), key=key, value=value, partition=partition, headers=list(headers)
        )
        return at.partition, at.offset

    async def read(self, topic: str) -> list[ConsumerRecord]:
        """Every record of a topic (its full name), up to its ends as of now."""
        client = AIOKafkaConsumer(**self.broker.client_options, auto_offset_reset="earliest")
        await client.start()
        try:
            tps = [TopicPartition(topic, number) for number in range(PARTITIONS)]
            client.assign(tps)
            ends = await end_offsets(client, tps)
            found: list[ConsumerRecord] = []
            async with asyncio.timeout(DEADLINE):
                while behind := [tp for tp in tps if await client.position(tp) < ends[tp]]:
                    for records in (await client.getmany(*behind, timeout_ms=200)).values():
                        found.extend(records)
            return found
        finally:
            await client.stop()

    # Workers

    def worker(self, **settings: str) -> WorkerProcess:
        """Start a worker; ``settings`` are environment variables without their prefix."""
        worker = self._process("worker", len(self.workers), settings)
        self.workers.append(worker)
        return worker

    def web(self, **settings: str) -> WorkerProcess:
        """Start a ``hoso web``, which is in no group."""
        reader = self._process("web", len(self.readers), settings)
        self.readers.append(reader)
        return reader

    def _process(self, command: str, number: int, settings: Mapping[str, str]) -> WorkerProcess:
        name = f"{command}-{number}"
        given = {
            "brokers": self.broker.bootstrap,
            "topic_prefix": self.prefix,
            "app_id": self.app_id,
            "partitions": str(PARTITIONS),
            "web_port": str(free_port()),
            "data_dir": str(self.directory / name),
            **settings,
        }
        environment = {f"HOSO_{setting.upper()}": value for setting, value in given.items()}
        return WorkerProcess(name, environment, self.directory, command)

    @property
    def alive(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers if worker.alive]

    async def caught_up(self, seconds: float = DEADLINE) -> None:
        """Wait until the live workers are ready, own everything and have taken in everything."""

        lags: dict[frozenset[tuple[str, str]], float] = {}

        async def nothing_left() -> bool:
            nonlocal lags
            lags = {}
            for worker in self.alive:
                for (name, labels), value in (await worker.metrics()).items():
                    if name == "hoso_consumer_lag":
                        lags[labels] = value
                    elif name == "hoso_ready" and not value:
                        return False
            return len(lags) >= 3 * PARTITIONS and not any(lags.values())

        try:
            await eventually(nothing_left, "caught up", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {lags}") from None

    async def shows(
        self,
        expected: Mapping[str, Any],
        worker: WorkerProcess,
        ask: Mapping[str, str],
        seconds: float = DEADLINE,
    ) -> None:
        """Wait until the API gives exactly these rows; fails with the differences."""
        found: dict[str, Any] = {}

        async def as_expected() -> bool:
            nonlocal found
            status, body = await worker.get("/api/v1/indicators", **ask)
            if status == 200:
                found = {row["scope"]: without_moments(row) for row in json.loads(body)["rows"]}
            return found == expected

        try:
            await eventually(as_expected, "the figures expected", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{differences(found, expected)}") from None

    async def settled_on(self, register: Register, *asks: Mapping[str, str]) -> None:
        """All is taken in, and every live worker gives the register's figures, and goes on to."""
        await self.caught_up()
        for worker in self.alive:
            for ask in asks or ASKS:
                await self.shows(expected_rows(register, **ask), worker, ask)
        await self.caught_up()
        for ask in asks or ASKS:
            rows = (await self.alive[0].json("/api/v1/indicators", **ask))["rows"]
            found = {row["scope"]: without_moments(row) for row in rows}
            assert found == expected_rows(register, **ask), differences(
                found, expected_rows(register, **ask)
            )


ASKS: tuple[Mapping[str, str], ...] = (
    {"period": "year", "as_of": "2022-08-25", "definition": "mic-2022"},
    {"period": "quarter", "as_of": "2022-06-30", "definition": "qd766"},
    {"period": "half", "as_of": "2021-12-31", "definition": "emc-2024"},
)

_NOT_IN_THE_API = {
    *("on_time", "due", "eligible", "eligible_at_level4"),
    *("listed", "listed_at_level34", "listed_at_level4"),
}


def expected_rows(
    register: Register, *, period: str, as_of: str, definition: str
) -> dict[str, Any]:
    """The rows of the API by scope, names and moments left out, from a plain fold."""
    from datetime import date

    rows = register.figures(date.fromisoformat(as_of), period, definition)  # type: ignore[arg-type]
    return {
        scope: _floats({name: row[name] for name in row if name not in _NOT_IN_THE_API})
        for scope, row in rows.items()
    }


def without_moments(row: Mapping[str, Any]) -> dict[str, Any]:
    """An API row without what depends on the clock, and without its name."""
    return {name: row[name] for name in row if name not in ("name", "last_event_at")}


def _floats(value: Any) -> Any:
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, Mapping):
        return {name: _floats(part) for name, part in value.items()}
    return value


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """The first few cells that differ."""
    lines = [
        f"{scope}.{name}: {found.get(scope, {}).get(name)} instead of {value}"
        for scope, row in expected.items()
        for name, value in row.items()
        if found.get(scope, {}).get(name) != value
    ]
    return "\n".join(lines[:20])
