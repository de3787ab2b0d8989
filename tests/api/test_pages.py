"""The pages: what they are asked, what they say, and what they never do."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from aiohttp.test_utils import TestClient

from tests.api.conftest import Connect
from tests.api.world import (
    World,
    process,
    submit,
)

PAGES = ("/", "/agencies/H56", "/why", "/why?scope=H56")


class Page(HTMLParser):
    """A page as a reader without a style sheet has it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._skipped = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._skipped += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def rows(self, name: str = "data-scope") -> list[str]:
        """What the rows of the tables are about, from the top."""
        return [attrs[name] or "" for tag, attrs in self.tags if tag == "tr" and name in attrs]


async def page(client: TestClient, path: str, status: int = 200, **headers: str) -> Page:
    answer = await client.get(path, headers=headers)
    assert answer.status == status
    assert answer.content_type == "text/html"
    return Page(await answer.text())


async def rows(client: TestClient, path: str) -> list[dict[str, str]]:
    answer = await client.get(path)
    assert (answer.status, answer.content_type) == (200, "text/csv")
    return list(csv.DictReader(io.StringIO(await answer.text())))


async def test_shows_both_shares_of_the_nation_as_people_write_them(
    connect: Connect, example: World
) -> None:
    client = await connect(example)
    vi = await page(client, "/")
    for said in ("72,73 %", "16 / 22 dịch vụ", "còn thiếu 2 dịch vụ", "43,48 %", "40,91 %"):
        assert said in vi.text
    en = await page(client, "/?lang=en")
    for said in ("72.73%", "16 / 22 services", "2 services missing", "43.48%", "40.91%"):
        assert said in en.text


async def test_says_as_of_when_by_which_definition_of_how_many_and_what_is_behind(
    connect: Connect, example: World
) -> None:
    client = await connect(example)
    for path in PAGES:
        said = (await page(client, path)).text
        for part in (
            "Tính đến ngày 25/08/2022",
            "Năm: 01/01/2022 đến 25/08/2022",
            "Cách tính mic-2022",
            "5 trong 5 cơ quan có số liệu",
            "đã tính mọi bản ghi",
            "số liệu hiện tại, không phải bản đã chốt",
        ):
            assert part in said, path


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "vi"),
        ("en", "en"),
        ("en-GB,en;q=0.9", "en"),
        ("vi,en;q=0.9", "vi"),
        ("en;q=0.3, vi;q=0.4", "vi"),
        ("fr,de;q=0.8", "vi"),
        ("fr, en;q=0.1", "en"),
        ("en;q=much", "vi"),
        ("en;q=0", "vi"),
        (";;,,", "vi"),
    ],
)
async def test_speaks_the_language_of_the_browser_unless_asked_for_another(
    connect: Connect, accepted: str, language: str
) -> None:
    client = await connect(World())
    shown = await page(client, "/", **{"Accept-Language": accepted})
    assert shown.tags[0] == ("html", {"lang": language})
    other = "en" if language == "vi" else "vi"
    shown = await page(client, f"/?lang={other}", **{"Accept-Language": accepted})
    assert shown.tags[0] == ("html", {"lang": other})


@pytest.mark.parametrize("path", ["/", "/agencies/H56", "/why"])
@pytest.mark.parametrize(
    ("question", "parameter"),
    [
        ("as_of=2022-13-01", "as_of"),
        ("period=decade", "period"),
        ("definition=mine", "definition"),
        ("lang=fr", "lang"),
        ("order=up", "order"),
        ("sort=luck", "sort"),
        ("format=xml", "format"),
        ("colour=red", "colour"),
        ("lang=vi&lang=en", "lang"),
        ("q=" + "a" * 501, "q"),
    ],
)
async def test_a_wrong_parameter_is_400_and_named(
    connect: Connect, example: World, path: str, question: str, parameter: str
) -> None:
    client = await connect(example)
    said = (await page(client, f"{path}?{question}", 400)).text
    assert f"“{parameter}”" in said
    if "format=" in question:
        return
    answer = await client.get(f"{path}?{question}&format=json")
    assert answer.status == 400
    assert (await answer.json())["parameter"] == parameter


async def test_a_wrong_parameter_is_explained_in_the_language_asked_for(connect: Connect) -> None:
    client = await connect(World())
    said = (await page(client, "/?as_of=<b>&lang=vi", 400)).text
    assert "Tham số “as_of” không thể là “<b>”. Phải là: một ngày, dạng YYYY-MM-DD." in said
    said = (await page(client, "/?limit=0&lang=en", 400)).text
    assert "The parameter “limit” can’t be “0”. Expected: a number from 1 to 9999." in said


async def test_an_unknown_agency_is_404_and_those_alike_are_named(
    connect: Connect, example: World
) -> None:
    client = await connect(example)
    for path in ("/agencies/H99", "/why?scope=H99"):
        assert "“H99”" in (await page(client, path, 404)).text
        answer = await client.get(f"{path}{'&' if '?' in path else '?'}format=json")
        assert answer.status == 404
        assert (await answer.json())["agency"] == "H99"
    assert "Cơ quan H56" in (await page(client, "/agencies/co quan", 404)).text


async def test_csv_and_json_have_exactly_the_rows_shown(connect: Connect, example: World) -> None:
    client = await connect(example)
    for question in (
        "/?",
        "/?q=co+quan+h5",
        "/?sort=online_processed&order=asc",
        "/?scope=provinces&limit=1",
        "/?q=nobody",
        "/why?",
        "/why?scope=provinces&sort=name",
        "/why?scope=H56",
    ):
        shown = (await page(client, question)).rows()
        assert [row["scope"] for row in await rows(client, f"{question}&format=csv")] == shown
        answer = await (await client.get(f"{question}&format=json")).json()
        assert [row["scope"] for row in answer["rows"]] == shown
        assert answer["behind"] == 0
    assert (await page(client, "/?q=CO QUAN H56")).rows() == ["H56"]


async def test_json_is_what_the_api_answers(connect: Connect, example: World) -> None:
    client = await connect(example)
    page_says = await (await client.get("/?format=json&sort=code")).json()
    api_says = await (await client.get("/api/v1/indicators")).json()
    assert page_says == api_says
    api_services = await (await client.get("/api/v1/agencies/H56/services")).json()
    assert await (await client.get("/agencies/H56?format=json")).json() == api_services


async def test_an_answer_that_the_reader_has_is_not_sent_again(
    connect: Connect, example: World
) -> None:
    client = await connect(example)
    for path in PAGES:
        first = await client.get(path)
        again = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status, await again.read()) == (304, b"")
        submit(example, "H56", "1.000461", f"new-{path}", "2022-08-24")
        process(example, "H56", f"new-{path}", 9, "2022-08-25")
        after = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert after.status == 200


async def test_nothing_but_what_hoso_serves_may_be_run_or_loaded(
    connect: Connect, example: World
) -> None:
    client = await connect(example)
    for path in (*PAGES, "/?lang=xx"):
        answer = await client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        shown = Page(await answer.text())
        for tag, attrs in shown.tags:
            assert tag not in ("style", "iframe", "object", "base")
            assert not [name for name in attrs if name == "style" or name.startswith("on")]
            if tag == "script":
                assert (attrs["src"] or "").startswith("/static/")
            for name in ("href", "src", "action"):
                assert not re.match(r"\w+:|//", attrs.get(name) or ""), attrs
