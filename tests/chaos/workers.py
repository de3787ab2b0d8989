"""Three places for workers, each with its port, data directory, network and clock, and a supervisor
that starts again what ended, as systemd would.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from streams.kafka.broker import die_with_parent, free_port
from tests.chaos.proxy import Link, links

RESTART_SECONDS = 0.5
STOP_SECONDS = 30.0
_ROOT = Path(__file__).parents[2]


class Place:
    """Where one worker at a time runs."""

    def __init__(self, number: int, directory: Path, ways: list[Link]) -> None:
        self.number = number
        self.ways = ways
        self.port = free_port()
        self.data = directory / f"worker-{number}"
        self.log = directory / f"worker-{number}.log"
        self.clock = directory / f"worker-{number}.clock"
        self.process: subprocess.Popen[bytes] | None = None
        self.frozen = False
        self.thawed_at = float("-inf")
        self.held = False
        """Not to be started for now."""
        self.killed_at: float | None = None
        """When its worker was killed, until the next one is ready."""
        self.ready = False
        self.stopping_since: float | None = None
        self.not_before = 0.0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def disturbed(self) -> bool:
        """Frozen, or with something wrong with its network."""
        return self.frozen or any(way.disturbed for way in self.ways)

    @property
    def rebuilt(self) -> int:
        """How often a worker here has found a store damaged and set it aside."""
        return self.log.read_bytes().count(b"and rebuilt from the changelog now")


class Workers:
    """The places, and how many workers there shall be."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = environment
        self.places: list[Place] = []
        self.wanted = 1
        self.leave_by = "term"
        self.starts = 0
        self.ended: Counter[str] = Counter()
        """How workers ended that nobody had killed: what they said last."""
        self.recoveries: list[float] = []
        """Seconds from a kill until the place was ready again."""
        self.killed_before_ready = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self, upstreams: list[int], count: int) -> None:
        for number in range(count):
            self.places.append(Place(number, self._directory, await links(upstreams)))
        self._task = asyncio.create_task(self._supervise())

    async def stop(self, *, by: str = "term", delete_data: bool = False) -> None:
        """End all, and wait. The supervisor goes on, with nothing wanted."""
        self.wanted, self.leave_by = 0, by
        while any(place.running for place in self.places):  # noqa: ASYNC110 (processes have no event)
            await asyncio.sleep(0.1)
        if delete_data:
            for place in self.places:
                shutil.rmtree(place.data, ignore_errors=True)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for place in self.places:
            if place.process is not None:
                place.process.kill()
                place.process.wait()
            for way in place.ways:
                await way.stop()

    def running(self, *, frozen: bool = False) -> list[Place]:
        """The places with a process that is not frozen; or also those."""
        return [p for p in self.places if p.running and (frozen or not p.frozen)]

    # Faults

    def kill(self, place: Place) -> None:
        """SIGKILL; the supervisor starts another."""
        assert place.process is not None
        place.process.kill()
        place.process.wait()
        if place.killed_at is not None:
            self.killed_before_ready += 1
        place.killed_at = time.monotonic()
        self._gone(place)

    def freeze(self, place: Place) -> None:
        """SIGSTOP."""
        assert place.process is not None
        place.process.send_signal(signal.SIGSTOP)
        place.frozen = True

    def thaw(self, place: Place) -> None:
        """SIGCONT."""
        if place.process is not None and place.running:
            place.process.send_signal(signal.SIGCONT)
        place.frozen = False
        place.thawed_at = time.monotonic()

    def move_clock(self, place: Place, seconds: float) -> None:
        """The wall clock of the place is wrong by so much from now on."""
        written = place.clock.with_suffix(".new")
        written.write_text(str(seconds))
        written.replace(place.clock)

    def is_ready(self, place: Place) -> None:
        """To be called whenever the place's worker says so."""
        place.ready = True
        if place.killed_at is not None:
            self.recoveries.append(time.monotonic() - place.killed_at)
            place.killed_at = None

    # Supervision

    async def _supervise(self) -> None:
        while True:
            wanted = self._chosen()
            for place in self.places:
                if place not in wanted:
                    place.killed_at = None  # nobody waits for it
                if place.process is not None and not place.running:
                    code = place.process.returncode
                    # A worker that is told to go before it can hear of it ends by the signal.
                    if place.stopping_since is None or code not in (0, -signal.SIGTERM):
                        self.ended[f"exit {code}: {_last_words(place.log)}"] += 1
                        self._gone(place)
                        place.not_before = time.monotonic() + RESTART_SECONDS
                    else:
                        self._gone(place)
                if place.process is None and place in wanted and not place.held:
                    if time.monotonic() >= place.not_before:
                        self._launch(place)
                elif place.process is not None and place not in wanted:
                    self._send_off(place)
            await asyncio.sleep(0.1)

    def _chosen(self) -> list[Place]:
        """So many of those that are not frozen, and the frozen ones."""
        frozen = [place for place in self.places if place.frozen]
        others = [place for place in self.places if not place.frozen]
        return frozen + others[: self.wanted]

    def _send_off(self, place: Place) -> None:
        assert place.process is not None
        now = time.monotonic()
        if self.leave_by == "kill":
            place.process.kill()
            place.process.wait()
            self._gone(place)
        elif place.stopping_since is None:
            place.stopping_since = now
            place.process.terminate()
        elif now - place.stopping_since > STOP_SECONDS:
            self.ended[f"did not stop within {STOP_SECONDS:g} s of SIGTERM"] += 1
            place.process.kill()
            place.process.wait()
            self._gone(place)
        place.killed_at = None

    def _gone(self, place: Place) -> None:
        place.process = None
        place.ready = False
        place.stopping_since = None
        place.not_before = time.monotonic() + RESTART_SECONDS

    def _launch(self, place: Place) -> None:
        self.starts += 1
        place.data.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            **self._environment,
            "HOSO_BROKERS": ",".join(f"127.0.0.1:{way.port}" for way in place.ways),
            "HOSO_WEB_PORT": str(place.port),
            "HOSO_DATA_DIR": str(place.data),
            "HOSO_CHAOS_CLOCK": str(place.clock),
        }
        with place.log.open("ab") as output:
            place.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker"],
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(),
            )


def _last_words(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        lines = file.read().decode(errors="replace").splitlines()
    said = [line for line in lines if "CRITICAL" in line] or [
        line for line in lines if line.strip()
    ]
    return said[-1].strip()[-160:] if said else "nothing"
