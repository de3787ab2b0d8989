"""The indicators of the three definitions, groups and ranks: section 4, one rule a test."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.calendar import PERIOD_KINDS, PeriodKind, period_of
from streams.domain.definitions import COLUMNS, DEFAULT_DEFINITION, DEFINITIONS
from streams.domain.indicators import ranks, sums, sums_by_kind
from tests.domain.events import Event, listed, processed, registered, removed, submitted, taken_down
from tests.domain.register import Register, agreed
from tests.domain.worlds import World, worlds

_END = "2022-12-31"
_DAY = date.fromisoformat(_END)


def _share(row: dict[str, Any]) -> tuple[int, int]:
    return row["services_with_dossiers"], row["services_listed"]


def _processed(row: dict[str, Any]) -> tuple[int, int]:
    return row["dossiers_processed_online"], row["dossiers_processed"]


# -- definitions -----------------------------------------------------------------------------------


def test_the_definitions_are_the_three_of_the_contract() -> None:
    assert list(DEFINITIONS) == ["mic-2022", "qd766", "emc-2024"]
    assert DEFAULT_DEFINITION == "mic-2022"
    assert len(set(COLUMNS)) == len(COLUMNS)


@pytest.mark.parametrize(
    ("definition", "share"), [("mic-2022", (2, 2)), ("qd766", (4, 4)), ("emc-2024", (1, 1))]
)
def test_each_definition_counts_services_at_its_own_levels(
    definition: str, share: tuple[int, int]
) -> None:
    events = [registered()]
    for level in (1, 2, 3, 4):
        service = f"S{level}"
        events += [listed(service, level=level), submitted(f"D{level}", service=service)]
        events += [processed(2, dossier=f"D{level}")]
    assert _share(agreed(events, _END, definition=definition)) == share


def test_emc_counts_an_online_dossier_by_the_level_on_the_day_of_submission() -> None:
    rows = [
        listed(level=3),
        listed(level=4, since="2022-05-10"),
        listed(level=3, since="2022-06-01"),
    ]
    for day, online in (("2022-05-09", 0), ("2022-05-10", 1), ("2022-05-31", 1), ("2022-06-01", 0)):
        events = [registered(), *rows, submitted(on=day), processed(9, "2022-07-01")]
        assert _processed(agreed(events, _END, definition="emc-2024")) == (online, 1), day
        assert _processed(agreed(events, _END, definition="mic-2022")) == (1, 1)


def test_emc_counts_a_dossier_when_its_service_is_listed_late_and_backdated() -> None:
    events = [registered(), submitted(), processed(9)]
    assert _processed(agreed(events, _END, definition="emc-2024")) == (0, 1)
    events += [listed(since="2022-05-01")]
    assert _processed(agreed(events, _END, definition="emc-2024")) == (1, 1)
    events += [listed(since="2022-05-01", level=3, revision=1)]
    assert _processed(agreed(events, _END, definition="emc-2024")) == (0, 1)


def test_mic_counts_resolved_dossiers_of_services_nobody_listed() -> None:
    row = agreed([registered(), submitted(service="unknown"), processed(9)], _END)
    assert (_processed(row), _share(row)) == ((1, 1), (0, 0))


# -- a distinct count over a catalogue that changes ------------------------------------------------


def test_a_service_counts_once_however_many_dossiers_it_has() -> None:
    events = [registered(), listed(), *(submitted(f"D{n}") for n in range(5))]
    assert _share(agreed(events, _END)) == (1, 1)


@pytest.mark.parametrize("channel", ["in_person", "postal", None])
def test_only_online_dossiers_use_a_service(channel: str | None) -> None:
    events = [registered(), listed(), submitted(channel=channel), processed(2)]
    for definition in DEFINITIONS:
        assert _share(agreed(events, _END, definition=definition))[0] == 0


def test_a_service_used_before_it_was_listed_counts_from_the_day_it_is() -> None:
    events = [registered(), submitted(on="2022-05-10"), listed(since="2022-06-01")]
    assert _share(agreed(events, "2022-05-31")) == (0, 0)
    assert _share(agreed(events, "2022-06-01")) == (1, 1)


def test_a_service_taken_down_leaves_the_numerator_and_comes_back_when_relisted() -> None:
    events = [
        *(registered(), listed(), submitted(on="2022-02-01")),
        *(taken_down(since="2022-04-01"), listed(since="2022-07-01", level=3)),
    ]
    assert _share(agreed(events, "2022-03-31")) == (1, 1)
    assert _share(agreed(events, "2022-04-01")) == (0, 0)
    assert _share(agreed(events, "2022-06-30")) == (0, 0)
    assert _share(agreed(events, "2022-07-01")) == (1, 1)
    assert _share(agreed(events, "2022-07-01", period="quarter")) == (0, 1)


def test_a_service_that_changes_level_moves_between_definitions() -> None:
    events = [registered(), listed(level=4), listed(level=2, since="2022-06-01"), submitted()]
    events += [processed(2)]
    shares = {d: _share(agreed(events, "2022-06-01", definition=d)) for d in DEFINITIONS}
    assert shares == {"mic-2022": (0, 0), "qd766": (1, 1), "emc-2024": (0, 0)}


def test_from_level_3_to_4_a_service_is_still_counted_once() -> None:
    events = [registered(), listed(level=3), listed(level=4, since="2022-06-01"), submitted()]
    assert _share(agreed(events, "2022-05-31")) == (1, 1)
    assert _share(agreed(events, "2022-06-01")) == (1, 1)
    assert _share(agreed(events, "2022-05-31", definition="emc-2024")) == (0, 0)
    assert _share(agreed(events, "2022-06-01", definition="emc-2024")) == (1, 1)


@pytest.mark.parametrize(
    ("period", "used"), [("month", 0), ("quarter", 0), ("half", 1), ("year", 1)]
)
def test_use_is_counted_afresh_in_each_period(period: PeriodKind, used: int) -> None:
    events = [registered(), listed(), submitted(on="2022-03-31")]
    assert _share(agreed(events, "2022-04-01", period=period)) == (used, 1)


@pytest.mark.parametrize("period", PERIOD_KINDS)
def test_a_new_year_begins_with_no_service_used(period: PeriodKind) -> None:
    events = [registered(), listed(), submitted(on="2021-12-31T23:59:59+07:00")]
    assert _share(agreed(events, "2021-12-31", period=period)) == (1, 1)
    assert _share(agreed(events, "2022-01-01", period=period)) == (0, 1)


def test_the_first_dossier_decides_from_which_day_a_service_counts() -> None:
    events = [registered(), listed(), submitted("A", "2022-05-20"), submitted("B", "2022-05-10")]
    assert _share(agreed(events, "2022-05-09")) == (0, 1)
    assert _share(agreed(events, "2022-05-10")) == (1, 1)
    events += [submitted("B", "2022-05-10", revision=1, void=True)]
    assert _share(agreed(events, "2022-05-19")) == (0, 1)
    assert _share(agreed(events, "2022-05-20")) == (1, 1)


def test_when_the_first_dossier_is_voided_the_next_one_decides_not_the_last() -> None:
    days = {"A": "2022-05-10", "B": "2022-05-12", "C": "2022-05-20", "D": "2022-05-12"}
    events = [registered(), listed(), *(submitted(code, day) for code, day in days.items())]
    events += [submitted("A", days["A"], revision=1, void=True)]
    for day, used in (("2022-05-10", 0), ("2022-05-11", 0), ("2022-05-12", 1), ("2022-05-19", 1)):
        for period in PERIOD_KINDS:
            assert _share(agreed(events, day, period=period)) == (used, 1), day


def test_a_new_first_dossier_in_one_month_leaves_later_months_alone() -> None:
    events = [registered(), listed(), submitted("A", "2022-05-20"), submitted("B", "2022-02-10")]
    assert _share(agreed(events, "2022-05-19", period="month")) == (0, 1)
    assert _share(agreed(events, "2022-05-19", period="quarter")) == (0, 1)
    assert _share(agreed(events, "2022-05-19", period="half")) == (1, 1)


# -- further figures -------------------------------------------------------------------------------


def test_the_levels_are_shares_of_what_is_listed_that_day() -> None:
    events = [
        *(registered(), listed("A", level=4), listed("B", level=3), listed("C", level=1)),
        *(listed("D", level=4, eligible=False), listed("E", level=2, eligible=False)),
        taken_down("F", since="2021-01-01"),
    ]
    row = agreed(events, _END)
    assert row["level4_of_eligible"] == Fraction(1, 3)
    assert row["level34_of_listed"] == Fraction(3, 5)
    assert row["level4_of_listed"] == Fraction(2, 5)


def test_over_nothing_there_is_no_ratio_rather_than_zero() -> None:
    for scope in ("H56", "national", "ministries", "provinces"):
        row = agreed([registered()], _END, scope)
        for name in (
            *("services_with_dossiers_ratio", "online_processed_ratio", "on_time_ratio"),
            *("level4_of_eligible", "level34_of_listed", "level4_of_listed"),
        ):
            assert row[name] is None, name
        assert set(row["previous_year"].values()) == {None}
        assert set(row["previous_period"].values()) == {None}


def test_none_of_some_is_zero_rather_than_no_ratio() -> None:
    row = agreed([registered(), listed(), submitted(channel="postal"), processed(9)], _END)
    assert row["services_with_dossiers_ratio"] == 0
    assert row["online_processed_ratio"] == 0


def test_the_year_before_is_counted_to_the_same_day_by_the_catalogue_of_that_day() -> None:
    events = [
        *(registered(), listed("A", since="2021-01-01"), listed("B", since="2022-01-01")),
        *(submitted("1", "2021-08-25", service="A"), submitted("2", "2021-08-26", service="A")),
    ]
    assert agreed(events, "2022-08-25")["previous_year"]["services_with_dossiers_ratio"] == 1
    assert agreed(events, "2022-08-24")["previous_year"]["services_with_dossiers_ratio"] == 0


def test_the_29th_of_february_is_compared_with_the_28th() -> None:
    events = [registered(), listed(since="2019-01-01"), submitted(on="2019-02-28")]
    leap = agreed(events, "2020-02-29", period="month")
    assert leap["previous_year"]["services_with_dossiers_ratio"] == 1
    after = [registered(), listed(since="2019-01-01"), submitted(on="2019-03-01")]
    leap = agreed(after, "2020-02-29")
    assert leap["previous_year"]["services_with_dossiers_ratio"] == 0


def test_the_quarter_before_is_counted_whole() -> None:
    events = [registered(), listed(), submitted(on="2022-03-31"), processed(9, "2022-03-31")]
    row = agreed(events, "2022-04-01", period="quarter")
    assert row["previous_period"] == {
        "services_with_dossiers_ratio": 1,
        "online_processed_ratio": 1,
    }
    assert row["services_with_dossiers_ratio"] == 0


# -- groups and ranks ------------------------------------------------------------------------------


def _agency(code: str, used: int, of: int, kind: str = "province") -> list[Event]:
    events = [registered(code, kind)]
    for n in range(of):
        events.append(listed(f"S{n}", agency=code))
        if n < used:
            events.append(submitted(f"D{n}", service=f"S{n}", agency=code))
    return events


def test_a_group_pools_numerators_and_denominators_and_does_not_average() -> None:
    events = [*_agency("A", 1, 1), *_agency("B", 0, 3), *_agency("M", 1, 2, "ministry")]
    assert agreed(events, _END, "provinces")["services_with_dossiers_ratio"] == Fraction(1, 4)
    assert agreed(events, _END, "ministries")["services_with_dossiers_ratio"] == Fraction(1, 2)
    assert agreed(events, _END, "national")["services_with_dossiers_ratio"] == Fraction(2, 6)


def test_the_same_service_in_two_agencies_is_two_services() -> None:
    events = [*_agency("A", 1, 1), *_agency("B", 1, 1)]
    assert _share(agreed(events, _END, "provinces")) == (2, 2)


def test_equal_shares_share_a_rank_and_the_next_rank_is_left_out() -> None:
    events = [*_agency("A", 1, 2), *_agency("B", 2, 4), *_agency("C", 1, 3), *_agency("D", 0, 0)]
    events += _agency("M", 0, 1, "ministry")
    rank = {c: agreed(events, _END, c)["rank"]["services_with_dossiers"] for c in "ABCDM"}
    assert rank == {"A": 1, "B": 1, "C": 3, "D": None, "M": 1}


def test_groups_have_no_rank() -> None:
    for group in ("national", "ministries", "provinces"):
        assert set(agreed(_agency("A", 1, 1), _END, group)["rank"].values()) == {None}


def test_ranks_go_by_the_exact_fraction_where_floats_would_tie() -> None:
    """Two shares whose floats are equal, yet one is greater."""
    n = 10**16
    more, less = Fraction(n + 1, n + 2), Fraction(n, n + 1)
    assert float(more) == float(less)
    assert ranks({"less": less, "more": more}) == {"more": 1, "less": 2}


def test_zero_is_ranked_and_no_share_is_not() -> None:
    shares = {"a": Fraction(0), "b": None, "c": Fraction(1), "d": Fraction(0)}
    assert ranks(shares) == {"a": 2, "b": None, "c": 1, "d": 2}
    assert ranks({}) == {}


# -- the rows of a report --------------------------------------------------------------------------


def test_rows_stand_in_the_order_of_the_contract() -> None:
    events = [registered("H56"), registered("G12", "ministry"), registered("H26")]
    scopes = [f.scope for f in Register(events).report(_DAY, "year", "mic-2022")]
    assert scopes == ["national", "ministries", "provinces", "G12", "H26", "H56"]


def test_an_agency_removed_from_the_register_leaves_no_row_and_no_trace_in_its_group() -> None:
    events = [*_agency("A", 1, 1), *_agency("B", 0, 1)]
    assert _share(agreed(events, _END, "national")) == (1, 2)
    events.append(removed(registered("A")))
    assert _share(agreed(events, _END, "national")) == (0, 1)
    assert "A" not in Register(events).figures(_DAY, "year", "mic-2022")


def test_an_agency_that_happens_to_be_called_like_a_group_is_not_mistaken_for_it() -> None:
    events = [*_agency("national", 1, 1), *_agency("B", 0, 3)]
    rows = Register(events).report(_DAY, "year", "mic-2022")
    shares = [(f.scope, f.counts.services_with_dossiers, f.counts.services_listed) for f in rows]
    assert shares[0] == ("national", 1, 4)
    assert shares[-1] == ("national", 1, 1)


@given(worlds(), st.dates(date(2021, 1, 1), date(2026, 12, 31)) | st.dates())
def test_the_sums_of_all_kinds_of_periods_are_those_of_each(world: World, day: date) -> None:
    """What a scrape adds up at once is what a report adds up for its period."""
    as_of = day.toordinal()
    for ledger in Register(world.events).ledgers.values():
        found = sums_by_kind(ledger.months, as_of)
        assert found == {kind: sums(ledger.months, period_of(kind, as_of)) for kind in PERIOD_KINDS}
