"""Synthetic events of a busy country: duplicates, corrections, withdrawals and late arrivals."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from typing import Any

from tests.domain.events import assigned, listed, processed, registered, submitted

Event = dict[str, Any]

AGENCIES = {**{f"H{n:02d}": "province" for n in range(1, 9)}, "G01": "ministry", "G02": "ministry"}
_FIRST = date(2021, 6, 1)


def reference() -> list[Event]:
    """Ten agencies and a few targets."""
    return [
        *(registered(code, kind) for code, kind in AGENCIES.items()),
        assigned("national", 0.8),
        assigned("provinces", 0.5, "online_processed"),
        assigned("H03", 0.55),
    ]


def facts(seed: int, count: int) -> list[Event]:
    """``count`` events in the order of sending; a function of the seed alone."""
    random = Random(seed)
    pick, chance = random.choice, random.random
    made: list[Event] = []
    codes = list(AGENCIES)
    for agency in codes:
        for n in range(12):
            made.append(
                listed(f"S{n}", level=pick((2, 3, 4, 4)), since="2021-01-01", agency=agency)
            )
            if chance() < 0.3:
                since = (_FIRST + timedelta(days=random.randint(0, 400))).isoformat()
                level, down = pick((3, 4)), chance() < 0.3
                made.append(listed(f"S{n}", level=level, since=since, agency=agency, down=down))
    nth = 0
    while len(made) < count * 0.9:
        agency = pick(codes)
        nth += 1
        made += _dossier(random, agency, f"{agency}-{nth:05d}")
    # Late and out of order: a tenth of the events change places with others far away.
    for _ in range(len(made) // 10):
        i, j = random.randrange(len(made)), random.randrange(len(made))
        made[i], made[j] = made[j], made[i]
    while len(made) < count:
        at = random.randrange(len(made))
        made.insert(random.randint(at, len(made)), made[at])
    return made[:count]


def _dossier(random: Random, agency: str, code: str) -> list[Event]:
    chance = random.random
    on = _FIRST + timedelta(days=random.randint(0, 450))
    sent: dict[str, Any] = {
        "service": f"S{random.randrange(14)}",
        "channel": random.choice(("online", "online", "in_person", "postal", None)),
        "agency": agency,
    }
    due = (on + timedelta(days=10)).isoformat() if chance() < 0.7 else None
    made = [submitted(code, on.isoformat(), due=due, **sent)]
    if chance() < 0.08:
        moved = (on + timedelta(days=random.randint(-40, 40))).isoformat()
        sent["channel"] = "online"
        made.append(submitted(code, moved, due=due, revision=1, void=chance() < 0.3, **sent))
    for status in random.choice(((2, 4, 9), (2, 9), (3,), (2, 5, 6, 10), (), (7,), (2,))):
        on += timedelta(days=random.randint(0, 9))
        made.append(processed(status, on.isoformat(), dossier=code, agency=agency))
        if chance() < 0.04:
            made.append(
                processed(
                    status, on.isoformat(), dossier=code, agency=agency, revision=1, void=True
                )
            )
    return made
