"""What every engine counts, and the rule by which the peers count it. Standard library only.

Peers run under an interpreter of their own, with other packages, so nothing here imports any.
The rule is the part of the contract that the benchmark's events need: duplicates and facts that
come before their submission, but no corrections, no withdrawals and no catalogue. That is less
than hoso does, in the peers' favour.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

TOPICS = ("hoso.submissions", "hoso.processing")
ENDED = (9, 10)
"""The statuses by which a dossier is resolved."""


class Expected(NamedTuple):
    """What a right result must show, of one agency or of all together."""

    dossiers: int
    resolved: int
    resolved_online: int
    services: int
    """Distinct services with an online dossier; of different agencies they are different ones."""


Counted = dict[str, Expected]
"""Agency code → its figures. An agency without dossiers has no entry."""


def total(counted: Counted) -> Expected:
    """The figures of all agencies together."""
    return Expected(*(sum(column) for column in zip(*counted.values(), strict=True)))


def differences(counted: Counted, expected: Counted) -> list[str]:
    """One line for each agency whose figures are wrong, missing or too many; none if all agree."""
    return [
        f"{code}: counted {tuple(counted.get(code, ()))}, expected {tuple(expected.get(code, ()))}"
        for code in sorted(counted.keys() | expected.keys())
        if counted.get(code) != expected.get(code)
    ]


class Fact(NamedTuple):
    """What an event says of a dossier."""

    agency: str
    dossier: str
    service: str | None
    """None if the event is not a submission."""
    online: bool
    ended: bool


State = tuple[str | None, bool, bool]
"""Of a dossier: service (None before its submission), came in online, has ended."""

UNKNOWN: State = (None, False, False)


def merge(state: State, fact: Fact) -> State:
    """The state with a fact added; the same for a fact that is known."""
    service, online, ended = state
    if fact.service is not None:
        service, online = fact.service, fact.online
    return service, online, ended or fact.ended


class Gain(NamedTuple):
    """What a change of one dossier adds to its agency's figures."""

    dossiers: int
    resolved: int
    resolved_online: int
    service: str | None
    """The service that has an online dossier now."""


def gain(before: State, after: State) -> Gain | None:
    """What the step from ``before`` to ``after`` adds, None if nothing."""
    if before == after or after[0] is None:
        return None
    new = before[0] is None
    ended = after[2] and (new or not before[2])
    return Gain(
        int(new), int(ended), int(ended and after[1]), after[0] if new and after[1] else None
    )


def tally(
    channels: dict[tuple[str, str], str | None],
    ended: Iterable[tuple[str, str]],
    services: Iterable[tuple[str, str]],
) -> Counted:
    """Figures by agency from (agency, dossier) → channel, ended dossiers, services used online."""
    figures = {agency: [0, 0, 0, 0] for agency, _ in channels}
    for agency, _ in channels:
        figures[agency][0] += 1
    for key in ended:
        if key in channels:
            figures[key[0]][1] += 1
            figures[key[0]][2] += channels[key] == "online"
    for agency, _ in services:
        figures[agency][3] += 1
    return {agency: Expected(*row) for agency, row in figures.items()}
