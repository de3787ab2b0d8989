"""The published figures as checks, and those that cannot be one, each with its reason.

Every line of reference/published_figures.csv is in `CHECKS` or in `NOT_COVERED`; a test compares.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from streams.simulator.scenario import Check

DEFINITION = "mic-2022"

Q1_2019 = date(2019, 3, 31)
Q2_2019 = date(2019, 6, 30)
END_2019 = date(2019, 12, 31)
SAME_DAY_2020 = date(2020, 12, 22)
END_2020 = date(2020, 12, 31)
LEVEL4_2021 = date(2021, 12, 15)
DRAFT_2021 = date(2021, 12, 22)
END_2021 = date(2021, 12, 31)
MAY_2022 = date(2022, 5, 16)
LATE_AUGUST_2022 = date(2022, 8, 25)
END_AUGUST_2022 = date(2022, 8, 31)

SERVICES = "services_with_dossiers_ratio"
ONLINE = "online_processed_ratio"


def _check(
    rows: tuple[int, ...],
    as_of: date,
    scope: str,
    indicator: str,
    published: str,
    *,
    period: str = "year",
    note: str = "",
    above: str | None = None,
) -> Check:
    figure = Decimal(published)
    exponent = figure.as_tuple().exponent
    assert isinstance(exponent, int)
    return Check(
        as_of=as_of,
        scope=scope,
        period=period,
        indicator=indicator,
        definition=DEFINITION,
        published=figure,
        decimals=-exponent,
        note=note,
        above=None if above is None else Decimal(above),
        rows=rows,
    )


_FIVE_PROVINCES = {"H39": 43, "H23": 44, "H58": 45, "H28": 46, "H02": 47}
_RANGE = "only a range is published for the five provinces: over 90 to 96.47"

CHECKS: tuple[Check, ...] = (
    # 2019, by quarter
    _check((4,), Q1_2019, "provinces", SERVICES, "8.26", period="quarter"),
    _check((), Q1_2019, "provinces", "services_listed", "42127", period="quarter",
           note="implied: 43,369 less the 1,242 added in Q2"),
    _check((5,), Q1_2019, "ministries", SERVICES, "22.23", period="quarter",
           note="followed against the 1,709 services implied by the 49 added in Q2: "
           "no whole number of 1,709 prints as 22.23 % (380 prints as 22.24)"),
    _check((2,), Q2_2019, "provinces", SERVICES, "15.16", period="quarter",
           note="read as the quarter alone"),
    _check((2,), Q2_2019, "provinces", "services_with_dossiers", "6575", period="quarter"),
    _check((2, 6), Q2_2019, "provinces", "services_listed", "43369", period="quarter"),
    _check((3,), Q2_2019, "ministries", SERVICES, "28.78", period="quarter",
           note="read as the quarter alone"),
    _check((), Q2_2019, "ministries", "services_with_dossiers", "506", period="quarter",
           note="implied: the only count that prints as 28.78 % of 1,758"),
    _check((3, 7), Q2_2019, "ministries", "services_listed", "1758", period="quarter"),
    # 2019 and 2020, the year
    _check((8,), END_2019, "national", SERVICES, "14.63"),
    _check((10, 18), END_2019, "national", "level4_of_listed", "10.76"),
    _check((22,), END_2019, "national", "level34_of_listed", "20.15"),
    _check((24,), SAME_DAY_2020, "national", SERVICES, "38.33",
           note="the same period of 2020 is read as 1 January to 22 December"),
    _check((), SAME_DAY_2020, "national", ONLINE, "22.98",
           note="implied: 29.80 in 2021 is a rise of 6.82 points"),
    _check((9,), END_2020, "national", SERVICES, "37.82"),
    _check((11,), END_2020, "national", "level4_of_listed", "30.86",
           note="followed against 30.85 in another publication"),
    _check((21,), END_2020, "national", "level34_of_listed", "55.7"),
    _check((), END_2020, "national", "services_listed", "65578",
           note="implied: 81,446 less the 15,868 added in 2021"),
    *(
        _check((row,), END_2020, scope, "level4_of_level34", "100")
        for row, scope in ((13, "G18"), (14, "G14"), (15, "G24"), (16, "H07"), (17, "H53"))
    ),
    # 2021
    _check((28,), LEVEL4_2021, "national", "agencies_at_full_level4", "70",
           note="read as: every eligible service at level 4"),
    _check((23,), DRAFT_2021, "national", SERVICES, "36.47"),
    _check((25,), DRAFT_2021, "national", ONLINE, "29.80"),
    _check((12,), END_2021, "national", ONLINE, "30"),
    _check((20,), END_2021, "national", "level34_of_listed", "68"),
    _check((20,), END_2021, "national", "services_listed", "81446"),
    _check((26,), END_2021, "national", "target_services_with_dossiers", "50"),
    _check((27,), END_2021, "national", "target_online_processed", "30"),
    # 2022
    _check((29,), MAY_2022, "national", SERVICES, "23.02",
           note="the average of the country is read as pooled, from 1 January"),
    _check((30,), MAY_2022, "national", ONLINE, "24.89", note="read as from 1 January"),
    _check((33,), LATE_AUGUST_2022, "national", SERVICES, "51.49"),
    _check((34,), LATE_AUGUST_2022, "national", ONLINE, "39.82"),
    _check((37,), LATE_AUGUST_2022, "G02", SERVICES, "100"),
    _check((38,), LATE_AUGUST_2022, "G03", SERVICES, "100"),
    _check((39,), LATE_AUGUST_2022, "G14", SERVICES, "97.67"),
    _check((40,), LATE_AUGUST_2022, "G02", ONLINE, "99.99"),
    _check((41,), LATE_AUGUST_2022, "G03", ONLINE, "99.58"),
    _check((42,), LATE_AUGUST_2022, "G12", ONLINE, "91.41"),
    *(
        _check((row,), LATE_AUGUST_2022, scope, SERVICES, "96.47", above="90", note=_RANGE)
        for scope, row in _FIVE_PROVINCES.items()
    ),
    _check(tuple(_FIVE_PROVINCES.values()), LATE_AUGUST_2022, "provinces",
           "highest_services_with_dossiers_ratio", "96.47",
           note="the upper end of the range: the first of the provinces, whichever it is"),
    _check((48,), LATE_AUGUST_2022, "H28", ONLINE, "87.02"),
    _check((49,), LATE_AUGUST_2022, "H49", ONLINE, "75.33"),
    _check((50,), LATE_AUGUST_2022, "H42", ONLINE, "59.35"),
    _check((51,), LATE_AUGUST_2022, "H25", ONLINE, "56.73"),
    _check((52,), LATE_AUGUST_2022, "H56", ONLINE, "56.6"),
    _check((35,), END_AUGUST_2022, "national", ONLINE, "40"),
    _check((36,), END_AUGUST_2022, "national", "level4_of_eligible", "97.3"),
    _check((31, 53), END_AUGUST_2022, "national", "target_services_with_dossiers", "80"),
    _check((32, 54), END_AUGUST_2022, "national", "target_online_processed", "50"),
)  # fmt: skip

# Line of the CSV -> why no timeline can meet it beside the others.
NOT_COVERED: dict[int, str] = {
    19: "30.85 for level 4 at the end of 2020 contradicts 30.86 (line 11) of the same day; "
    "line 11 is followed, because it comes with 37.82 and 10.76, which are followed too",
}
