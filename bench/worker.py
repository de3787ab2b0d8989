"""A hoso worker under measurement, as a process of its own."""

from __future__ import annotations

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

import psutil

from streams.kafka.broker import die_with_parent, free_port


class Worker:
    """A hoso worker, or another ``command`` that serves, as a process with a fresh identity."""

    def __init__(
        self,
        bootstrap: str,
        store: str = "memory",
        app_id: str | None = None,
        directory: tempfile.TemporaryDirectory[str] | None = None,
        command: str = "worker",
    ) -> None:
        self.port = free_port()
        self.app_id = app_id or f"bench-{os.getpid()}-{self.port}"
        self.directory = directory or tempfile.TemporaryDirectory(prefix="hoso-bench-")
        self.log = Path(self.directory.name) / "worker.log"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streams", command],
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
            preexec_fn=die_with_parent(),
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
        return int(json.loads(self.get("/healthz"))["processed"])

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
