"""What people are told, and what they are not, when agencies fall short and something is away.

By a real Prometheus and a real Alertmanager, with the project's rules and routes at SPEED times
their pace, over two weeks of recorded history. Most of the time goes into waiting for what must
not come.

    python -m tests.monitoring.test_delivery    # the five minutes at their real pace, an hour long
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.monitoring.site import Notification, Pace, eventually, program
from tests.monitoring.watched import (
    GROUPS,
    SPEED,
    Site,
    everyone,
    in_shortfall,
    running,
    two_in_shortfall,
)

OUTAGE = os.environ.get("HOSO_TEST_OUTAGE", "1h")
"""How long Prometheus is away in the test of long outages, as a duration of the configuration: two
minutes as it comes. By hand: HOSO_TEST_OUTAGE=24h."""

SIZE = 10_000
"""The most bytes of a digest's message."""

# Ministries and provinces are behind for both indicators; to the operators also three groups.
MINISTRIES, PROVINCES = len(everyone("ministry")), len(everyone("province"))
TOTALS = {
    "operators": str(2 * (MINISTRIES + PROVINCES + len(GROUPS))),
    "ministries": str(2 * MINISTRIES),
    "provinces": str(2 * PROVINCES),
}

Start = Callable[..., AbstractContextManager[Site]]


@pytest.fixture
def start(tmp_path: Path, prometheus_binary: str, alertmanager_binary: str, promtool: str) -> Start:
    binaries = prometheus_binary, alertmanager_binary, promtool
    return lambda workers, **more: running(tmp_path, Pace(SPEED), workers, binaries, **more)


def told_by(notifications: list[Notification]) -> dict[str, str]:
    """Desk to the total of its digest; fails where a desk was sent more than one."""
    assert all(len(one.alerts) == 1 for one in notifications), notifications
    totals = {one.receiver: one.alerts[0]["labels"]["total"] for one in notifications}
    assert len(totals) == len(notifications), notifications
    return totals


def outages(site: Site, *lasting: str, restarts: bool = True) -> None:
    """Prometheus away, Alertmanager, and both: nobody is told anything, and nothing has ended."""
    told = site.told()
    site.all_fall_short()

    def nothing_was_said() -> None:
        site.let_all_be_told()
        assert site.told() == told, site.told()
        assert site.told("pager") == [], site.told("pager")
        site.all_fall_short()

    for outage in lasting:
        site.be_away(outage, site.prometheus)
        nothing_was_said()
    if restarts:
        site.be_away("1m", site.alertmanager)
        site.pass_time("10m")  # more than any group waits
        site.be_away("10m", site.prometheus, site.alertmanager)
        nothing_was_said()


def a_real_end(site: Site) -> None:
    """One province meets its target: both desks that it concerns are told within an hour and a
    quarter, and of nobody else that anything is over."""
    before = len(site.told())
    site.meet_the_target("H29")
    limit = site.pace.seconds("2h") + 60
    eventually("the news", lambda: len(site.told()) >= before + 2, limit)
    news = site.told()[before:]
    assert told_by(news) == {
        "operators": str(int(TOTALS["operators"]) - 1),
        "provinces": str(int(TOTALS["provinces"]) - 1),
    }
    for one in news:
        over = one.alerts[0]["annotations"]["description"].split("Hết chậm trong 24 giờ qua: ")[1]
        assert over.startswith(
            "1: Thành phố Hồ Chí Minh (H29), DVC trực tuyến phát sinh hồ sơ.\n"
        ), over
    site.let_all_be_told()
    assert site.told()[before:] == news


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_outages_of_prometheus_and_alertmanager_end_no_shortfall_and_a_real_end_is_told(
    start: Start,
) -> None:
    with start([in_shortfall()]) as site:
        told = site.told()
        assert told_by(told) == TOTALS
        outages(site, "5m", OUTAGE)
        a_real_end(site)

        by_desk = {one.receiver: one.alerts[0]["annotations"] for one in told}
        assert all(one.size < SIZE for one in told), told
        ministries = by_desk["ministries"]
        assert (
            ministries["summary"]
            == f"{MINISTRIES}/{MINISTRIES} bộ, ngành chưa đạt, tính đến 25/08/2022"
        )
        words = ministries["description"]
        assert words.startswith("Tính đến 25/08/2022; còn 128 ngày đến hết năm.\n")
        assert words.count("\n- ") == 20  # the worst ten for each indicator
        assert "(G01): 0% (−51,87 điểm % so với tiến độ); thiếu 2 DVC\n" in words
        assert "(G01): 12,5% (−67,50 điểm % so với mục tiêu); thiếu 6 hồ sơ; " in words
        assert "; năm nay không thể đạt nữa\n" in words
        assert "(H" not in words
        assert "Việc cần làm: " in words
        assert (
            "Cả nước, DVC trực tuyến phát sinh hồ sơ: 0%; tiến độ 51,87%."
            in by_desk["operators"]["description"]
        )
        for notes in by_desk.values():
            assert notes["dashboard_url"] == "https://grafana.example.vn/d/hoso-shortfalls"
            assert notes["runbook_url"] == "https://wiki.example.vn/runbook#hosodigest"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_only_worker_dead_is_one_page_and_no_news_until_it_is_back(start: Start) -> None:
    with start([in_shortfall()], language="en") as site:
        told = site.told()
        (worker,) = site.workers
        worker.server.kill()
        eventually("the page", lambda: site.told("pager"))
        # Everything that watches is restarted meanwhile.
        site.be_away("1m", site.alertmanager)
        site.pass_time("10m")  # more than any group waits
        site.be_away("10m", site.prometheus, site.alertmanager)
        site.let_all_be_told()
        assert site.told() == told, site.told()
        site.all_fall_short()
        # Alertmanager forgets a page while Prometheus is away, so it may come once more; that it is
        # over nobody says.
        pages = site.told("pager")
        assert {one.firing for one in pages} == {frozenset({"HosoWorkerDown"})}, pages
        assert all(not one.resolved for one in pages)

        worker.server.start()
        eventually("the all-clear", lambda: len(site.told("pager")) > len(pages))
        assert site.told("pager")[-1].firing == {"HosoPipelineRecovered"}
        site.let_all_be_told()
        assert site.told() == told, site.told()
        assert len(site.told("pager")) == len(pages) + 1, site.told("pager")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_of_two_workers_dead_is_a_page_and_figures_are_news_all_the_same(start: Start) -> None:
    with start(two_in_shortfall()) as site:
        before = len(site.told())
        first, second = site.workers
        first.server.kill()
        eventually("the page", lambda: site.told("pager"))
        assert site.told("pager")[0].firing == {"HosoWorkerDown"}
        second.take_over()
        a_real_end(site)
        assert len(site.told()) == before + 2
        assert len(site.told("pager")) == 1  # the worker is still down, and that is all


def main() -> int:
    """The five minutes at their real pace; every message is printed as it comes."""
    prometheus = program("prometheus")
    alertmanager = program("prometheus-alertmanager", "alertmanager")
    promtool = program("promtool")
    assert prometheus, "prometheus is not installed"
    assert alertmanager, "prometheus-alertmanager is not installed"
    assert promtool, "promtool is not installed"

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: T201

    with tempfile.TemporaryDirectory() as directory:
        binaries = prometheus, alertmanager, promtool
        say("start")
        with running(
            Path(directory), Pace(1), [in_shortfall()], binaries, said=lambda one: say(repr(one))
        ) as site:
            for one in site.told():
                say(f"{one.size} bytes:\n{one.alerts[0]['annotations']['description']}")
            say("Prometheus is stopped for five minutes")
            outages(site, "5m", restarts=False)
            say("Prometheus has been back for 29 minutes, and nobody was told anything")
            a_real_end(site)
            say(site.told()[-1].alerts[0]["annotations"]["description"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
