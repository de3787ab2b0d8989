"""What docker-compose.yml starts, started without Docker: its commands, settings and files.

No image is pulled or built here. Names of services become this machine, ports become free ones,
paths in containers become those of the repository or of a temporary directory; all else is as
written in the file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.make_env import filled, nobody, with_receivers
from streams.kafka.broker import die_with_parent, free_port
from tests.kafka.apache import KafkaUnavailableError, jars

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(
    (ROOT / "docker-compose.yml").read_text("utf-8")
)["services"]
ENV = dict(
    re.findall(r"^(\w+)=(.+)$", filled((ROOT / ".env.example").read_text("utf-8")), re.MULTILINE)
)


def _environment(name: str) -> dict[str, str]:
    """A service's environment with .env's values in it."""
    return {key: _interpolated(text) for key, text in SERVICES[name]["environment"].items()}


def _interpolated(text: str) -> str:
    """What docker compose makes of ``text`` with .env as ``make env`` writes it."""
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda found: ENV[found[1]], text)


def _needs(*programs: str) -> str:
    """The first of these that is there; skips (in CI: fails) without any."""
    for program in programs:
        found = shutil.which(program)
        if found:
            return found
    reason = f"{programs[0]} is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def _running(command: list[str], home: Path, environment: dict[str, str]) -> Iterator[Path]:
    """A program in the background; its log."""
    log = home / f"{Path(command[0]).name}-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=home,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(),
        )
    try:
        yield log
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(holds: Callable[[], bool], log: Path, what: str, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"not {what}:\n{log.read_text()[-3000:]}"
        time.sleep(0.1)


def _get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        found: bytes = answer.read()
        return found


def _flags(name: str, changes: dict[str, str]) -> list[str]:
    """A service's command with its container's paths and addresses changed."""
    flags = list(map(_interpolated, SERVICES[name]["command"]))
    for inside, outside in changes.items():
        assert any(inside in flag for flag in flags), inside
        flags = [flag.replace(inside, outside) for flag in flags]
    return flags


def test_prometheus_starts_with_its_flags_and_finds_its_rules(tmp_path: Path) -> None:
    program, port = _needs("prometheus"), free_port()
    flags = _flags(
        "prometheus",
        {"=/etc/prometheus": f"={ROOT}/prometheus", "=/prometheus": f"={tmp_path}/data"},
    )
    with _running([program, *flags, f"--web.listen-address=127.0.0.1:{port}"], tmp_path, {}) as log:
        # The path of the health check.
        path = SERVICES["prometheus"]["healthcheck"]["test"][-1].partition(":9090")[2]
        _wait(lambda: b"Healthy" in _get(port, path), log, "healthy")
        _wait(lambda: b"Ready" in _get(port, "/-/ready"), log, "ready")
        groups = json.loads(_get(port, "/api/v1/rules"))["data"]["groups"]
    wanted = list((ROOT / "prometheus" / "rules").glob("*.yml"))
    assert {Path(group["file"]).name for group in groups} == {path.name for path in wanted}
    assert wanted


def test_prometheus_config_is_valid() -> None:
    config = ROOT / "prometheus" / "prometheus.compose.yml"
    checked = subprocess.run(
        [_needs("promtool"), "check", "config", str(config)], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alertmanager_starts_with_its_flags(tmp_path: Path) -> None:
    program, port = _needs("alertmanager", "prometheus-alertmanager"), free_port()
    flags = _flags(
        "alertmanager",
        {"=/etc/alertmanager": f"={tmp_path}", "=/alertmanager": f"={tmp_path}/data"},
    )
    # As make env leaves it when nobody has named a receiver yet.
    routes = (ROOT / "prometheus" / "alertmanager.yml").read_text("utf-8")
    (tmp_path / "alertmanager.yml").write_text(with_receivers(routes, nobody(routes)))
    with _running([program, *flags, f"--web.listen-address=127.0.0.1:{port}"], tmp_path, {}) as log:
        path = SERVICES["alertmanager"]["healthcheck"]["test"][-1].partition(":9093")[2]
        _wait(lambda: b"OK" in _get(port, path), log, "healthy")
        _wait(lambda: b"OK" in _get(port, "/-/ready"), log, "ready")


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kafka_topics_and_worker_start_in_their_order(tmp_path: Path) -> None:
    """Kafka with the container's environment as properties, then the one-shot, then a worker."""
    try:
        classpath = f"{jars()}/*"
    except KafkaUnavailableError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    port, controller, host, web = (free_port() for _ in range(4))
    properties = tmp_path / "server.properties"
    lines = []
    for name, value in _environment("kafka").items():
        if name.startswith("KAFKA_"):  # as the image turns variables into properties
            for inside, outside in (
                ("kafka:9092", f"127.0.0.1:{port}"),
                ("://:9092", f"://127.0.0.1:{port}"),
                ("localhost:9093", f"127.0.0.1:{controller}"),
                ("://:29092", f"://127.0.0.1:{host}"),
                ("localhost:29092", f"127.0.0.1:{host}"),
                ("/var/lib/kafka/data", f"{tmp_path}/kafka"),
            ):
                value = value.replace(inside, outside)
            lines.append(f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}\n")
    properties.write_text("".join(lines))
    java = [_needs("java"), "-Xmx512m", "-Dlog4j2.level=INFO", "-cp", classpath]
    identifier = _environment("kafka")["CLUSTER_ID"]
    subprocess.run(
        [
            *(*java, "kafka.tools.StorageTool", "format", "--cluster-id", identifier),
            *("--config", str(properties)),
        ],
        check=True,
        capture_output=True,
    )

    def hoso(service: str) -> dict[str, str]:
        given = {**_environment(service), "HOSO_BROKERS": f"127.0.0.1:{port}"}
        # What the image adds to it.
        text = (ROOT / "Dockerfile").read_text("utf-8")
        image = dict(re.findall(r"(HOSO_\w+)=(\S+)", text))
        image["HOSO_DATA_DIR"] = str(tmp_path / "data")
        return {**image, **given, "HOSO_WEB_PORT": str(web), "PYTHONPATH": str(ROOT)}

    command = [sys.executable, "-m", "streams"]
    with _running([*java, "kafka.Kafka", str(properties)], tmp_path, {}) as log:
        _wait(lambda: "Kafka Server started" in log.read_text(), log, "started")
        for _ in range(2):  # a second time changes nothing, and is no failure
            made = subprocess.run(
                [*command, *SERVICES["topics"]["command"]],
                env={**os.environ, **hoso("topics")},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert made.returncode == 0, made.stdout + made.stderr
        assert "differs" not in made.stdout
        with _running(
            [*command, *SERVICES["worker"]["command"]], tmp_path, hoso("worker")
        ) as worker:
            check = SERVICES["worker"]["healthcheck"]["test"]
            probe = [sys.executable, *check[2:-1], check[-1].replace(":6066", f":{web}")]
            _wait(
                lambda: subprocess.run(probe, capture_output=True).returncode == 0,
                worker,
                "healthy as its own check says",
            )
            _wait(lambda: b'"ready":true' in _get(web, "/readyz"), worker, "ready")
            assert b"hoso_ready 1.0" in _get(web, "/metrics")
            # Reached through every address, as from another container.
            assert "0.0.0.0" in hoso("worker")["HOSO_WEB_HOST"]
