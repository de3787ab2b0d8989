"""The counts the published timeline must come out at, for each agency and day of publication.

Three kinds of number meet here: published ones, ones implied by them, and chosen ones (the share of
each agency, and every total no publication names). docs/scenarios.md says which is which. The plan
is plain arithmetic on fixed tables: the same on each run.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from math import floor
from random import Random
from typing import Final, NamedTuple

from streams.simulator import agencies as register
from streams.simulator.agencies import Agency
from streams.simulator.figures import (
    DRAFT_2021,
    END_2019,
    END_2020,
    END_2021,
    END_AUGUST_2022,
    LATE_AUGUST_2022,
    LEVEL4_2021,
    MAY_2022,
    Q1_2019,
    Q2_2019,
    SAME_DAY_2020,
)

OPENING: Final = date(2019, 1, 1)
AUGUST_2021: Final = date(2021, 8, 25)

Counts = dict[str, int]


class Groups(NamedTuple):
    """A total of the ministries and one of the provinces."""

    ministries: int
    provinces: int


class Shelf(NamedTuple):
    """An agency's services on a day: listed, at level 3-4, at level 4. Nested in this order."""

    listed: int
    level34: int
    level4: int


class Use(NamedTuple):
    """What is done at an agency in one stretch of a year, counted from the stretch before.

    `lowest` and `regraded` count the services with online dossiers by the stretch's last day: the
    first `lowest` ones of the agency, and in 2019 the first `regraded` of those that leave level 3
    before the year ends. `online` and `offline` dossiers are resolved within the stretch.
    """

    first: date
    last: date
    lowest: int
    regraded: int
    online: int
    offline: int


class AgencyPlan(NamedTuple):
    """Everything that is fixed of one agency before events are drawn."""

    agency: Agency
    shelves: dict[date, Shelf]
    eligible: int
    uses: tuple[Use, ...]


# Day -> services listed, at level 3-4, at level 4. The totals of both groups together are those the
# publications name or imply wherever they do.
_SHELVES: Final[dict[date, tuple[Groups, Groups, Groups]]] = {
    OPENING: (Groups(4980, 111520), Groups(1676, 41500), Groups(520, 10980)),
    Q1_2019: (Groups(5000, 111600), Groups(1705, 42127), Groups(530, 11200)),
    Q2_2019: (Groups(5010, 111700), Groups(1758, 43369), Groups(545, 11500)),
    END_2019: (Groups(5050, 111950), Groups(1790, 21786), Groups(580, 12009)),
    SAME_DAY_2020: (Groups(5090, 112650), Groups(2290, 62210), Groups(1180, 34520)),
    END_2020: (Groups(5090, 112670), Groups(2310, 63268), Groups(1200, 35143)),
    AUGUST_2021: (Groups(5140, 113860), Groups(2700, 73300), Groups(1650, 44350)),
    LEVEL4_2021: (Groups(5170, 114530), Groups(2880, 78120), Groups(2000, 51800)),
    DRAFT_2021: (Groups(5170, 114570), Groups(2885, 78315), Groups(2005, 51995)),
    END_2021: (Groups(5170, 114600), Groups(2890, 78556), Groups(2010, 52290)),
    MAY_2022: (Groups(5175, 114725), Groups(2900, 79000), Groups(0, 0)),
    LATE_AUGUST_2022: (Groups(5180, 114870), Groups(2910, 79390), Groups(0, 0)),
    END_AUGUST_2022: (Groups(5180, 114880), Groups(2911, 79429), Groups(0, 0)),
}

# 2020: every online service of these at level 4 (published).
_ALL_LEVEL4: Final = ("G14", "G18", "G24", "H07", "H53")

# The 21 agencies that had not brought every eligible service to level 4 by 2021-12-15: that they
# are 21 follows from the 70 published, which ones is chosen.
_NOT_ALL_ELIGIBLE: Final = (
    "G01", "G04", "G05", "G08", "G11", "G13", "G17",
    "H01", "H04", "H14", "H16", "H22", "H26", "H29", "H34", "H35", "H41", "H45", "H51", "H52",
    "H62",
)  # fmt: skip
_ELIGIBLE_GAP_2021: Final = 2600  # eligible services below level 4 on 2021-12-15 (chosen)
_ELIGIBLE_GAP_2022: Final = 0.027  # 100 - 97.3 %, of the eligible (published)

# Services at level 3-4 in 2022 of agencies whose published ratio needs a certain denominator.
_FIXED_SHELF: Final = {"G14": 86, "H39": 1275}

# Services with dossiers on 2022-08-25 in percent. Published for ministries; of the five provinces
# only the range, with 96.47 as its upper end.
_SERVICES_2022: Final = {
    "G02": 100.0, "G03": 100.0, "G14": 97.67,
    "H39": 96.47, "H23": 94.83, "H58": 93.67, "H28": 92.41, "H02": 90.58,
}  # fmt: skip
_SERVICES_CAP: Final = {"ministry": 0.94, "province": 0.885}

# Dossiers resolved by 2022-08-25 and, of these, come in online: smallest counts of a fitting size
# that print as 99.99, 99.58, 91.41; 87.02, 75.33, 59.35, 56.73 and 56.6 %.
_ONLINE_2022: Final = {
    "G02": (6667, 6666), "G03": (952, 948), "G12": (710, 649),
    "H28": (917, 798), "H49": (1504, 1133), "H42": (802, 476), "H25": (698, 396),
    "H56": (1302, 737),
}  # fmt: skip
_ONLINE_CAP: Final = {"ministry": 0.85, "province": 0.54}


def apportion(
    total: int, weights: Mapping[str, float], low: Mapping[str, int], high: Mapping[str, int]
) -> Counts:
    """Split `total` in whole numbers by `weights`, within `low` and `high` of each.

    Raises ValueError if the bounds do not allow the total.
    """
    if not sum(low[key] for key in weights) <= total <= sum(high[key] for key in weights):
        raise ValueError(f"{total} does not fit between the bounds")

    def clamped(scale: float) -> dict[str, float]:
        return {k: min(max(w * scale, low[k]), high[k]) for k, w in weights.items()}

    below, above = 0.0, 1.0
    while sum(map(floor, clamped(above).values())) < total:
        below, above = above, above * 2
    for _ in range(80):
        middle = (below + above) / 2
        if sum(map(floor, clamped(middle).values())) <= total:
            below = middle
        else:
            above = middle
    exact = clamped(below)
    counts = {key: floor(value) for key, value in exact.items()}
    by_remainder = sorted(counts, key=lambda key: (counts[key] - exact[key], key))
    rest = total - sum(counts.values())
    while rest:
        for key in by_remainder:
            if rest and counts[key] < high[key]:
                counts[key] += 1
                rest -= 1
    return counts


class _Planner:
    def __init__(self) -> None:
        self.agencies = register.agencies()
        self.by_kind = {
            kind: [a.code for a in self.agencies if a.kind == kind]
            for kind in ("ministry", "province")
        }
        self.codes = [a.code for a in self.agencies]
        draw = Random("agencies of the published record")
        self.size = {
            c: (register.SERVICES.get(c, 1.0)) * draw.uniform(0.85, 1.15) for c in self.codes
        }
        self.traffic = {
            a.code: register.TRAFFIC.get(a.code, 1.0)
            * draw.uniform(0.6, 1.4)
            * (0.7 if a.kind == "ministry" else 1.0)
            for a in self.agencies
        }
        self.share = {c: draw.uniform(0.1, 0.5) for c in self.codes}
        self.reach = {c: draw.uniform(0.2, 0.85) for c in self.codes}
        self.none = dict.fromkeys(self.codes, 0)
        self.one = dict.fromkeys(self.codes, 1)

    def split(
        self,
        totals: Groups,
        weights: Mapping[str, float],
        low: Mapping[str, int],
        high: Mapping[str, int],
    ) -> Counts:
        """Both groups apportioned, each within itself."""
        counts: Counts = {}
        for total, codes in zip(totals, self.by_kind.values(), strict=True):
            counts |= apportion(total, {c: weights[c] for c in codes}, low, high)
        return counts

    def shelves(self) -> tuple[dict[date, dict[str, Shelf]], Counts]:
        result: dict[date, dict[str, Shelf]] = {}
        listed = level34 = level4 = self.none
        eligible: Counts = {}
        open_end = dict.fromkeys(self.codes, 10_000)
        for day, (listed_total, level34_total, level4_total) in _SHELVES.items():
            listed = self.split(listed_total, self.size, listed, open_end)
            low = dict.fromkeys(self.codes, 4) if day == END_2019 else level34
            high = {c: min(listed[c], _FIXED_SHELF.get(c, 10_000)) for c in self.codes}
            low = {c: max(low[c], level4[c]) for c in self.codes}
            if day >= END_2021:
                low |= _FIXED_SHELF
            if day == END_AUGUST_2022:  # those with a published ratio stay where they are
                low |= {c: level34[c] for c in _SERVICES_2022}
                high |= {c: level34[c] for c in _SERVICES_2022}
            level34 = self.split(level34_total, self.size, low, high)
            if day <= END_2021:
                level4 = self.level4(day, level4_total, level4, level34, eligible)
            else:
                level4 = self.level4_of_2022(day, level34, eligible, result[END_2021])
            if day == LEVEL4_2021:
                eligible = self.eligible(level34, level4)
            result[day] = {c: Shelf(listed[c], level34[c], level4[c]) for c in self.codes}
        return result, eligible

    def level4(
        self, day: date, total: Groups, before: Counts, level34: Counts, eligible: Counts
    ) -> Counts:
        low, high = dict(before), dict(level34)
        for code in _NOT_ALL_ELIGIBLE:
            high[code] = eligible[code] - 1 if eligible else int(level34[code] * 0.8)
        if day >= SAME_DAY_2020:
            low |= {c: level34[c] for c in _ALL_LEVEL4}
        return self.split(total, self.size, low, high)

    def eligible(self, level34: Counts, level4: Counts) -> Counts:
        """Full agencies are eligible for what they have; the 21 others for more."""
        room = {c: level34[c] - level4[c] for c in _NOT_ALL_ELIGIBLE}
        gaps = apportion(_ELIGIBLE_GAP_2021, room, dict.fromkeys(_NOT_ALL_ELIGIBLE, 1), room)
        return {c: level4[c] + gaps.get(c, 0) for c in self.codes}

    def level4_of_2022(
        self, day: date, level34: Counts, eligible: Counts, end_2021: Mapping[str, Shelf]
    ) -> Counts:
        start = {c: end_2021[c].level4 for c in self.codes}
        gap_2021 = {c: eligible[c] - start[c] for c in _NOT_ALL_ELIGIBLE}
        gap_2022 = apportion(
            round(sum(eligible.values()) * _ELIGIBLE_GAP_2022), gap_2021, self.none, gap_2021
        )
        done = {MAY_2022: 0.6, LATE_AUGUST_2022: 0.97, END_AUGUST_2022: 1.0}[day]
        counts = {}
        for code in self.codes:
            if code in gap_2022:
                counts[code] = start[code] + floor((gap_2021[code] - gap_2022[code]) * done)
            elif code in _ALL_LEVEL4:
                counts[code] = level34[code]
            else:
                counts[code] = min(level34[code], start[code] + floor(start[code] * 0.02 * done))
        return counts

    # -- services with dossiers

    def services(self, shelves: Mapping[date, Mapping[str, Shelf]]) -> dict[date, Counts]:
        """Services with online dossiers by each day, from the first of the year (2019: those that
        stay at level 3-4 to the end of the year)."""
        at = {day: {c: shelf[c].level34 for c in self.codes} for day, shelf in shelves.items()}
        result: dict[date, Counts] = {}

        kept = self.split(Groups(540, 2909), at[END_2019], self.one, at[END_2019])
        result[END_2019] = kept
        result[Q2_2019] = self.split(Groups(506, 2850), kept, self.one, kept)
        result[Q1_2019] = self.split(Groups(379, 1500), kept, self.one, result[Q2_2019])

        use = {c: at[END_2020][c] * (0.6 + self.reach[c]) for c in self.codes}
        result[SAME_DAY_2020] = apportion(24_723, use, self.one, at[SAME_DAY_2020])
        result[END_2020] = apportion(24_802, use, result[SAME_DAY_2020], at[END_2020])

        use = {c: at[DRAFT_2021][c] * (0.4 + self.reach[c]) for c in self.codes}
        result[DRAFT_2021] = apportion(29_614, use, self.one, at[AUGUST_2021])
        result[AUGUST_2021] = apportion(24_457, use, self.one, result[DRAFT_2021])
        result[END_2021] = apportion(29_880, use, result[DRAFT_2021], at[END_2021])

        august = at[LATE_AUGUST_2022]
        named = {c: floor(august[c] * _SERVICES_2022[c] / 100 + 0.5) for c in _SERVICES_2022}
        cap = {a.code: floor(august[a.code] * _SERVICES_CAP[a.kind]) for a in self.agencies}
        use = {c: august[c] * self.reach[c] for c in self.codes}
        result[LATE_AUGUST_2022] = apportion(42_376, use, self.one | named, cap | named)
        high = {c: min(result[LATE_AUGUST_2022][c], at[MAY_2022][c]) for c in self.codes}
        result[MAY_2022] = apportion(18_853, result[LATE_AUGUST_2022], self.one, high)
        result[END_AUGUST_2022] = apportion(42_880, use, result[LATE_AUGUST_2022], cap | named)
        return result

    def regraded(self, shelves: Mapping[date, Mapping[str, Shelf]]) -> dict[date, Counts]:
        """2019: services with dossiers that leave level 3-4 before the year is over."""
        room = {
            day: {
                c: max(0, shelves[day][c].level34 - shelves[END_2019][c].level34)
                if c in self.by_kind["province"]
                else 0
                for c in self.codes
            }
            for day in (Q1_2019, Q2_2019)
        }
        second = self.split(Groups(0, 6575 - 2850), room[Q2_2019], self.none, room[Q2_2019])
        high = {c: min(second[c], room[Q1_2019][c]) for c in self.codes}
        first = self.split(Groups(0, 3480 - 1500), second, self.none, high)
        return {Q1_2019: first, Q2_2019: second, END_2019: second}

    # -- dossiers resolved

    def resolved(self) -> dict[date, tuple[Counts, Counts]]:
        """Dossiers resolved from the first of the year to each day: online and others."""
        result: dict[date, tuple[Counts, Counts]] = {}

        def year(day: date, total: int, online: int, named: Mapping[str, tuple[int, int]]) -> None:
            all_of = {c: pair[0] for c, pair in named.items()}
            online_of = {c: pair[1] for c, pair in named.items()}
            open_end = dict.fromkeys(self.codes, total)
            both = apportion(total, self.traffic, self.none | all_of, open_end | all_of)
            cap = {a.code: floor(both[a.code] * _ONLINE_CAP[a.kind]) for a in self.agencies}
            weights = {c: both[c] * self.share[c] for c in self.codes}
            part = apportion(online, weights, self.none | online_of, cap | online_of)
            result[day] = part, {c: both[c] - part[c] for c in self.codes}

        def before(day: date, later: date, total: int, online: int) -> None:
            part, rest = result[later]
            result[day] = (
                apportion(online, part, self.none, part),
                apportion(total - online, rest, self.none, rest),
            )

        def after(day: date, earlier: date, total: int, online: int) -> None:
            part, rest = result[earlier]
            open_end = dict.fromkeys(self.codes, total)
            result[day] = (
                apportion(online, {c: part[c] + 1 for c in part}, part, open_end),
                apportion(total - online, {c: rest[c] + 1 for c in rest}, rest, open_end),
            )

        year(END_2019, 6_000, 1_000, {})
        before(Q2_2019, END_2019, 2_800, 430)
        before(Q1_2019, Q2_2019, 1_300, 180)
        year(SAME_DAY_2020, 20_000, 4_596, {})
        after(END_2020, SAME_DAY_2020, 20_600, 4_855)
        year(DRAFT_2021, 24_000, 7_152, {})
        before(AUGUST_2021, DRAFT_2021, 16_000, 4_901)
        after(END_2021, DRAFT_2021, 24_700, 7_380)
        year(LATE_AUGUST_2022, 54_000, 21_503, _ONLINE_2022)
        before(MAY_2022, LATE_AUGUST_2022, 20_000, 4_978)
        after(END_AUGUST_2022, LATE_AUGUST_2022, 55_200, 22_040)
        return result


_YEARS: Final = (
    (Q1_2019, Q2_2019, END_2019),
    (SAME_DAY_2020, END_2020),
    (AUGUST_2021, DRAFT_2021, END_2021),
    (MAY_2022, LATE_AUGUST_2022, END_AUGUST_2022),
)


def plan() -> tuple[AgencyPlan, ...]:
    """The plan of every agency, by code."""
    planner = _Planner()
    shelves, eligible = planner.shelves()
    services = planner.services(shelves)
    regraded = planner.regraded(shelves)
    resolved = planner.resolved()
    plans = []
    for agency in planner.agencies:
        code = agency.code
        uses = []
        for days in _YEARS:
            first = date(days[0].year, 1, 1)
            online = offline = 0
            for last in days:
                part, rest = resolved[last]
                uses.append(
                    Use(
                        first,
                        last,
                        services[last][code],
                        regraded[last][code] if last in regraded else 0,
                        part[code] - online,
                        rest[code] - offline,
                    )
                )
                online, offline = part[code], rest[code]
                first = date.fromordinal(last.toordinal() + 1)
        plans.append(
            AgencyPlan(
                agency,
                {day: shelf[code] for day, shelf in shelves.items()},
                eligible[code],
                tuple(uses),
            )
        )
    return tuple(plans)
