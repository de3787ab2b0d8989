"""What the API must answer, by the contract's sections 4 and 6, from recounted figures.

Shares are exact fractions until they are compared; then the float nearest to them, as JSON has it.
``last_event_at`` is left out: it is no figure, and speaks of what its worker knew when it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from fractions import Fraction
from math import ceil
from typing import Any

from streams.audit.calendar import end_of, period_before, start_of, year_before
from streams.audit.contract import Registration
from streams.audit.recount import CHANNELS, Counts

INDICATORS = ("services_with_dossiers", "online_processed")
GROUPS = ("national", "ministries", "provinces")
GROUP_OF = {"ministry": "ministries", "province": "provinces"}

Targets = Mapping[tuple[str, str, int], Fraction]
Row = dict[str, Any]
_Sum = Callable[[str, str, str], int]
"""(kind of period, definition, figure) → a scope's count."""


def answer(
    figures: Callable[[date], Counts],
    agencies: Mapping[str, Registration],
    targets: Targets,
    as_of: date,
    kind: str,
    definition: str,
) -> list[Row]:
    """The rows of ``/api/v1/indicators``, in their order."""
    rows: list[Row] = []
    members: list[tuple[str, str | None, list[str]]] = [
        *((group, None, _members(agencies, group)) for group in GROUPS),
        *((code, agencies[code].kind, [code]) for code in sorted(agencies)),
    ]
    then = {"previous_year": year_before(as_of), "previous_period": period_before(kind, as_of)}
    shares: list[dict[str, Fraction | None]] = []
    for scope, of_kind, codes in members:
        count = _adder(figures(as_of), codes)
        row = _counts(count, kind, definition)
        share = _shares(count, kind, definition)
        shares.append({name: _over(*share[name]) for name in INDICATORS})
        row |= {"scope": scope, "kind": of_kind}
        row |= {f"{name}_ratio": _number(shares[-1][name]) for name in INDICATORS}
        for name, day in then.items():
            before = None if day is None else _shares(_adder(figures(day), codes), kind, definition)
            row[name] = {
                f"{i}_ratio": None if before is None else _number(_over(*before[i]))
                for i in INDICATORS
            }
        row["targets"] = {
            i: _gap(i, _target(targets, scope, of_kind, i, as_of.year), share[i], kind, as_of)
            for i in INDICATORS
        }
        rows.append(row)
    for row, own in zip(rows, shares, strict=True):
        rivals = [s for s, r in zip(shares, rows, strict=True) if r["kind"] == row["kind"]]
        row["rank"] = {
            i: None if row["kind"] is None else _rank(own[i], [rival[i] for rival in rivals])
            for i in INDICATORS
        }
    return rows


def _members(agencies: Mapping[str, Registration], group: str) -> list[str]:
    return [c for c, a in agencies.items() if group in ("national", GROUP_OF[a.kind])]


def _adder(counts: Counts, codes: list[str]) -> _Sum:
    return lambda kind, definition, figure: sum(
        counts[code, kind, definition, figure] for code in codes
    )


def _counts(count: _Sum, kind: str, definition: str) -> Row:
    level = {n: count("", "", f"listed_level{n}") for n in (1, 2, 3, 4)}
    listed, eligible = sum(level.values()), count("", "", "eligible")
    return {
        "services_listed": count("", definition, "services_listed"),
        "services_with_dossiers": count(kind, definition, "services_with_dossiers"),
        "dossiers_processed": count(kind, definition, "dossiers_processed"),
        "dossiers_processed_online": count(kind, definition, "dossiers_processed_online"),
        "dossiers_submitted": {c: count(kind, "", f"submitted_{c}") for c in CHANNELS},
        "on_time_ratio": _number(_over(count(kind, "", "on_time"), count(kind, "", "due"))),
        "level4_of_eligible": _number(_over(count("", "", "eligible_level4"), eligible)),
        "level34_of_listed": _number(_over(level[3] + level[4], listed)),
        "level4_of_listed": _number(_over(level[4], listed)),
    }


def _shares(count: _Sum, kind: str, definition: str) -> dict[str, tuple[int, int]]:
    return {
        "services_with_dossiers": (
            count(kind, definition, "services_with_dossiers"),
            count("", definition, "services_listed"),
        ),
        "online_processed": (
            count(kind, definition, "dossiers_processed_online"),
            count(kind, definition, "dossiers_processed"),
        ),
    }


def _target(
    targets: Targets, scope: str, kind: str | None, indicator: str, year: int
) -> Fraction | None:
    for candidate in (scope, GROUP_OF.get(kind or "", scope), "national"):
        if (candidate, indicator, year) in targets:
            return targets[candidate, indicator, year]
    return None


def _gap(
    indicator: str, target: Fraction | None, share: tuple[int, int], kind: str, as_of: date
) -> Row:
    ratio = _over(*share)
    if target is None or ratio is None:
        return {"ratio": _number(target), "shortfall": None, "missing": None, "behind_pace": None}
    pace = target
    if indicator == "services_with_dossiers":
        first, last = start_of(kind, as_of), end_of(kind, as_of)
        pace = target * (as_of - first).days / (last - first).days
    return {
        "ratio": _number(target),
        "shortfall": _number(max(Fraction(0), target - ratio)),
        "missing": max(0, ceil(target * share[1]) - share[0]),
        "behind_pace": _number(max(Fraction(0), pace - ratio)),
    }


def _over(numerator: int, denominator: int) -> Fraction | None:
    return Fraction(numerator, denominator) if denominator else None


def _rank(own: Fraction | None, all_of_the_kind: list[Fraction | None]) -> int | None:
    if own is None:
        return None
    return 1 + sum(1 for rival in all_of_the_kind if rival is not None and rival > own)


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A row's values by dotted name."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
