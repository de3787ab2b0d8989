"""What fails, when and for how long: a function of the seed, the profile and the kind of broker."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, NamedTuple, get_args

Kind = Literal[
    "kill",
    "scale",
    "broker",
    "freeze",
    "wipe",
    "cut",
    "delay",
    "clock",
    "damage",
    "abort",
    "refuse",
    "hostile",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

WORKERS = 3
NODES = 3


class Fault(NamedTuple):
    at: float
    """Seconds from the start of the faults."""
    kind: Kind
    targets: tuple[int, ...]
    """Which workers, counted among those that are running then; for ``scale`` how many there shall
    be; for ``broker`` the node, or -1 for the coordinator of the workers' group; for what portals
    do, a number to choose by."""
    seconds: float = 0.0
    """How long it lasts."""
    detail: str = ""
    """``cut``: ``hang`` or ``reset``; ``scale``: ``term`` or ``kill`` for those that go."""
    amount: float = 0.0
    """``delay``: seconds each way; ``clock``: seconds the clock is moved."""
    node: int | None = None
    """``cut`` and ``delay``: the one broker that is concerned, or all."""


@dataclass(frozen=True)
class Profile:
    """How much of everything. Counts are of single faults: two workers killed at once are two."""

    name: str
    seconds: float
    events: int
    kills: int
    scales: int
    brokers: int
    freezes: int
    freeze_seconds: float
    wipes: int
    cuts: int
    clocks: int
    damages: int
    """Stores with flipped bits, while their worker is down."""
    aborts: int
    """Transactions that are open for a while, and aborted."""
    refusals: int
    """Registrations and targets that must be refused, behind good ones of the same key."""
    hostiles: int
    """Sets of records that are huge, oddly named or out of all time."""
    partitions: int = 12

    def lasting(self, seconds: float) -> Profile:
        """The same faults and events within another time."""
        return replace(self, seconds=seconds)

    def on(self, partitions: int) -> Profile:
        """The same on topics of so many partitions."""
        return replace(self, partitions=partitions)


FULL = Profile("full", 45 * 60, 1_000_000, 200, 30, 20, 10, 90, 6, 44, 6, 12, 40, 40, 30)
MEDIUM = Profile("medium", 150, 60_000, 12, 4, 3, 1, 15, 2, 5, 2, 2, 4, 6, 4)
QUICK = Profile("quick", 40, 6_000, 3, 2, 1, 1, 9, 1, 3, 1, 1, 2, 3, 2)
"""Every kind of fault at least once; cuts count slow networks in."""


def plan(seed: int, profile: Profile, *, nodes: int = NODES, on_disk: bool = True) -> list[Fault]:
    """The faults in the order of their times.

    Every kind is spread evenly, one in each part of the time. With one node there is none to
    spare, and no broker is killed; it is then the embedded one, which has no transactions.
    ``on_disk``: there are stores that can be damaged.
    """
    random = Random(f"{seed} faults")
    whole = profile.seconds
    faults: list[Fault] = []

    def times(count: int, lasting: float = 0.0) -> list[float]:
        part = whole / max(count, 1)
        return [n * part + random.random() * max(0.0, part - lasting) for n in range(count)]

    bursts: list[int] = []
    while (left := profile.kills - sum(bursts)) > 0:
        bursts.append(min(left, random.choice((1, 1, 1, 2, 3))))
    for at, size in zip(times(len(bursts)), bursts, strict=True):
        targets = tuple(random.sample(range(WORKERS), size))
        faults.append(Fault(at, "kill", targets))
    for nth, at in enumerate(times(profile.scales)):
        faults.append(
            Fault(at, "scale", (1 if nth % 2 == 0 else 3,), detail=random.choice(("term", "kill")))
        )
    down = min(15.0, whole / 8)
    for nth, at in enumerate(times(profile.brokers if nodes > 1 else 0, down)):
        node = -1 if nth % 2 == 0 else random.randrange(nodes)
        faults.append(Fault(at, "broker", (node,), seconds=random.uniform(0.3, 1) * down))
    for at in times(profile.freezes, profile.freeze_seconds):
        faults.append(Fault(at, "freeze", (random.randrange(WORKERS),), profile.freeze_seconds))
    for at in times(profile.wipes):
        faults.append(Fault(at, "wipe", (random.randrange(WORKERS),), random.uniform(0.5, 3)))
    for nth, at in enumerate(times(profile.cuts, 5)):
        one = random.randrange(nodes) if random.random() < 0.4 else None
        lasting = random.choice((1.0, 3.0, 8.0, 20.0)) if whole > 60 else 7.0
        target = (random.randrange(WORKERS),)
        if nth % 3 == 2:
            amount = random.uniform(0.02, 0.4)
            faults.append(Fault(at, "delay", target, lasting, amount=amount, node=one))
        else:
            detail = random.choice(("hang", "reset"))
            faults.append(Fault(at, "cut", target, lasting, detail, node=one))
    for at in times(profile.clocks):
        jump = random.choice((-86_400.0, -600.0, 600.0, 7_200.0, 86_400.0 * 40))
        target = (random.randrange(WORKERS),)
        faults.append(Fault(at, "clock", target, min(60.0, whole / 4), amount=jump))
    for at in times(profile.damages if on_disk else 0):
        faults.append(Fault(at, "damage", (random.randrange(WORKERS),), random.uniform(0.5, 3)))
    longest = min(15.0, whole / 10)
    for at in times(profile.aborts if nodes > 1 else 0, longest):
        faults.append(
            Fault(at, "abort", (random.randrange(1000),), random.uniform(0.2, 1) * longest)
        )
    for at in times(profile.refusals):
        faults.append(Fault(at, "refuse", (random.randrange(1000),)))
    for at in times(profile.hostiles):
        faults.append(Fault(at, "hostile", (random.randrange(1000),)))
    return sorted(faults)


def tally(faults: list[Fault]) -> Counter[str]:
    """How many of each kind are planned."""
    found: Counter[str] = Counter()
    for fault in faults:
        found[fault.kind] += len(fault.targets)
    return found
