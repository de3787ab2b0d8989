"""The demo's worker: a process of its own, as in production, that ends with the demo."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Self

import aiohttp
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

import streams
from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS
from streams.cli.errors import Failure
from streams.kafka.broker import die_with_parent
from streams.kafka.consumers import plain_consumer
from streams.kafka.offsets import end_offsets
from streams.settings import Settings, authority

_STOP_SECONDS = 10.0
_TAIL_LINES = 15


class WorkerProcess:
    """``hoso worker`` with the demo's settings and its own temporary directory.

    A context manager; dies with this process, also on SIGKILL where the platform can tell it
    (see ``streams.kafka.broker.die_with_parent``).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{authority(settings.web_host, settings.web_port)}"

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="hoso-demo-")
        home = Path(self._directory.name)
        self._log = (home / "worker.log").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streams", "worker"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=self._environment(home),
            start_new_session=True,  # Ctrl-C is for us; we then stop the worker in order
            preexec_fn=die_with_parent(),
        )
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            finally:
                process.kill()
                process.wait()
        if self._log is not None:
            self._log.close()
        if self._directory is not None:
            with contextlib.suppress(OSError):
                self._directory.cleanup()

    def _environment(self, home: Path) -> dict[str, str]:
        settings = self._settings
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("HOSO_")
        }
        root = str(Path(streams.__file__).parent.parent)
        paths = [root, *filter(None, [inherited.get("PYTHONPATH")])]
        return inherited | {
            "PYTHONPATH": os.pathsep.join(paths),
            "HOSO_BROKERS": settings.brokers,
            "HOSO_TOPIC_PREFIX": settings.topic_prefix,
            "HOSO_PARTITIONS": str(settings.partitions),
            "HOSO_APP_ID": settings.app_id,
            "HOSO_STORE": settings.store,
            "HOSO_DATA_DIR": str(home / "data"),
            "HOSO_WEB_HOST": settings.web_host,
            "HOSO_WEB_PORT": str(settings.web_port),
            "HOSO_DEFINITION": settings.definition,
            "HOSO_AS_OF": str(settings.as_of),
            "HOSO_LOG_LEVEL": settings.log_level,
        }

    @property
    def pid(self) -> int | None:
        """Its process id; None while it is not running."""
        return None if self._process is None else self._process.pid

    def check(self) -> None:
        """Raises ``Failure`` with the end of its log if it has died."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise self.failure(f"the worker ended by itself with code {code}")

    def failure(self, what: str) -> Failure:
        """What went wrong, and what the worker said last."""
        return Failure("\n".join([f"{what}; the end of its log:", *self._tail()]))

    def _tail(self) -> list[str]:
        if self._log is None:
            return []
        self._log.flush()
        text = Path(self._log.name).read_text(errors="replace")
        return [f"  {line}" for line in text.splitlines()[-_TAIL_LINES:]] or ["  (nothing)"]


class Intake:
    """How much of what was sent the worker has processed: its committed offsets.

    A worker commits an offset after the broker has acknowledged every row that follows from the
    records before it, so what is committed is in the register for good. An asynchronous context
    manager.
    """

    def __init__(self, settings: Settings) -> None:
        options = settings.client_options()
        self._group = settings.app_id
        self._partitions = [
            TopicPartition(settings.topic(topic), number)
            for topic in sorted(EVENT_TOPICS | REFERENCE_TOPICS)
            for number in range(settings.partitions)
        ]
        self._admin = AIOKafkaAdminClient(**options)
        self._consumer = plain_consumer(options)

    async def __aenter__(self) -> Self:
        await self._admin.start()
        try:
            await self._consumer.start()
        except BaseException:
            await self._admin.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()
        await self._admin.close()

    async def ends(self) -> dict[TopicPartition, int]:
        """Where the topics that are read end now."""
        return await end_offsets(self._consumer, self._partitions)

    async def committed(self) -> dict[TopicPartition, int]:
        """Up to where they have been processed."""
        try:
            found: dict[TopicPartition, Any] = await self._admin.list_consumer_group_offsets(
                self._group, partitions=self._partitions
            )
        except KafkaError as error:
            if not error.retriable:
                raise
            return {}
        return {tp: max(0, at.offset) for tp, at in found.items()}


class Stall:
    """A deadline that moves with progress."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._best = -1
        self._since = time.monotonic()

    def over(self, progress: int) -> bool:
        """Whether ``progress`` has not grown for too long."""
        if progress > self._best:
            self._best, self._since = progress, time.monotonic()
        return time.monotonic() - self._since > self._seconds


async def get_json(session: aiohttp.ClientSession, url: str, **parameters: str) -> tuple[int, Any]:
    """Status and body of an answer; (0, None) when nobody answers."""
    try:
        async with session.get(url, params=parameters) as answer:
            return answer.status, await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return 0, None
