"""Help, settings and errors: what every command has in common."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from streams.cli import main
from streams.cli.errors import Commands
from streams.kafka.broker import free_port
from tests.cli.conftest import Hoso

EXAMPLE = Path(__file__).parents[1] / "data" / "example_events.jsonl"


def _commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


COMMANDS = dict(_commands(main))

# Whatever talks to a broker, with arguments that are right.
TALKING = (
    ("topics", "create"),
    ("worker",),
    ("web",),
    ("reference", "load", str(Path(__file__).parents[2] / "streams" / "data")),
    ("publish", str(EXAMPLE)),
    ("validate", "--registered", str(EXAMPLE)),
    ("simulate", "--scenario", "published"),
    ("report",),
    ("compare", "--from", "2021-08-25"),
)


def test_the_commands_of_the_contract_are_there() -> None:
    assert {" ".join(path) for path in COMMANDS} >= {
        "demo", "broker", "topics create", "worker", "reference load", "publish", "validate",
        "simulate", "report", "compare", "services", "web",
    }  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_explains_itself(hoso: Hoso, path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    result = hoso(*path, "--help")
    assert result.exit_code == 0
    assert command.help
    assert len(command.help.strip()) > 20
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_the_version_is_told(hoso: Hoso) -> None:
    result = hoso("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("hoso ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nix",),
        ("nix",),
        ("topics", "nix"),
        ("simulate",),
        ("simulate", "--scenario", "nix"),
        ("simulate", "--scenario", "live", "--rate", "0"),
        ("report", "--as-of", "2022-2-3"),
        ("report", "--period", "week"),
        ("report", "--definition", "mine"),
        ("report", "--sort", "luck"),
        ("report", "--limit", "0"),
        ("compare",),
        ("compare", "--from", "yesterday"),
        ("services",),
        ("services", "H56", "--as-of", "latest"),
        ("demo", "--scenario", "live", "--headless"),
        ("validate", "there-is-no-such-file"),
        ("validate", "--topic", "agency-months", str(EXAMPLE)),
        ("broker", "--port", "99999"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_named_in_one_line_and_exits_2(
    hoso: Hoso, arguments: tuple[str, ...]
) -> None:
    result = hoso(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "--help" in result.stderr


@pytest.mark.parametrize("arguments", [*TALKING, ("demo", "--headless")], ids=" ".join)
def test_a_wrong_setting_is_named_with_what_was_expected(
    hoso: Hoso, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSO_PARTITIONS", "none")
    result = hoso(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: HOSO_PARTITIONS: 'none' is not valid: ")


@pytest.mark.parametrize("arguments", TALKING, ids=" ".join)
def test_without_a_broker_a_command_says_so_and_exits_2(
    hoso: Hoso, arguments: tuple[str, ...]
) -> None:
    result = hoso(*arguments)
    assert result.stderr == (
        "error: no broker answers at 127.0.0.1:1: connection refused (HOSO_BROKERS)\n"
    )
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_port_that_answers_nothing_is_no_broker(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.cli.running.ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("HOSO_BROKERS", at)
        result = hoso("report")
    assert result.stderr == (
        f"error: no broker answers at {at}: no answer within 0.3 s (HOSO_BROKERS)\n"
    )
    assert result.exit_code == 2


def test_a_taken_port_is_named_by_the_broker(hoso: Hoso) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = hoso("broker", "--port", port)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: cannot listen on 127.0.0.1:{port}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.broker
@pytest.mark.parametrize("command", ["worker", "web"])
def test_a_taken_web_port_is_named(
    hoso: Hoso, on_broker: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("HOSO_WEB_PORT", str(port))
        result = hoso(command)
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f"error: cannot listen on 127.0.0.1:{port} (HOSO_WEB_HOST, HOSO_WEB_PORT): "
    )
    assert result.stderr.count("\n") == 1


@pytest.mark.broker
def test_a_worker_does_not_run_on_other_partition_counts(
    hoso: Hoso, on_broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all topics agree the setting is wrong; see tests/runtime/test_topics.py otherwise."""
    assert hoso("topics", "create").exit_code == 0
    monkeypatch.setenv("HOSO_PARTITIONS", "5")
    for command, topic in (
        ("worker", "but every topic has 4 partitions"),
        ("report", "agencies 4"),
    ):
        result = hoso(command)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: HOSO_PARTITIONS is 5, but ")
        assert topic in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no flock on Windows")
@pytest.mark.broker
def test_two_workers_cannot_share_a_data_directory(
    hoso: Hoso, on_broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streams import settings
    from streams.runtime.process import hold_data

    monkeypatch.setenv("HOSO_STORE", "rocksdb")
    monkeypatch.setenv("HOSO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HOSO_WEB_PORT", str(free_port()))
    with hold_data(settings.load()):
        result = hoso("worker")
    assert result.exit_code == 2
    assert "give each worker its own HOSO_DATA_DIR" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unforeseen_error_is_one_line_too(hoso: Hoso, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of\nluck")

    monkeypatch.setattr("streams.cli.events._judge", fail)
    result = hoso("validate", EXAMPLE)
    assert result.exit_code == 2
    assert result.stderr == "error: RuntimeError: out of luck (HOSO_LOG_LEVEL=debug shows where)\n"


@pytest.mark.parametrize("name", sorted(Commands.SAY_IT_ALL))
def test_every_error_that_says_it_all_is_where_it_is_looked_for(name: str) -> None:
    """They are told by name; one that was moved would be printed as if it were a fault."""
    module, _, kind = name.rpartition(".")
    assert issubclass(getattr(import_module(module), kind), Exception)
    assert getattr(import_module(module), kind).__module__ == module
