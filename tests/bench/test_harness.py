"""No speed is quoted for a wrong result, and what is left out says why."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench import throughput
from bench.counts import Expected
from bench.engines import (
    ENGINES,
    Engine,
    FailedError,
    Run,
    UnavailableError,
    peer,
    read_report,
)
from bench.freshness import BIN_SECONDS, age_at, seen_by_age
from bench.percentiles import percentile
from bench.plot import draw
from bench.scraping import Scrape, read_submitted
from bench.workload import make

SMALL = 1500


def counting(error: int = 0) -> Engine:
    """An engine that knows the answer, off by ``error`` dossiers in one agency."""

    def run(bootstrap: str, events: int, reference: int) -> Run:
        counted = dict(make(SMALL).by_agency)
        code = min(counted)
        counted[code] = counted[code]._replace(dossiers=counted[code].dossiers + error)
        return Run(0.5, events, counted, 0, 0)

    return Engine(run, lambda: None, "for the tests")


def missing() -> Engine:
    def check() -> None:
        raise UnavailableError("No module named 'missing'")

    return counting()._replace(check=check)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three engines: one right, one off by one, one not installed."""
    given = {"right": counting(), "wrong": counting(1), "missing": missing()}
    monkeypatch.setattr(throughput, "ENGINES", given)


def compared(*names: str) -> tuple[dict[str, Any], str]:
    said = io.StringIO()
    err = Console(file=said, width=300)
    comparison = throughput.Comparison(names, SMALL, 1, "embedded")
    comparison.measure(err)
    return comparison.result(), said.getvalue()


@pytest.mark.broker
@pytest.mark.usefixtures("engines")
def test_an_engine_that_counts_wrong_has_no_speed_and_the_run_fails() -> None:
    result = CliRunner().invoke(
        throughput.main,
        ["--engines", "right,wrong", "--rounds", "1", "--events", str(SMALL), "--json"],
    )
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert list(found["events_per_second"]) == ["right"]
    assert found["ratios"] == {}
    assert "wrong for 1 agencies" in found["left_out"]["wrong"]


@pytest.mark.broker
@pytest.mark.usefixtures("engines")
def test_an_engine_that_is_not_installed_is_left_out_with_the_reason() -> None:
    result, said = compared("right", "missing")
    assert result["left_out"] == {"missing": "No module named 'missing'"}
    assert "missing is left out: No module named 'missing'" in said
    assert list(result["medians"]) == ["right"]


@pytest.mark.broker
@pytest.mark.usefixtures("engines")
def test_without_its_baseline_a_run_has_no_ratios() -> None:
    result, _ = compared("missing", "right")
    assert result["ratios"] == {}
    assert list(result["medians"]) == ["right"]


@pytest.mark.broker
def test_the_bare_loop_counts_right_in_a_process_of_its_own() -> None:
    workload = make(SMALL)
    run = throughput.measure(ENGINES["bare-aiokafka"], workload)
    assert run.counted == workload.by_agency
    assert run.events == len(workload.events)
    assert run.seconds > 0


def test_every_engine_has_a_program_or_is_hoso() -> None:
    peers = {path.stem for path in Path("bench/peers").glob("*.py")}
    assert len(ENGINES) == 8
    assert {"bare_aiokafka", "bare_confluent", "bytewax_recovery"} <= peers


def test_a_peer_whose_package_is_missing_says_which() -> None:
    with pytest.raises(UnavailableError, match="no_such_package"):
        peer("bare_aiokafka", "no_such_package", "").check()


def program(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "peer.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def test_a_peer_that_dies_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"code 1.*broker is gone"):
        read_report(program(tmp_path, "raise SystemExit('the broker is gone')"))


def test_a_peer_that_ends_without_a_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="ended with code 0"):
        read_report(program(tmp_path, "pass"))


def test_a_peer_that_does_not_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="not done after"):
        read_report(program(tmp_path, "import time; time.sleep(60)"), limit=0.5)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1) == 100
    assert percentile([7.0], 0.5) == 7


def test_a_scrape_tells_of_every_dossier_sent_before_it_whether_it_was_seen_at_that_age() -> None:
    sent = {"A": [1.0, 2.0, 3.0], "B": [1.5]}
    scrapes = [Scrape(0.5, 0.9, {}), Scrape(2.9, 3.1001, {"A": 2}), Scrape(4.9, 6.4001, {"A": 3})]
    found = {
        round(number * BIN_SECONDS, 3): counts
        for number, counts in enumerate(seen_by_age(sent, scrapes, since=1.0))
        if counts[1]
    }
    assert found == {0.1: (0, 1), 1.1: (1, 1), 1.6: (0, 1), 2.1: (1, 1), 3.4: (1, 1)}


def test_a_percentile_of_freshness_is_the_age_from_which_on_that_share_is_seen() -> None:
    bins = [(0, 100), (60, 100), (40, 100), (98, 100), (99, 100), (0, 0), (100, 100)]
    assert age_at(bins, 0.5) == pytest.approx(3 * BIN_SECONDS)
    assert age_at(bins, 0.99) == pytest.approx(4 * BIN_SECONDS)
    assert age_at([(1, 1)], 0.99) == 0


@pytest.mark.parametrize("bins", [[(100, 100), (98, 100)], [(0, 0)]])
def test_dossiers_that_are_not_seen_in_time_are_an_error(bins: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="not 99% of the dossiers are seen"):
        age_at(bins, 0.99)


def test_the_scraper_adds_up_the_channels_of_the_year_alone() -> None:
    body = b"""# TYPE hoso_dossiers_submitted gauge
hoso_dossiers_submitted{agency="H01",kind="province",channel="online",period="year"} 3.0
hoso_dossiers_submitted{agency="H01",kind="province",channel="postal",period="year"} 4.0
hoso_dossiers_submitted{agency="H01",kind="province",channel="postal",period="month"} 9.0
hoso_dossiers_submitted{agency="H01",kind="province",channel="postal",period="year_last_year"} 9.0
hoso_dossiers_processed{agency="H02",kind="province",channel="online",period="year"} 5.0
"""
    assert read_submitted(body) == {"H01": 7}


RESULT: dict[str, Any] = {
    "medians": {"bare-aiokafka": 110_000, "faust": 1500, "hoso-memory": 90_000},
    "events_per_second": {
        "bare-aiokafka": [100_000, 110_000, 120_000],
        "faust": [1400, 1500, 1600],
        "hoso-memory": [80_000, 90_000, 99_000],
    },
    "rounds": 3,
    "fewer_events": {"faust": 20_000},
}


def needs_matplotlib() -> None:
    """Skip where it is not installed, but never in CI."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("matplotlib", reason="matplotlib is in the extras dev and bench")


def test_the_plot_needs_no_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_matplotlib()
    monkeypatch.delenv("DISPLAY", raising=False)
    draw(RESULT, tmp_path / "made" / "plot.png")
    png = (tmp_path / "made" / "plot.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    width, height = (int.from_bytes(png[at : at + 4]) for at in (16, 20))
    assert width > 1000
    assert 200 < height < width


def test_nothing_is_plotted_without_a_speed(tmp_path: Path) -> None:
    needs_matplotlib()
    with pytest.raises(ValueError, match="no engine has a speed"):
        draw({**RESULT, "medians": {}}, tmp_path / "plot.png")
    assert not list(tmp_path.iterdir())


def test_expected_has_the_fields_that_engines_report_in_order() -> None:
    assert Expected._fields == ("dossiers", "resolved", "resolved_online", "services")
