"""Which dossiers count, and when: section 3 of the contract, one rule a test.

Every figure here is measured by the rules and counted by the oracle, which must agree.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.domain.events import Event, listed, processed, registered, submitted, taken_down
from tests.domain.register import agreed

_END = "2022-12-31"
_S = [registered(), listed()]


def _counted(*facts: Event, as_of: str = _END, **asked: Any) -> dict[str, Any]:
    return agreed([*_S, *facts], as_of, **asked)


def _processed(row: dict[str, Any]) -> tuple[int, int]:
    return row["dossiers_processed_online"], row["dossiers_processed"]


# -- submissions -----------------------------------------------------------------------------------


def test_a_submission_counts_by_channel_on_its_day() -> None:
    facts = [submitted("A"), submitted("B", channel="in_person"), submitted("C", channel="postal")]
    expected = {"online": 1, "in_person": 1, "postal": 1}
    assert _counted(*facts, as_of="2022-05-10")["dossiers_submitted"] == expected
    assert sum(_counted(*facts, as_of="2022-05-09")["dossiers_submitted"].values()) == 0


def test_no_channel_means_in_person() -> None:
    row = _counted(submitted(channel=None))
    assert row["dossiers_submitted"] == {"online": 0, "in_person": 1, "postal": 0}
    assert row["services_with_dossiers"] == 0


def test_a_submission_falls_on_its_day_in_viet_nam_not_in_utc() -> None:
    fact = submitted(on="2021-12-31T17:00:00Z")
    assert _counted(fact, as_of="2021-12-31")["dossiers_submitted"]["online"] == 0
    assert _counted(fact, as_of="2022-01-01")["dossiers_submitted"]["online"] == 1


def test_a_restated_submission_replaces_the_earlier_one_whole() -> None:
    first = submitted(on="2022-03-31", due="2022-05-20")
    again = submitted(on="2022-04-01", service="T", channel="postal", revision=1)
    row = _counted(again, first, processed(9), listed("T"))
    assert row["dossiers_submitted"] == {"online": 0, "in_person": 0, "postal": 1}
    assert (row["services_with_dossiers"], row["due"]) == (0, 0)
    quarter = _counted(again, first, as_of="2022-03-31", period="quarter")
    assert sum(quarter["dossiers_submitted"].values()) == 0


def test_a_higher_revision_wins_over_a_later_instant() -> None:
    row = _counted(
        submitted(on="2022-02-01", channel="postal", revision=1), submitted(on="2022-06-01")
    )
    assert row["dossiers_submitted"] == {"online": 0, "in_person": 0, "postal": 1}


def test_at_equal_revisions_the_later_instant_wins_whatever_its_offset() -> None:
    earlier = submitted(on="2022-02-01T12:00:00+07:00", channel="postal", id="z")
    later = submitted(on="2022-02-01T05:00:01Z", id="a")
    for facts in ([earlier, later], [later, earlier]):
        assert _counted(*facts)["dossiers_submitted"]["online"] == 1


def test_at_equal_revisions_and_instants_the_higher_id_wins() -> None:
    low, high = submitted(id="a", channel="postal"), submitted(id="b")
    for facts in ([low, high], [high, low]):
        assert _counted(*facts)["dossiers_submitted"]["online"] == 1


def test_a_void_submission_counts_nowhere_and_a_later_revision_brings_it_back() -> None:
    sent, void = submitted(), submitted(revision=1, void=True)
    done = processed(9)
    row = _counted(sent, done, void)
    assert (row["dossiers_submitted"]["online"], _processed(row)) == (0, (0, 0))
    back = _counted(sent, done, void, submitted(revision=2))
    assert (back["dossiers_submitted"]["online"], _processed(back)) == (1, (1, 1))


def test_one_dossier_code_in_two_agencies_is_two_dossiers() -> None:
    events = [*_S, registered("G12", "ministry"), submitted(), submitted(agency="G12")]
    assert agreed(events, _END, "national")["dossiers_submitted"]["online"] == 2


def test_processing_waits_for_its_submission() -> None:
    early = [processed(2), processed(9)]
    row = _counted(*early)
    assert (_processed(row), row["dossiers_submitted"]["online"]) == ((0, 0), 0)
    assert _processed(_counted(*early, submitted())) == (1, 1)


def test_a_dossier_may_be_resolved_before_it_was_submitted() -> None:
    """Portals' clocks disagree; each fact still falls on its own day."""
    facts = [submitted(on="2022-04-02"), processed(9, "2022-03-30")]
    quarter = _counted(*facts, as_of="2022-03-31", period="quarter")
    assert (_processed(quarter), quarter["dossiers_submitted"]["online"]) == ((1, 1), 0)


# -- received, refused, withdrawn ------------------------------------------------------------------


@pytest.mark.parametrize("status", [2, 4, 5, 6, 8, 9, 10])
def test_a_dossier_is_received_once_any_of_these_statuses_is_present(status: int) -> None:
    row = _counted(submitted(), processed(status), definition="qd766")
    assert _processed(row) == (1, 1)


@pytest.mark.parametrize("status", [3, 7])
def test_a_dossier_refused_or_withdrawn_before_it_was_received_counts_nowhere(status: int) -> None:
    row = _counted(submitted(), processed(status))
    assert row["dossiers_submitted"]["online"] == 0
    assert row["services_with_dossiers"] == 0
    assert _processed(_counted(submitted(), processed(status), definition="qd766")) == (0, 0)


@pytest.mark.parametrize("ended", [3, 7])
@pytest.mark.parametrize("received", [2, 4, 5, 6, 8, 9, 10])
def test_once_received_a_refusal_or_withdrawal_does_not_uncount(ended: int, received: int) -> None:
    row = _counted(submitted(), processed(ended, "2022-05-11"), processed(received))
    assert row["dossiers_submitted"]["online"] == 1


@pytest.mark.parametrize("status", [3, 7])
def test_a_void_refusal_or_withdrawal_brings_the_dossier_back(status: int) -> None:
    facts = [submitted(), processed(status), processed(status, revision=1, void=True)]
    assert _counted(*facts)["dossiers_submitted"]["online"] == 1


def test_when_the_only_receipt_is_voided_a_refusal_counts_again() -> None:
    facts = [submitted(), processed(3), processed(2), processed(2, revision=1, void=True)]
    assert _counted(*facts)["dossiers_submitted"]["online"] == 0


def test_received_on_is_the_day_of_status_2() -> None:
    facts = [submitted(on="2022-03-31"), processed(2, "2022-04-01")]
    before, after = (
        _counted(*facts, as_of=day, period="quarter", definition="qd766")
        for day in ("2022-03-31", "2022-04-01")
    )
    assert (_processed(before), _processed(after)) == ((0, 0), (1, 1))
    assert (before["services_with_dossiers"], after["services_with_dossiers"]) == (0, 1)


def test_received_on_is_the_day_of_submission_where_status_2_is_missing() -> None:
    facts = [submitted(on="2022-03-31"), processed(4, "2022-04-05")]
    row = _counted(*facts, as_of="2022-03-31", period="quarter", definition="qd766")
    assert (_processed(row), row["services_with_dossiers"]) == ((1, 1), 1)


def test_a_submission_not_received_is_no_use_of_a_service_for_qd766() -> None:
    assert _counted(submitted(), definition="qd766")["services_with_dossiers"] == 0
    assert _counted(submitted(), definition="mic-2022")["services_with_dossiers"] == 1


# -- resolved, on time -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [9, 10])
def test_a_dossier_is_resolved_by_9_or_10(status: int) -> None:
    assert _processed(_counted(submitted(), processed(status))) == (1, 1)


@pytest.mark.parametrize("status", [2, 4, 5, 6, 8])
def test_no_other_status_resolves_it(status: int) -> None:
    assert _processed(_counted(submitted(), processed(status))) == (0, 0)


def test_resolved_on_is_the_day_of_9_even_where_10_is_earlier() -> None:
    facts = [submitted(on="2022-03-01"), processed(10, "2022-03-31"), processed(9, "2022-04-01")]
    first = _counted(*facts, as_of="2022-03-31", period="quarter")
    second = _counted(*facts, as_of="2022-04-01", period="quarter")
    assert (_processed(first), _processed(second)) == ((0, 0), (1, 1))


def test_resolved_on_is_the_day_of_10_once_9_is_void() -> None:
    facts = [
        *(submitted(on="2022-03-01"), processed(10, "2022-04-05"), processed(9, "2022-03-31")),
        processed(9, "2022-03-31", revision=1, void=True),
    ]
    assert _processed(_counted(*facts, as_of="2022-03-31", period="quarter")) == (0, 0)
    assert _processed(_counted(*facts, as_of="2022-04-05", period="quarter")) == (1, 1)


def test_of_two_reports_of_a_status_the_later_instant_stands_then_the_higher_id() -> None:
    early, late = processed(9, "2022-03-31", id="z"), processed(9, "2022-04-01", id="a")
    for facts in ([early, late], [late, early]):
        row = _counted(submitted(on="2022-03-01"), *facts, as_of="2022-03-31", period="quarter")
        assert _processed(row) == (0, 0)
    low, high = processed(9, id="a"), processed(9, id="b", void=True)
    for facts in ([low, high], [high, low]):
        assert _processed(_counted(submitted(), *facts)) == (0, 0)


@pytest.mark.parametrize(
    ("ended", "on_time"),
    [
        ("2022-05-20T16:59:59.999999+07:00", 1),
        ("2022-05-20T17:00:00+07:00", 1),
        ("2022-05-20T10:00:00Z", 1),
        ("2022-05-20T17:00:00.000001+07:00", 0),
    ],
)
def test_resolved_exactly_when_due_is_on_time(ended: str, on_time: int) -> None:
    row = _counted(submitted(due="2022-05-20T17:00:00+07:00"), processed(9, ended))
    assert (row["on_time"], row["due"]) == (on_time, 1)


def test_on_time_goes_by_9_where_both_ends_are_present() -> None:
    facts = [submitted(due="2022-05-20"), processed(10, "2022-05-19"), processed(9, "2022-05-21")]
    row = _counted(*facts)
    assert (row["on_time"], row["due"]) == (0, 1)


def test_without_a_due_date_or_an_end_a_dossier_is_not_due() -> None:
    for facts in ([submitted(), processed(9)], [submitted(due="2022-05-20"), processed(4)]):
        row = _counted(*facts)
        assert (row["on_time"], row["due"], row["on_time_ratio"]) == (0, 0, None)


def test_on_time_counts_in_the_period_of_its_end() -> None:
    facts = [submitted(on="2022-03-01", due="2022-05-20"), processed(9, "2022-04-02")]
    assert _counted(*facts, as_of="2022-03-31", period="quarter")["due"] == 0
    assert _counted(*facts, as_of="2022-04-02", period="quarter")["on_time"] == 1


# -- the dated catalogue ---------------------------------------------------------------------------


def _levels(*facts: Event, as_of: str) -> tuple[int, int, int]:
    row = agreed([registered(), *facts], as_of)
    return row["listed"], row["listed_at_level34"], row["listed_at_level4"]


def test_a_listing_holds_from_its_first_day_until_the_next_one() -> None:
    rows = [
        *(listed(level=2, since="2022-03-01"), listed(level=3, since="2022-04-01")),
        listed(level=4, since="2022-05-01"),
    ]
    assert _levels(*rows, as_of="2022-02-28") == (0, 0, 0)
    assert _levels(*rows, as_of="2022-03-01") == (1, 0, 0)
    assert _levels(*rows, as_of="2022-03-31") == (1, 0, 0)
    assert _levels(*rows, as_of="2022-04-01") == (1, 1, 0)
    assert _levels(*rows, as_of="2022-12-31") == (1, 1, 1)


def test_a_service_taken_down_is_not_listed_until_it_is_listed_again() -> None:
    rows = [listed(), taken_down(since="2022-04-01"), listed(since="2022-05-01")]
    assert [_levels(*rows, as_of=day)[0] for day in ("2022-03-31", "2022-04-30", "2022-05-01")] == [
        *(1, 0, 1)
    ]


def test_of_two_listings_for_one_day_the_higher_revision_stands_then_the_higher_id() -> None:
    low, high = listed(level=2, revision=0, id="z"), listed(level=4, revision=1, id="a")
    first, second = listed(level=2, id="a"), listed(level=4, id="b")
    for rows in ([low, high], [high, low], [first, second], [second, first]):
        assert _levels(*rows, as_of=_END) == (1, 1, 1)


def test_a_revision_speaks_of_its_own_day_only() -> None:
    rows = [listed(level=2, since="2022-03-01", revision=7), listed(level=4, since="2022-04-01")]
    assert _levels(*rows, as_of="2022-04-01") == (1, 1, 1)
