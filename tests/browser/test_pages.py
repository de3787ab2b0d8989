"""The pages as people use them, in a real browser."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.async_api import Page, expect

from tests.api.test_pages import HOSTILE
from tests.api.world import NOW, World, list_service, process, register, submit
from tests.browser.conftest import Open, Serve

PROVINCES = {"H26": "Hà Nội", "H56": "Thanh Hóa", "H15": "Đắk Lắk", "H17": "Đà Nẵng"}
WIDTHS = (1280, 390)
AXE = Path(AXE_FILE_PATH).read_text(encoding="utf-8")


@pytest.fixture
def world() -> World:
    """Two ministries and four provinces with what a year brings, targets among it."""
    found = World().feed_examples()
    for code, name in PROVINCES.items():
        register(found, code, name)
        for number in range(6):
            list_service(found, code, f"2.00{number}", name=f"Cấp phép số {number}", level=3)
        for number in range(1, len(name) - 3):
            submit(found, code, f"2.00{number % 6}", f"{code}-{number}", f"2022-0{number}-03")
            process(found, code, f"{code}-{number}", 9, f"2022-0{number}-20")
    return found


@pytest_asyncio.fixture
async def site(world: World, serve: Serve) -> AsyncIterator[str]:
    yield str((await serve(world)).make_url("")).rstrip("/")


def names(page: Page, table: str = "provinces") -> Any:
    return page.locator(f"#{table} tbody th a")


async def test_figures_change_while_events_stream_and_nothing_is_loaded_again(
    visit: Open, site: str, world: World
) -> None:
    page = await visit(site)
    await page.evaluate("window.mark = 'the same document'")
    figure = page.locator("[data-figure='national services_with_dossiers']")
    before = await figure.inner_text()
    for number in range(6):
        submit(world, "H17", f"2.00{number}", f"new-{number}", "2022-08-24")
        submit(world, "H15", f"2.00{number}", f"new-{number}", "2022-08-24")
    await expect(figure).not_to_have_text(before, timeout=15_000)
    answer = await (await page.request.get(f"{site}/?format=json")).json()
    nation = answer["rows"][0]
    share = 100 * nation["services_with_dossiers"] / nation["services_listed"]
    await expect(figure).to_have_text(re.compile(f"{share:.2f}".replace(".", "[.,]")))
    assert await page.evaluate("window.mark") == "the same document"


async def test_a_reader_keeps_the_place_while_figures_change(
    visit: Open, site: str, world: World
) -> None:
    page = await visit(site)
    await page.locator("#q").fill("half a wo")
    link = page.locator("tr[data-scope='H26'] a")
    await link.focus()
    seen = page.locator("tr[data-scope='H26'] .counted").first
    before = await seen.inner_text()
    for number in range(6):
        submit(world, "H26", f"2.00{number}", f"new-{number}", "2022-08-24")
    await expect(seen).not_to_have_text(before, timeout=15_000)
    await expect(page.locator("tr[data-scope='H26'] a")).to_be_focused()
    await expect(page.locator("#q")).to_have_value("half a wo")


async def test_when_the_server_is_gone_the_page_says_since_when(
    visit: Open, world: World, serve: Serve
) -> None:
    server = await serve(world)
    page = await visit(str(server.make_url("/")))
    figure = page.locator("[data-figure='national services_with_dossiers']")
    before = await figure.inner_text()
    stale = page.locator("#stale")
    await expect(stale).to_be_hidden()
    await server.close()
    await expect(stale).to_be_visible(timeout=30_000)
    await expect(stale).to_contain_text(re.compile(r"Mất liên lạc với máy chủ từ \d\d:\d\d:\d\d"))
    await expect(figure).to_have_text(before)


@pytest.mark.parametrize("scripts", [True, False])
async def test_everything_works_without_javascript(visit: Open, site: str, scripts: bool) -> None:
    page = await visit(site, java_script_enabled=scripts, locale="vi-VN")
    await expect(page.locator("h1")).to_contain_text("Dịch vụ công trực tuyến")

    await page.get_by_label("Tìm cơ quan").fill("da nang")
    await page.get_by_role("button", name="Xem").click()
    await expect(names(page)).to_have_text(["Đà Nẵng"])
    await expect(page).to_have_url(re.compile("q=da(\\+|%20)nang"))

    await page.get_by_label("Tìm cơ quan").fill("")
    await page.get_by_label("Sắp xếp theo").select_option("name")
    await page.get_by_label("Thứ tự").select_option("asc")
    await page.get_by_role("button", name="Xem").click()
    listed = await names(page).all_inner_texts()
    assert listed == ["Cơ quan H29", "Đà Nẵng", "Đắk Lắk", "Hà Nội", "Thanh Hóa"]

    await page.get_by_label("Kỳ", exact=True).select_option("quarter")
    await page.locator("#as_of").fill("2022-03-31")
    await page.get_by_role("button", name="Xem").click()
    await expect(page.locator(".state")).to_contain_text("Quý: 01/01/2022 đến 31/03/2022")

    await page.get_by_label("Cách tính").select_option("emc-2024")
    await page.get_by_role("button", name="Xem").click()
    await expect(page.locator(".state")).to_contain_text("emc-2024")

    await page.get_by_role("link", name="English").click()
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.locator(".state")).to_contain_text("Quarter: 1 Jan 2022 to 31 Mar 2022")

    await page.locator("#provinces thead").get_by_role("link", name="Share").last.click()
    await expect(page).to_have_url(re.compile("sort=online_processed"))

    await page.get_by_role("link", name="Hà Nội").click()
    await expect(page.locator("h1")).to_contain_text("Hà Nội")
    await expect(page.locator(".state")).to_contain_text("31 Mar 2022")
    await page.get_by_role("link", name="Without online dossiers").first.click()
    await expect(page.locator("#services tbody tr")).not_to_have_count(0)
    unused = page.locator("#services tbody tr:not(.unused)")
    await expect(unused).to_have_count(0)

    await page.get_by_role("link", name="Why this figure?").first.click()
    await expect(page.locator("#services_with_dossiers .equation")).to_be_visible()


async def test_the_csv_is_the_table(visit: Open, site: str) -> None:
    page = await visit(f"{site}/?sort=online_processed&order=asc&lang=en")
    shown = await page.locator("tr[data-scope]").evaluate_all("es => es.map(e => e.dataset.scope)")
    counted = await page.locator("tr[data-scope] .s.counted").all_inner_texts()
    address = await page.get_by_role("link", name="CSV").get_attribute("href")
    text = await (await page.request.get(f"{site}{address}")).text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["scope"] for row in rows] == shown
    assert [re.sub(r"\s+services|,", "", cell) for cell in counted] == [
        f"{row['services_with_dossiers']} / {row['services_listed']}" for row in rows
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
async def test_no_page_is_wider_than_the_screen_and_all_are_accessible(
    visit: Open, site: str, world: World, width: int, theme: str
) -> None:
    """WCAG 2.2 AA as far as axe can tell."""
    world.clock = lambda: NOW + timedelta(days=400)  # silent agencies, for their warnings
    register(world, "H99", "Cơ quan chưa gửi gì")
    for path in (
        "/",
        "/agencies/H56",
        "/agencies/H99",
        "/why",
        "/why?scope=H56&lang=en",
        "/?q=nobody",
        "/?as_of=2031-01-01&lang=en",
    ):
        page = await visit(
            f"{site}{path}",
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            bypass_csp=True,
        )
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
        await page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
        await page.add_script_tag(content=AXE)
        found = await page.evaluate(
            """() => axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa",
                                       "best-practice"]})"""
        )
        assert [
            (broken["id"], node["html"][:200], node["failureSummary"])
            for broken in found["violations"]
            for node in broken["nodes"][:3]
        ] == [], path
        await page.context.close()


async def test_the_keyboard_gets_everywhere_and_is_seen(visit: Open, site: str) -> None:
    page = await visit(f"{site}/?lang=en")
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Skip to the content")).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    reached = set()
    for _ in range(60):
        await page.keyboard.press("Tab")
        reached.add(
            await page.evaluate(
                """() => { const e = document.activeElement; const s = getComputedStyle(e);
                  return [e.id || e.textContent.trim(), s.outlineStyle !== 'none'].join('|') }"""
            )
        )
    for wanted in ("q|true", "sort|true", "Show|true", "Hà Nội|true", "Why this figure?"):
        assert any(wanted in each for each in reached), (wanted, reached)


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_runs_nothing_and_breaks_nothing(
    visit: Open, serve: Serve, name: str
) -> None:
    world = World()
    register(world, "A", name)
    list_service(world, "A", "1.0", name=name)
    submit(world, "A", "1.0", "D", "2022-03-01")
    address = str((await serve(world)).make_url("")).rstrip("/")
    for path in ("/", "/agencies/A", "/why", "/why?scope=A"):
        page = await visit(f"{address}{path}", viewport={"width": 390, "height": 900})
        page.on("dialog", lambda dialog: pytest.fail(f"{dialog.message} ran"))
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert await page.evaluate("document.querySelectorAll('img, [onerror]').length") == 0
        await page.context.close()
