"""What is reckoned that Prometheus must decode for a query."""

from __future__ import annotations

import pytest

from tests.grafana.look.cost import LOOKBACK, duration, reads

DAY = 86_400.0
SERIES = {
    'hoso_lag{job=~"hoso|[a-z]+:x"}': 12,
    "hoso_ready": 2,
    "topic:hoso_lag:sum": 5,
    'scope:hoso_share:ratio{kind="nation"}': 1,
}


def reckoned(query: str, span: float) -> dict[str, float]:
    return {one.selector: one.samples for one in reads(query, span, SERIES.__getitem__)}


def test_every_stored_sample_between_the_first_step_and_the_last_is_decoded() -> None:
    assert reckoned('max(hoso_lag{job=~"hoso|[a-z]+:x"}) / on () hoso_ready', 90 * DAY) == {
        'hoso_lag{job=~"hoso|[a-z]+:x"}': 12 * (90 * DAY + LOOKBACK) / 15,
        "hoso_ready": 2 * (90 * DAY + LOOKBACK) / 15,
    }


def test_what_a_rule_records_has_half_as_many() -> None:
    query = 'sum by (topic) (topic:hoso_lag:sum) or scope:hoso_share:ratio{kind="nation"}'
    assert reckoned(query, DAY) == {
        "topic:hoso_lag:sum": 5 * (DAY + LOOKBACK) / 30,
        'scope:hoso_share:ratio{kind="nation"}': (DAY + LOOKBACK) / 30,
    }


def test_windows_reach_back_and_subqueries_too() -> None:
    assert reckoned("rate(hoso_ready[2h])", 0) == {"hoso_ready": 2 * 7200 / 15}
    assert reckoned("max_over_time(avg(rate(hoso_ready[2h]))[30d:1d])", 0) == {
        "hoso_ready": 2 * (7200 + 30 * DAY) / 15
    }
    assert reckoned("(topic:hoso_lag:sum and max_over_time((hoso_ready)[1d:]))", 0) == {
        "topic:hoso_lag:sum": 5 * LOOKBACK / 30,
        "hoso_ready": 2 * (LOOKBACK + DAY) / 15,
    }


def test_windows_cost_more() -> None:
    (instant,) = reads("hoso_ready", DAY, SERIES.__getitem__)
    (window,) = reads("last_over_time(hoso_ready[5m])", DAY, SERIES.__getitem__)
    assert window.samples == instant.samples
    assert window.seconds > 1.5 * instant.seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("1h30m", 5400), ("90d", 7_776_000), ("1500ms", 1.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds
