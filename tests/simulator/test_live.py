"""The endless day: plausible, repeatable, and clear of the published record."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice

import orjson
import pytest

from streams.simulator import SCENARIOS, Live, Record
from tests.simulator.conftest import Played
from tests.simulator.fold import fold
from tests.simulator.shape import faults


class Clock:
    """Starts at a time and goes on by a second each time it is read."""

    def __init__(self, start: str) -> None:
        self.now = datetime.fromisoformat(start)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


NOON = "2026-09-30T12:00:00+07:00"
MANY = 60_000


def play(count: int = MANY, start: str = NOON, **settings: float) -> list[Record]:
    seed = int(settings.pop("seed", 1))
    live = Live(Clock(start), seed=seed, **settings)
    return list(islice(live.records(), count))


def _stream(records: list[Record], since: str = "2026-09-30T12") -> list[Record]:
    return [r for r in records if orjson.loads(r.value)["time"] >= since]


def test_it_has_no_end_and_nothing_to_check() -> None:
    """`total` is None, so a player shows no bar."""
    live = SCENARIOS["live"]()
    assert live.total is None
    assert live.checks == ()
    assert len(play()) == MANY


def test_records_have_the_shape_of_the_contract() -> None:
    """None is from the future, none from a stranger."""
    clock = Clock(NOON)
    for record in islice(Live(clock).records(), MANY):
        assert faults(record) == [], record
        assert datetime.fromisoformat(orjson.loads(record.value)["time"]) <= clock.now


def test_the_year_so_far_fills_the_figures() -> None:
    """Some agencies are above a target and some below, for both indicators."""
    agencies = fold(r.value for r in play()).rows("2026-09-30", "year")[3:]
    assert len(agencies) == 91
    assert all(40 * 0.5 <= row["services_listed"] <= 60 for row in agencies)
    reached = sum(
        5 * row["services_with_dossiers"] >= 4 * row["services_listed"] for row in agencies
    )
    online = sum(
        2 * row["dossiers_processed_online"] >= row["dossiers_processed"] for row in agencies
    )
    assert 5 <= reached <= 80
    assert 15 <= online <= 75


def test_the_year_so_far_is_the_same_when_played_again() -> None:
    """Started twice on a day, it says the same facts again: nothing is counted twice."""

    def so_far(start: str) -> set[bytes]:
        return {r.value for r in play(start=start) if orjson.loads(r.value)["time"] < start[:10]}

    morning, evening = so_far("2026-09-30T08:00:00+07:00"), so_far("2026-09-30T20:00:00+07:00")
    assert morning == evening
    assert 20_000 <= len(morning) <= 40_000


def test_two_sessions_of_a_day_do_not_share_dossiers_or_ids() -> None:
    """A stream started later does not overwrite what an earlier one sent."""

    def sent(start: str) -> tuple[set[str], set[str]]:
        events = [orjson.loads(r.value) for r in _stream(play(start=start), start)]
        submitted = {e["data"]["dossier"] for e in events if "submitted" in e["type"]}
        return submitted, {e["id"] for e in events}

    first, second = sent("2026-09-30T12:00:00+07:00"), sent("2026-09-30T20:00:00+07:00")
    assert len(first[0]) > 1000
    assert not first[0] & second[0]
    assert not first[1] & second[1]


def test_dossiers_and_services_are_not_those_of_the_published_record(played: Played) -> None:
    """Also when the clock stands in the published years."""

    def codes(records: list[Record], field: str) -> set[tuple[str, str]]:
        found = set()
        for record in records:
            data = orjson.loads(record.value)["data"]
            if field in data:
                found.add((data["agency"], data[field]))
        return found

    live = play(start="2022-08-31T12:00:00+07:00")
    for field in ("dossier", "service"):
        assert codes(live, field)
        assert not codes(live, field) & codes(played.records, field)


def test_duplicates_late_and_restated_records_come_at_their_rates() -> None:
    """2 % again, 1 % of submissions late, 0.5 % restated."""
    records = _stream(play(120_000))
    repeated = sum(count - 1 for count in Counter(r.value for r in records).values())
    assert 0.015 <= repeated / len(records) <= 0.025
    events = [orjson.loads(value) for value in {r.value for r in records}]
    restated = [e for e in events if e["data"].get("revision")]
    assert 0.003 <= len(restated) / len(records) <= 0.007
    submitted = [e for e in events if "submitted" in e["type"] and not e["data"]["revision"]]
    late = [e for e in submitted if e["data"]["submitted_at"][:10] < e["time"][:10]]
    assert 0.005 <= len(late) / len(submitted) <= 0.02


def test_a_seed_fixes_the_bytes() -> None:
    """The same seed and clock, the same records; another seed, others."""
    assert play(30_000, seed=7) == play(30_000, seed=7)
    assert play(30_000, seed=7) != play(30_000, seed=8)


def test_broken_records_come_only_when_asked_for() -> None:
    """In the stream, at the rate asked for, each really breaking the contract."""
    before = len(play()) - len(_stream(play()))
    stream = play(malformed=0.05)[before:]
    bad = [found for record in stream if (found := faults(record))]
    assert 0.04 <= len(bad) / len(stream) <= 0.06
    assert len({found[0][:12] for found in bad}) == 4


def test_a_clock_in_another_zone_gives_vietnamese_days() -> None:
    """17:30 UTC on New Year's Eve is already the new year there: a year with nothing so far."""
    live = Live(lambda: datetime(2026, 12, 31, 17, 30, tzinfo=UTC))
    events = [orjson.loads(r.value) for r in islice(live.records(), 6000)]
    assert {e["data"]["year"] for e in events if "year" in e["data"]} == {2027}
    assert events[-1]["time"] == "2027-01-01T00:30:00+07:00"


def test_wrong_settings_are_named() -> None:
    """A time without an offset, a share that is none."""
    with pytest.raises(ValueError, match="offset"):
        next(Live(lambda: datetime(2026, 1, 1)).records())  # noqa: DTZ001
    with pytest.raises(ValueError, match="malformed"):
        Live(malformed=2)
