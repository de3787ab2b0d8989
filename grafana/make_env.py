"""Write .env from .env.example, with a random value wherever that has none.

``python3 grafana/make_env.py``; needs nothing but Python. Never touches a .env that is there.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def filled(example: str) -> str:
    """The example with 16 random bytes, URL-safe, for every ``NAME=``."""
    lines = [f"{line}{_token()}" if line.endswith("=") else line for line in example.splitlines()]
    return "\n".join(lines) + "\n"


def _token() -> str:
    # Kafka takes a cluster's id for an option if it begins with a hyphen.
    while (token := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return token


def main() -> int:
    path = ROOT / ".env"
    text = filled((ROOT / ".env.example").read_text(encoding="utf-8"))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(".env is there already; delete it to have another", file=sys.stderr)  # noqa: T201
        return 1
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
