"""Write what docker compose needs and git must not have: .env and the directory settings.

``python3 grafana/make_env.py``; needs nothing but Python. A .env and a settings/receivers.yml that
are there are yours and never touched; the other two files are made anew from them each time:
settings/alertmanager.yml, the routes of prometheus/alertmanager.yml with those receivers, and
settings/workers.yml, how many workers there should be.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

_RECEIVERS = re.compile(r"^receivers:\n(?:[ \-#].*\n|\n)*", re.MULTILINE)
_NAME = re.compile(r"^ *- name: *['\"]?([\w-]+)", re.MULTILINE)

_HEAD = """\
# Who hears of alerts: Alertmanager's own `receivers`, of any kind it has (webhook_configs,
# email_configs, telegram_configs …; prometheus.io/docs/alerting/latest/configuration). Not in git,
# so addresses and passwords may stand here. Nobody hears of anything while there are only names.
# After a change: make env, then docker compose kill -s SIGHUP alertmanager.
#
#   - name: pager
#     webhook_configs:
#       - url: https://pager.example.org/hoso
#         send_resolved: false
#         max_alerts: 20
#   - name: ministries
#     email_configs:
#       - to: bo-nganh@example.vn
#         headers: {Subject: '{{ template "hoso.subject" . }}'}
#         html: '{{ template "hoso.html" . }}'
#         text: '{{ template "hoso.text" . }}'
#
# send_resolved: false everywhere (webhooks have true as they come): to Alertmanager an alert is
# also over when Prometheus is away. What is over, Prometheus says itself.
#
# An address of this machine is host.docker.internal here: 127.0.0.1 is the container itself.
receivers:
"""

_WORKERS = """\
# Written by make env from HOSO_WORKERS in .env: a worker whose container is gone has no address
# any more, so only its number can tell that it is missing.
groups:
  - name: hoso-workers-expected
    rules:
      - record: hoso:workers_expected:count
        expr: vector({})
"""


class EnvError(Exception):
    """What was found cannot be used; the message says where and why."""


def filled(example: str) -> str:
    """The example with 16 random bytes, URL-safe, for every ``NAME=``."""
    lines = [f"{line}{_token()}" if line.endswith("=") else line for line in example.splitlines()]
    return "\n".join(lines) + "\n"


def _token() -> str:
    # Kafka takes a cluster's id for an option if it begins with a hyphen.
    while (token := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return token


def nobody(config: str) -> str:
    """A receivers.yml with every receiver that the routes of ``config`` name, and no address."""
    return _HEAD + "".join(f"  - name: {name}\n" for name in _names(config))


def with_receivers(config: str, receivers: str) -> str:
    """Alertmanager's ``config`` with these receivers. Raises ``EnvError`` where one is missing."""
    missing = [name for name in _names(config) if name not in _names(receivers)]
    if missing:
        raise EnvError(f"settings/receivers.yml: no receiver named {', '.join(missing)}")
    text = receivers if receivers.endswith("\n") else receivers + "\n"
    return _RECEIVERS.sub(lambda _: text, config, count=1)


def _names(text: str) -> list[str]:
    found = _RECEIVERS.search(text)
    if found is None:
        raise EnvError("no line `receivers:` with receivers below it")
    return _NAME.findall(found[0])


def tells_of_ends(receivers: str) -> bool:
    """Whether somebody is told that alerts are resolved: all kinds but two tell as they come."""
    text = re.sub(r"^ *#.*", "", receivers, flags=re.MULTILINE)
    kinds = re.findall(r"^ +(\w+)_configs:", text, re.MULTILINE)
    told_not_to = len(re.findall(r"\bsend_resolved: *false\b", text))
    return "send_resolved: true" in text or told_not_to < sum(
        kind not in ("email", "slack") for kind in kinds
    )


def workers(env: str) -> int:
    """How many workers a .env asks for."""
    found = re.findall(r"^HOSO_WORKERS=(.*)$", env, re.MULTILINE)
    given = found[-1].strip() if found else "1"
    if not re.fullmatch(r"[1-9]\d?", given):
        raise EnvError(f".env: HOSO_WORKERS: expected a number from 1 to 99, found {given!r}")
    return int(given)


def workers_rule(env: str) -> str:
    """The rule that tells Prometheus how many workers a .env asks for."""
    return _WORKERS.format(workers(env))


def main() -> int:
    settings = ROOT / "settings"
    settings.mkdir(mode=0o700, exist_ok=True)
    config = (ROOT / "prometheus" / "alertmanager.yml").read_text(encoding="utf-8")
    try:
        env = _kept(ROOT / ".env", filled((ROOT / ".env.example").read_text(encoding="utf-8")))
        receivers = _kept(settings / "receivers.yml", nobody(config))
        # In place, since containers have the file itself: a new one they would not see. Nobody else
        # gets through the directory, but in the container its reader is another user.
        for name, text in {
            "alertmanager.yml": with_receivers(config, receivers),
            "workers.yml": workers_rule(env),
        }.items():
            if (settings / name).is_dir():
                raise EnvError(
                    f"settings/{name}: a directory, as docker makes one for a file that is not "
                    "there yet: docker compose down, remove it, and make env again"
                )
            (settings / name).write_text(text, encoding="utf-8")
            (settings / name).chmod(0o644)
    except EnvError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    if not re.search(r"^ +[a-z]+_configs:", receivers, re.MULTILINE):
        print("nobody hears of alerts yet: settings/receivers.yml", file=sys.stderr)  # noqa: T201
    elif tells_of_ends(receivers):
        print(  # noqa: T201
            "settings/receivers.yml: without send_resolved: false people are told that all is well"
            " whenever Prometheus is away",
            file=sys.stderr,
        )
    return 0


def _kept(path: Path, text: str) -> str:
    """What the file has; it is written with ``text``, for its owner alone, if there is none."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return text


if __name__ == "__main__":
    sys.exit(main())
