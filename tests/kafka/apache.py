"""Apache Kafka itself, run from its Maven artifacts: no container, no installation.

The jars are fetched once into ``.cache/kafka-<version>``. Every broker is a KRaft node in combined
mode (broker and controller) on 127.0.0.1, with its own data and log file under the given directory.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.kafka.broker import HOST, brokers_at, die_with_parent, free_port

_POM = Path(__file__).with_name("pom.xml")
_CACHE = Path(__file__).parents[2] / ".cache"
_JVM = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
_FETCH_SECONDS = 300
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.05


class KafkaUnavailableError(Exception):
    """Apache Kafka cannot be run here; the message says what is missing."""


class ApacheKafka:
    """A cluster of ``brokers`` nodes, each of which can be stopped, killed and started again.

    Nodes are numbered from 0. Data survives a stop or kill of a node, not :meth:`stop` of the
    whole. Internal topics are replicated to up to three nodes and need a majority of them.
    """

    def __init__(self, directory: Path, brokers: int = 1) -> None:
        self._directory = directory
        self._jars = jars()
        # Never with a "-" in front, which the format tool would take for an option.
        self._cluster_id = "k" + urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        ports = _free_ports(2 * brokers)
        self._ports, self._controllers = ports[:brokers], ports[brokers:]
        self._nodes: list[subprocess.Popen[bytes] | None] = [None] * brokers

    @property
    def bootstrap(self) -> str:
        """All nodes, for ``bootstrap_servers``."""
        return ",".join(f"{HOST}:{port}" for port in self._ports)

    def start(self) -> Self:
        """Format the storage, start every node, and wait until each knows all the others."""
        atexit.register(self.stop)
        formatting = [self._format(node) for node in range(len(self._nodes))]
        for node, process in enumerate(formatting):
            if process.wait(_START_SECONDS) != 0:
                raise KafkaUnavailableError(f"cannot format storage: {self._log_tail(node)}")
        for node in range(len(self._nodes)):
            self._launch(node)
        self.wait_until_ready()
        return self

    def stop(self) -> None:
        """End every node at once; the data is of no further use."""
        atexit.unregister(self.stop)
        for node in range(len(self._nodes)):
            self.kill_node(node)

    def stop_node(self, node: int) -> None:
        """Stop a node in order: it hands over its partitions first where it can."""
        process = self._nodes[node]
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._nodes[node] = None

    def kill_node(self, node: int) -> None:
        """SIGKILL a node."""
        process, self._nodes[node] = self._nodes[node], None
        if process is not None:
            process.kill()
            process.wait()

    def start_node(self, node: int) -> None:
        """Start a stopped or killed node again on its port and data; wait until it serves."""
        if self._nodes[node] is None:
            self._launch(node)
        self.wait_until_ready()

    def restart_node(self, node: int) -> None:
        """Stop a node in order and start it again."""
        self.stop_node(node)
        self.start_node(node)

    def wait_until_ready(self) -> None:
        """Wait until every running node answers and knows of all running ones."""
        deadline = time.monotonic() + _START_SECONDS
        running = [node for node, process in enumerate(self._nodes) if process is not None]
        for node in running:
            while brokers_at(HOST, self._ports[node]) < len(running):
                process = self._nodes[node]
                if process is not None and process.poll() is not None:
                    raise KafkaUnavailableError(f"a broker ended: {self._log_tail(node)}")
                if time.monotonic() > deadline:
                    raise KafkaUnavailableError(f"a broker is not ready: {self._log_tail(node)}")
                time.sleep(_POLL_SECONDS)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _format(self, node: int) -> subprocess.Popen[bytes]:
        home = self._home(node)
        home.mkdir(parents=True)
        (home / "server.properties").write_text(
            "".join(f"{name}={value}\n" for name, value in self._properties(node).items())
        )
        return self._java(
            node,
            *("kafka.tools.StorageTool", "format", "--cluster-id", self._cluster_id),
            *("--config", str(home / "server.properties")),
        )

    def _launch(self, node: int) -> None:
        self._nodes[node] = self._java(
            node, "kafka.Kafka", str(self._home(node) / "server.properties")
        )

    def _java(self, node: int, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._home(node) / "kafka.log").open("ab") as log:
            return subprocess.Popen(
                [
                    *("java", *_JVM, "-Dlog4j2.level=INFO"),
                    *("-cp", str(self._jars / "*"), *arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )

    def _properties(self, node: int) -> dict[str, object]:
        replicas = min(3, len(self._nodes))
        majority = replicas // 2 + 1
        voters = ",".join(f"{n}@{HOST}:{port}" for n, port in enumerate(self._controllers))
        return {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{HOST}:{self._ports[node]}"
            f",CONTROLLER://{HOST}:{self._controllers[node]}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self._ports[node]}",
            "log.dirs": self._home(node) / "data",
            "auto.create.topics.enable": "false",
            "min.insync.replicas": majority,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": 3,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": majority,
            "transaction.state.log.num.partitions": 3,
            # Tests do not wait out the defaults of production.
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 3000,
            "log.initial.task.delay.ms": 100,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
            "log.cleaner.backoff.ms": 200,
            "log.cleaner.dedupe.buffer.size": 4 << 20,
        }

    def segments(self, topic: str, partition: int, node: int = 0) -> list[Path]:
        """The files in which a node keeps the records of a partition."""
        return sorted((self._home(node) / "data" / f"{topic}-{partition}").glob("*.log"))

    def _home(self, node: int) -> Path:
        return self._directory / f"node-{node}"

    def _log_tail(self, node: int) -> str:
        log = self._home(node) / "kafka.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else "it wrote no log"


def jars() -> Path:
    """The directory with Kafka's jars, fetched with Maven when it is not there yet.

    Raises KafkaUnavailableError without Java, Maven or the artifacts.
    """
    if shutil.which("java") is None:
        raise KafkaUnavailableError("Apache Kafka needs Java 17, and there is no java")
    found = re.search(r"<kafka\.version>([^<]+)<", _POM.read_text())
    if found is None:
        raise ValueError(f"no kafka.version in {_POM}")
    target = _CACHE / f"kafka-{found[1]}"
    if target.is_dir():
        return target
    if shutil.which("mvn") is None:
        raise KafkaUnavailableError("fetching Apache Kafka needs Maven, and there is no mvn")
    _CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as fetched:
        jars_here = Path(fetched) / "jars"
        try:
            subprocess.run(
                [
                    *("mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"),
                    *("-DincludeScope=runtime", f"-DoutputDirectory={jars_here}"),
                ],
                check=True,
                capture_output=True,
                text=True,
                timeout=_FETCH_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            lines = [line for line in error.stdout.splitlines() if line.strip()]
            raise KafkaUnavailableError(
                f"Maven cannot fetch Apache Kafka: {lines[0] if lines else error.stderr}"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise KafkaUnavailableError(
                f"Maven did not fetch Apache Kafka within {_FETCH_SECONDS} s"
            ) from error
        try:
            os.replace(jars_here, target)
        except OSError:
            if not target.is_dir():  # else another test run was faster
                raise
    return target


def _free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return sorted(ports)
