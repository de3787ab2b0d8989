"""The published record: each figure comes out, whatever portals do on top of it."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from itertools import islice
from typing import Any

import orjson
import pytest

from streams.simulator import Published, Record, agrees, measure
from streams.simulator.figures import CHECKS, END_2021, LATE_AUGUST_2022, NOT_COVERED
from tests.simulator.conftest import Played
from tests.simulator.fold import Fold, fold
from tests.simulator.shape import faults

INDICATORS = {
    "dvctt_phat_sinh_ho_so": {"services_with_dossiers_ratio"},
    "ho_so_xu_ly_truc_tuyen": {"online_processed_ratio"},
    "dvctt_muc_3_4_so_luong": {"services_listed"},
    "dvctt_muc_4_tren_tong_dvc": {"level4_of_listed"},
    "dvctt_muc_3_4_tren_tong_dvc": {"level34_of_listed"},
    "dvctt_dat_muc_4": {"level4_of_level34"},
    "dvctt_phat_sinh_ho_so_muc_tieu": {"target_services_with_dossiers"},
    "ho_so_xu_ly_truc_tuyen_muc_tieu": {"target_online_processed"},
    "so_co_quan_hoan_thanh_100_muc_4": {"agencies_at_full_level4"},
    "dvctt_du_dieu_kien_muc_4": {"level4_of_eligible"},
}
GROUPS = {"national": "national", "provinces (all)": "provinces", "ministries (all)": "ministries"}
TOP_PROVINCES = ["H39", "H23", "H58", "H28", "H02"]


def _csv(name: str) -> list[dict[str, str]]:
    text = files("streams").joinpath(f"data/{name}").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _played_out(fold_: Fold) -> dict[str, dict[str, Any]]:
    rows = fold_.rows(LATE_AUGUST_2022.isoformat(), "year")
    return {row["scope"]: row for row in rows if row["kind"]}


def test_every_published_figure_comes_out_of_the_events(played: Played) -> None:
    """An independent fold of all events gives each figure at its printed precision."""
    wrong = [
        f"{check.as_of} {check.scope} {check.indicator}: {check.published}, measured {measured}"
        for check in played.scenario.checks
        for measured in [measure(check, played.rows_for(check))]
        if not agrees(check, measured)
    ]
    assert wrong == []


def test_every_line_of_the_published_figures_is_a_check_or_is_explained() -> None:
    """Scope, indicator, day and number of a check are those of the lines it says it covers."""
    codes = {row["name"]: row["code"] for row in _csv("agencies.csv")}
    covered: dict[int, list[str]] = {}
    for line, row in enumerate(_csv("published_figures.csv"), start=2):
        scope = GROUPS.get(row["scope"]) or codes[row["scope"].removeprefix("agency: ")]
        wanted = {row[name] for name in ("numerator", "denominator", "ratio_percent") if row[name]}
        for check in CHECKS:
            if line not in check.rows or check.scope != scope:
                continue
            assert str(check.as_of.year) == row["period"][:4], (line, check)
            ratio_is_given = bool(row["ratio_percent"])
            if check.indicator in INDICATORS[row["indicator"]] and ratio_is_given:
                assert check.published == Decimal(row["ratio_percent"]), (line, check)
                assert check.decimals == len(row["ratio_percent"].partition(".")[2]), (line, check)
                covered.setdefault(line, []).append(row["ratio_percent"])
            elif check.above is not None:
                assert not wanted, (line, check)
                assert "96.47" in row["note"], (line, check)
            else:
                assert str(check.published) in wanted, (line, check)
                covered.setdefault(line, []).append(str(check.published))
        if line in NOT_COVERED:
            assert line not in covered
            assert NOT_COVERED[line]
        elif wanted:
            assert wanted <= set(covered.get(line, ())), f"line {line} is not covered: {row}"
        else:
            assert any(line in check.rows and check.scope == scope for check in CHECKS), row


def test_a_check_fails_when_the_figure_is_off_by_one_dossier(played: Played) -> None:
    """Every ratio checked to two decimals at one agency moves visibly with a single service."""
    for check in CHECKS:
        if check.scope not in ("G14", "H39") or not check.indicator.startswith("services"):
            continue
        rows = [dict(row) for row in played.rows_for(check)]
        row = next(row for row in rows if row["scope"] == check.scope)
        row["services_with_dossiers"] += 1
        assert not agrees(check, measure(check, rows))


def test_nobody_unnamed_is_ranked_above_the_named(played: Played) -> None:
    """On 25 August 2022 the first three ministries and five provinces are the published ones."""
    rows = _played_out(played.fold)

    def ranking(kind: str, numerator: str, denominator: str) -> list[tuple[Fraction, str]]:
        return sorted(
            (
                (Fraction(row[numerator], row[denominator]), scope)
                for scope, row in rows.items()
                if row["kind"] == kind
            ),
            key=lambda pair: (-pair[0], pair[1]),
        )

    services = ranking("ministry", "services_with_dossiers", "services_listed")
    assert [scope for _, scope in services[:3]] == ["G02", "G03", "G14"]
    assert services[0][0] == services[1][0] == 1 > services[2][0] > services[3][0]

    services = ranking("province", "services_with_dossiers", "services_listed")
    assert [scope for _, scope in services[:5]] == TOP_PROVINCES
    assert services[4][0] > Fraction(90, 100) > services[5][0]

    online = ranking("ministry", "dossiers_processed_online", "dossiers_processed")
    assert [scope for _, scope in online[:3]] == ["G02", "G03", "G12"]
    assert online[2][0] > online[3][0]

    online = ranking("province", "dossiers_processed_online", "dossiers_processed")
    assert [scope for _, scope in online[:5]] == ["H28", "H49", "H42", "H25", "H56"]
    assert online[4][0] > online[5][0]


def test_comparisons_printed_beside_the_figures_come_out(played: Played) -> None:
    """With the year before, as the same publications word them."""

    def percent(day: str, figure: str) -> float:
        row = played.fold.rows(day, "year")[0]
        numerator, denominator = {
            "services": ("services_with_dossiers", "services_listed"),
            "online": ("dossiers_processed_online", "dossiers_processed"),
        }[figure]
        return float(100 * row[numerator] / row[denominator])

    assert round(percent("2020-12-31", "services") / percent("2019-12-31", "services"), 1) == 2.6
    assert round(percent("2022-08-25", "services") / percent("2021-08-25", "services"), 1) == 1.6
    assert round(percent("2022-08-25", "online") / percent("2021-08-25", "online"), 1) == 1.3
    assert round(percent("2021-12-31", "online") / percent("2020-12-31", "online"), 2) == 1.27


def test_the_simulator_shares_no_code_with_what_it_checks() -> None:
    """Loading it loads neither the counting rules nor the schemas."""
    program = "import sys, streams.simulator; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "streams.simulator.published" in loaded
    assert not {name for name in loaded if name.startswith(("streams.domain", "schemas"))}


def test_records_have_the_shape_of_the_contract(played: Played) -> None:
    """Every record: fields, bounds, key, source, and sent no earlier than it happened."""
    bad = ((record, found) for record in played.records if (found := faults(record)))
    assert list(islice(bad, 5)) == []


def test_total_is_the_number_of_records(played: Played) -> None:
    """The progress bar ends at the end, and the whole replays in about half a minute."""
    assert played.scenario.total == len(played.records)
    assert 300_000 <= len(played.records) <= 600_000


def test_records_arrive_in_the_order_they_were_sent(played: Played) -> None:
    """Apart from repeats, which carry the time of the first sending."""
    seen: set[bytes] = set()
    latest = ""
    for record in played.records:
        identity = record.value[:70]
        if identity in seen:
            continue
        seen.add(identity)
        time = record.value.split(b'"time":"', 1)[1][:25].decode()
        assert time >= latest, record
        latest = time
    assert latest <= "2022-08-31T23:59:59+07:00"


def test_event_ids_tell_events_apart(played: Played) -> None:
    """Two records share an id only if they are the same event sent twice."""
    by_id: dict[bytes, bytes] = {}
    repeats = 0
    for record in played.records:
        identity = record.value[:70]
        repeats += identity in by_id
        assert by_id.setdefault(identity, record.value) == record.value
    assert repeats > 0.005 * len(played.records)


def test_the_same_bytes_on_each_run(played: Played) -> None:
    """Played again from nothing, record for record."""

    again = Published().records()
    assert all(a == b for a, b in zip(played.records, again, strict=True))


def test_figures_do_not_depend_on_the_order_of_arrival(played: Played) -> None:
    """Topics and agencies may be read in any order, and any record twice."""
    seed = 20220825
    shuffled = list(played.records)
    random.Random(seed).shuffle(shuffled)
    other = fold(record.value for record in [*shuffled, *shuffled[:20_000]])
    day = LATE_AUGUST_2022.isoformat()
    assert other.rows(day, "year") == played.fold.rows(day, "year"), f"seed {seed}"


def _by_arrival(value: bytes) -> bytes:
    event = orjson.loads(value)
    for field in event["data"].keys() & {"submitted_at", "at"}:
        event["data"][field] = event["time"]
    return orjson.dumps(event)


# A careless count -> whether it would not look at a record.
IGNORED: dict[str, Callable[[Record], bool]] = {
    "goes by the time of arrival": lambda record: False,
    "ignores voided facts": lambda record: b'"void":true' in record.value,
    "ignores restated facts": lambda record: (
        record.topic in ("submissions", "processing") and b'"revision":0' not in record.value
    ),
    "ignores refusals and withdrawals": lambda record: (
        b'"status":3,' in record.value or b'"status":7,' in record.value
    ),
    "ignores services taken down": lambda record: b'"listed":false' in record.value,
    "ignores corrected listings": lambda record: (
        record.topic == "catalogue" and b'"revision":0' not in record.value
    ),
    "ignores status 10": lambda record: b'"status":10,' in record.value,
    "ignores postal dossiers": lambda record: b'"channel":"postal"' in record.value,
}


@pytest.mark.parametrize("mistake", IGNORED)
def test_the_timeline_catches_a_count_that(mistake: str, played: Played) -> None:
    """What portals do on top of the plan matters: a careless count misses a published figure."""
    seen = (record.value for record in played.records if not IGNORED[mistake](record))
    careless = fold(map(_by_arrival, seen) if "arrival" in mistake else seen)
    checks = [check for check in CHECKS if check.as_of in (END_2021, LATE_AUGUST_2022)]
    rows = {
        as_of: careless.rows(as_of.isoformat(), "year") for as_of in (END_2021, LATE_AUGUST_2022)
    }
    assert any(not agrees(check, measure(check, rows[check.as_of])) for check in checks)
