"""Each figure of a scope written out: what is divided by what, and by which rule."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import NamedTuple

from streams.api.pages.shares import Row, Share
from streams.api.pages.state import State
from streams.api.pages.texts import Words
from streams.api.pages.written import Written
from streams.domain.calendar import month_and_day
from streams.domain.definitions import DEFINITIONS
from streams.domain.indicators import NATIONAL, Figures
from streams.domain.targets import GROUP_OF


class Step(NamedTuple):
    """A line that follows from the share: its name, and the reckoning."""

    name: str
    text: str


class Formula(NamedTuple):
    """A figure: in words, in numbers, and what follows."""

    key: str
    name: str
    numerator: int
    denominator: int
    counts: str
    """What the numerator counts."""
    out_of: str
    share: str
    exact: str
    """The share with six decimals and whether it is that; empty where there is none."""
    steps: list[Step]


def belongs(figures: Figures, scope: str) -> bool:
    """Whether an agency is of ``scope``: a group, or the agency itself."""
    return scope in (NATIONAL, GROUP_OF[figures.kind or "ministry"], figures.scope)


def written_out(row: Row, state: State, words: Words, written: Written) -> list[Formula]:
    """Every figure of a row."""
    counts = row.figures.counts
    definition = DEFINITIONS[state.definition]
    found = []
    for share in (row.services, row.online):
        what = words.counted(share.indicator, definition)
        fraction = share.numerator, share.denominator
        steps = _steps(share, state, words, written)
        found.append(_formula(share.indicator, fraction, what, steps, words, written))
    for key, fraction, what in (
        ("on_time", (counts.on_time, counts.due), ("kept", "due")),
        (
            "level4_of_eligible",
            (counts.eligible_level4, counts.eligible),
            ("eligible4", "eligible"),
        ),
        ("level34_of_listed", (counts.level34, counts.listed), ("at34", "listed_any")),
        ("level4_of_listed", (counts.level4, counts.listed), ("at4", "listed_any")),
    ):
        said = words(what[0]), words(what[1])
        found.append(_formula(key, fraction, said, [], words, written))
    return found


def _formula(
    key: str,
    fraction: tuple[int, int],
    what: tuple[str, str],
    steps: list[Step],
    words: Words,
    written: Written,
) -> Formula:
    numerator, denominator = fraction
    exact = ""
    if denominator:
        sign = "≈" if numerator * 10**6 % denominator else "="
        exact = f"{sign} {written.decimal(Fraction(numerator, denominator), 6)}"
    return Formula(
        key, words(key), numerator, denominator, *what,
        written.percent(numerator, denominator), exact, steps,
    )  # fmt: skip


def _steps(share: Share, state: State, words: Words, written: Written) -> list[Step]:
    target, period = share.gap.target, state.period
    year = month_and_day(period.end)[0] // 12
    if target is None:
        return [Step(words("target_of", year=year), words("no_target"))]
    steps = [Step(words("target_of", year=year), written.target(target))]
    if share.ratio is None or share.gap.missing is None:
        return steps
    services = share.indicator == "services_with_dossiers"
    unit = words("services_unit" if services else "dossiers_unit")
    needed = ceil(target * share.denominator)
    steps.append(
        Step(
            words("shortfall"),
            f"{written.target(target)} − {written.percent(share.numerator, share.denominator)} → "
            + words("points", n=written.points(share.gap.shortfall))
            if share.gap.missing
            else words("met"),
        )
    )
    if share.gap.missing:
        steps.append(
            Step(
                words("missing_formula"),
                f"⌈{written.target(target)} × {written.count(share.denominator)}⌉ − "
                f"{written.count(share.numerator)} = {written.count(needed)} − "
                f"{written.count(share.numerator)} = {written.count(share.gap.missing)} {unit}",
            )
        )
    if services and share.pace is not None:
        gone, all_days = period.end - period.start, period.last - period.start
        days = words("pace_days", n=written.count(gone), all=written.count(all_days))
        reckoned = (
            f"{written.target(target)} × {days} = "
            f"{written.percent(share.pace.numerator, share.pace.denominator)}"
        )
    else:
        reckoned = words("pace_is_target")
    late = share.gap.behind_pace
    verdict = words("behind_pace", n=written.points(late)) if late else words("on_pace")
    steps.append(Step(words("pace_formula", day=written.day(period.end)), f"{reckoned}; {verdict}"))
    return steps
