"""The versions of the libraries whose inner parts hoso uses: no other is started with.

Every guarantee rests on private parts of aiokafka, Faust and Faust's ``mode`` (which ones:
``streams/kafka/aiokafka_internals.py`` and ``streams/runtime/faust_driver.py``). Another version
may have changed them without an error, so it is tried by the tests first, and then named here and
in ``pyproject.toml``. Imports none of them: with another version, that could fail first.
"""

from __future__ import annotations

import re
from importlib import metadata

TESTED = {"aiokafka": "0.14.0", "faust-streaming": "0.15.3", "mode-streaming": "0.7.1"}
"""Package → the version that the tests have run with."""


class UntestedVersionError(Exception):
    """A library is not of the version that hoso was tested with; a line for each of them."""


def require_tested_versions() -> None:
    """Raises :class:`UntestedVersionError`, which says how to get out of it."""
    wrong = []
    for package, tested in TESTED.items():
        try:
            found = metadata.version(package)
            here = f"{package} {found} is installed"
        except metadata.PackageNotFoundError:
            found = ""
            here = f"{package} is not installed"
        if _release(found) != tested:
            wrong.append(
                f"{here}, but hoso is tested with {tested} only: pip install '{package}=={tested}'"
            )
    if wrong:
        raise UntestedVersionError("\n".join(wrong))


def _release(version: str) -> str:
    """Without what is a build's alone: a distributor's ``+local``, a ``.post1``."""
    return re.sub(r"(\.post\d+)?(\+.*)?$", "", version)
