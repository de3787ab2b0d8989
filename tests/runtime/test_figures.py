"""The worked example, sent to a broker and read from a worker."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from streams.domain.calendar import period_of, previous_year
from tests.domain.register import Register
from tests.runtime.site import Series, Site

_DATA = Path(__file__).parent.parent / "data"
EVENTS = [json.loads(line) for line in (_DATA / "example_events.jsonl").open(encoding="utf-8")]
EXPECTED = json.loads((_DATA / "example_figures.json").read_text(encoding="utf-8"))
_AS_OF = "2022-08-25"


def _share(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


async def test_the_worked_example_comes_out_of_the_api_and_of_the_metrics(site: Site) -> None:
    worker = site.worker(as_of=_AS_OF)
    await worker.ready()
    await site.send(EVENTS)
    await site.caught_up()
    await site.settled_on(Register(EVENTS))
    for case in EXPECTED:
        ask = {name: case[name] for name in ("as_of", "period", "definition")}
        answer = await worker.json("/api/v1/indicators", **ask)
        assert (answer["as_of"], answer["definition"]) == (case["as_of"], case["definition"])
        day = date.fromisoformat(case["as_of"]).toordinal()
        start = date.fromordinal(period_of(case["period"], day).start).isoformat()
        assert answer["period"] == {"kind": case["period"], "start": start, "end": case["as_of"]}
        scopes = [row["scope"] for row in answer["rows"]]
        assert scopes[:3] == ["national", "ministries", "provinces"]
        assert scopes[3:] == sorted(scopes[3:])
        rows = {row["scope"]: row for row in answer["rows"]}
        assert rows.keys() == {row["scope"] for row in case["rows"]}
        for expected in case["rows"]:
            _assert_row(rows[expected["scope"]], expected)
    _assert_metrics(await worker.metrics(), Register(EVENTS))


def _assert_row(row: dict[str, Any], expected: dict[str, Any]) -> None:
    for name in (
        *("services_listed", "services_with_dossiers", "dossiers_processed"),
        *("dossiers_processed_online", "dossiers_submitted"),
    ):
        assert row[name] == expected[name], (row["scope"], name)
    for name, numerator, denominator in (
        ("services_with_dossiers_ratio", "services_with_dossiers", "services_listed"),
        ("online_processed_ratio", "dossiers_processed_online", "dossiers_processed"),
        ("on_time_ratio", "on_time", "due"),
        ("level4_of_eligible", "eligible_at_level4", "eligible"),
        ("level34_of_listed", "listed_at_level34", "listed"),
        ("level4_of_listed", "listed_at_level4", "listed"),
    ):
        assert row[name] == _share(expected[numerator], expected[denominator]), name


def _assert_metrics(series: Series, register: Register) -> None:
    """Every state series of every agency, and none that should not be there."""
    day = date.fromisoformat(_AS_OF)
    before = previous_year(day.toordinal())
    assert before is not None
    expected: Series = {}
    for suffix, on in (("", day), ("_last_year", date.fromordinal(before))):
        for kind in ("month", "quarter", "half", "year"):
            for scope, row in register.figures(on, kind, "mic-2022").items():
                if row["kind"] is None:
                    continue
                own = {"agency": scope, "kind": row["kind"], "period": kind + suffix}
                _put(expected, "services_with_dossiers", row["services_with_dossiers"], own)
                _put(expected, "dossiers_on_time", row["on_time"], own)
                _put(expected, "dossiers_due", row["due"], own)
                for ratio in ("services_with_dossiers_ratio", "online_processed_ratio"):
                    if row[ratio] is not None:
                        _put(expected, ratio, float(row[ratio]), own)
                for channel, dossiers in row["dossiers_submitted"].items():
                    _put(expected, "dossiers_submitted", dossiers, {**own, "channel": channel})
    names = {name for name, _ in expected}
    assert {key: value for key, value in series.items() if key[0] in names} == expected
    by_channel = {
        key: value for key, value in series.items() if key[0] == "hoso_dossiers_processed"
    }
    listed = {key: value for key, value in series.items() if key[0] == "hoso_services_listed"}
    for scope, row in register.figures(day, "year", "mic-2022").items():
        if row["kind"] is None:
            continue
        mine = {
            k: v for k, v in by_channel.items() if {("agency", scope), ("period", "year")} <= k[1]
        }
        assert sum(mine.values()) == row["dossiers_processed"]
        online = [v for k, v in mine.items() if ("channel", "online") in k[1]]
        assert online == [row["dossiers_processed_online"]]
        levels = {dict(k[1])["level"]: v for k, v in listed.items() if ("agency", scope) in k[1]}
        assert levels.keys() == {"1", "2", "3", "4"}
        assert levels["4"] == row["listed_at_level4"]
        assert levels["3"] + levels["4"] == row["listed_at_level34"]
        assert sum(levels.values()) == row["listed"]
        last = (
            "hoso_last_event_timestamp_seconds",
            frozenset({("agency", scope), ("kind", row["kind"])}),
        )
        assert series[last] > 1.6e9
        for indicator, gap in row["targets"].items():
            labels = frozenset({("agency", scope), ("kind", row["kind"]), ("indicator", indicator)})
            target = series.get(("hoso_target_ratio", labels))
            assert target == (None if gap["ratio"] is None else float(gap["ratio"]))
    # 25 August 2022 began in Viet Nam when it was 17:00 UTC of the 24th.
    assert series["hoso_as_of_timestamp_seconds", frozenset()] == 1661360400
    assert series["hoso_ready", frozenset()] == 1


def _put(series: Series, name: str, value: float, labels: dict[str, str]) -> None:
    series[f"hoso_{name}", frozenset(labels.items())] = value
