"""The pages: what they are asked, what they say, and what they never do."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import time
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from schemas.topics import Topic
from streams.api.pages import routes
from streams.api.pages.rendering import render
from streams.domain.calendar import ZONE
from streams.kafka.partitioner import partition_for
from streams.processing.task import Phase
from streams.views.behind import Behind
from tests.api.conftest import Connect
from tests.api.world import NOW, World, event, list_service, process, register, submit

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


async def test_a_path_that_leads_nowhere_is_a_page_for_a_browser_and_json_for_a_program(
    connect: Connect,
) -> None:
    client = await connect(World())
    browser = {"Accept": "text/html,*/*;q=0.8"}
    assert "Không có trang này." in (await page(client, "/nowhere", 404, **browser)).text
    for path, headers in (("/nowhere", {}), ("/api/v1/nowhere", browser)):
        answer = await client.get(path, headers=headers)
        assert (answer.status, answer.content_type) == (404, "application/json")


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


async def test_what_nothing_has_changed_of_is_not_made_again(
    connect: Connect, example: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers that ask for news cost next to nothing while there are none."""
    made: list[str] = []

    async def counted(template: str, **context: Any) -> bytes:
        made.append(template)
        return await render(template, **context)

    monkeypatch.setattr(routes, "render", counted)
    client = await connect(example)
    pages = ("/", "/agencies/H56", "/why", "/?lang=en", "/?sort=name")
    for path in pages * 3:
        await page(client, path)
    assert len(made) == len(pages)
    submit(example, "H56", "1.000461", "new", "2022-08-24")
    register(example, "H99", "Tỉnh mới")
    for path in pages * 2:
        assert ("H99" in (await page(client, path)).rows()) == (path != "/agencies/H56")
    assert len(made) == 2 * len(pages)
    example.clock = lambda: NOW + timedelta(days=1)
    assert "26/08/2022" in (await page(client, "/")).text, "the day goes on without events"


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


# Honest states


def world_of(*codes: str) -> World:
    """Agencies with a service, a dossier and its end each."""
    world = World()
    for number, code in enumerate(codes):
        register(world, code, f"Tỉnh {code}")
        list_service(world, code, "1.0", effective_from="2022-01-01")
        submit(world, code, "1.0", f"D{number}", "2022-03-01")
        process(world, code, f"D{number}", 9, "2022-03-05")
    return world


def number_of(code: str) -> int:
    return partition_for(code.encode(), 12)


async def test_without_agencies_or_events_there_are_no_figures_and_no_zeroes(
    connect: Connect,
) -> None:
    said = (await page(await connect(World()), "/")).text
    assert "Chưa có cơ quan nào được đăng ký." in said
    assert "0 trong 0 cơ quan có số liệu" in said
    assert " 0,00 %" not in said
    world = World()
    register(world, "H01", "An Giang")
    said = (await page(await connect(world), "/")).text
    assert "Chưa có sự kiện nào." in said
    assert "0 trong 1 cơ quan có số liệu" in said
    assert " 0,00 %" not in said
    assert "0 / 0" not in said


async def test_an_agency_that_has_sent_nothing_has_no_figures_which_is_not_0(
    connect: Connect,
) -> None:
    world = world_of("A")
    register(world, "B", "Bắc Giang")
    client = await connect(world)
    shown = await page(client, "/")
    assert "1 trong 2 cơ quan có số liệu" in shown.text
    assert "1 cơ quan chưa gửi sự kiện nào, nên chưa có số liệu: Bắc Giang" in shown.text
    for path in ("/", "/agencies/B", "/why?scope=B"):
        said = (await page(client, path)).text
        assert " 0,00 %" not in said
        assert "0 / 0" not in said
        assert "hưa có" in said
    # The JSON says what the API says: null, never 0.
    answer = await (await client.get("/?format=json&q=bac")).json()
    assert answer["rows"][0]["services_with_dossiers_ratio"] is None


async def test_a_share_of_nothing_is_none_and_a_share_of_0_is_0(connect: Connect) -> None:
    world = world_of("A")
    register(world, "B", "Bắc Giang")
    list_service(world, "B", "1.0")
    said = (await page(await connect(world), "/agencies/B")).text
    assert "0,00 %" in said
    assert "0 / 1 dịch vụ" in said
    assert "Không có gì để chia: mẫu số bằng 0." in said


async def test_says_how_many_records_are_behind_and_when_that_cannot_be_told(
    connect: Connect,
) -> None:
    world = world_of("A")
    client = await connect(world)
    world.record(Topic.submissions, "A", {})
    assert "còn 1 bản ghi chưa tính" in (await page(client, "/")).text
    for _ in range(1999):
        world.record(Topic.submissions, "A", {})
    said = (await page(client, "/?lang=en")).text
    assert "2,000 records behind" in said
    assert "Catching up: 2,000 records behind. The figures are not complete yet." in said

    async def never() -> Any:
        raise OSError

    world.register.behind = Behind(never)
    assert "how many records are behind can’t be told" in (await page(client, "/?lang=en")).text


async def test_agencies_whose_partition_is_recovered_are_named_and_not_shown_as_whole(
    connect: Connect,
) -> None:
    world = world_of("A", "B", "H56")
    world.tasks.tasks[number_of("B")] = world.task(number_of("B"), Phase.RESTORING)
    client = await connect(world)
    shown = await page(client, "/")
    missing = [code for code in ("A", "B", "H56") if number_of(code) == number_of("B")]
    assert f"Đang khôi phục số liệu của {len(missing)} cơ quan." in shown.text
    assert f"{3 - len(missing)} trong 3 cơ quan có số liệu" in shown.text
    tagged = [a for tag, a in shown.tags if tag == "tr" and "recovering" in (a.get("class") or "")]
    assert sorted(a["data-scope"] or "" for a in tagged) == missing
    assert "chưa đủ" in shown.text, "nor is the nation's figure whole"
    for path in ("/agencies/B", "/why?scope=B"):
        assert "đang khôi phục" in (await page(client, path)).text
    said = (await page(client, "/agencies/B")).text
    assert "Danh sách dịch vụ tạm thời chưa có" in said
    answer = await client.get("/agencies/B?format=csv")
    assert answer.status == 503, "a list that is not known is no empty list"
    assert (await answer.json())["agency"] == "B"


async def test_agencies_of_a_partition_that_is_nobodys_are_named(connect: Connect) -> None:
    world = world_of("A", "B")
    del world.tasks.tasks[number_of("B")]
    client = await connect(world)
    assert "Đang khôi phục số liệu của" in (await page(client, "/")).text
    world.owners[number_of("B")] = "http://127.0.0.1:1"
    assert "Đang khôi phục số liệu của" not in (await page(client, "/")).text


async def test_a_worker_without_partitions_says_that_it_is_starting(connect: Connect) -> None:
    world = world_of("A")
    world.tasks.tasks.clear()
    world.tasks._assigned = False
    said = (await page(await connect(world), "/")).text
    assert "Hệ thống đang khởi động" in said


async def test_an_agency_that_has_gone_silent_is_named_with_its_last_event(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of("A", "B")
    world.broker_ms += 4 * 86_400_000
    submit(world, "B", "1.0", "later", "2022-03-02")
    now = datetime.fromtimestamp(world.broker_ms / 1000, ZONE) + timedelta(hours=1)
    world.clock = lambda: now
    client = await connect(world)
    shown = await page(client, "/")
    assert "1 cơ quan không gửi gì từ hơn ba ngày nay: Tỉnh A" in shown.text
    assert "im lặng từ 00:00 01/02/2023" in shown.text
    world.clock = lambda: now + timedelta(days=9)
    said = (await page(client, "/")).text
    assert "Không có cơ quan nào gửi gì từ hơn ba ngày nay." in said
    assert "im lặng từ" not in said, "what is true of all is said once"


async def test_a_day_to_come_and_a_day_before_everything_are_said_to_be_so(
    connect: Connect,
) -> None:
    client = await connect(world_of("A"))
    said = (await page(client, "/?as_of=2022-12-31")).text
    assert "Ngày 31/12/2022 còn ở phía trước" in said
    assert "25/08/2022" in said
    said = (await page(client, "/?as_of=2020-06-30")).text
    assert "Ngày 30/06/2020 ở trước sự kiện đầu tiên" in said
    assert " 0,00 %" not in said
    for day in ("0001-01-01", "9999-12-31"):
        for path in ("/", "/agencies/A", "/why"):
            await page(client, f"{path}?as_of={day}")


async def test_when_a_view_has_failed_no_page_shows_old_figures_as_those_of_now(
    connect: Connect,
) -> None:
    world = world_of("A")
    world.register.view._failed = RuntimeError("gone")
    client = await connect(world)
    for path in ("/", "/agencies/A", "/why"):
        assert "Chưa thể đưa ra số liệu" in (await page(client, path, 503)).text
        answer = await client.get(f"{path}?format=json")
        assert (answer.status, answer.content_type) == (503, "application/json")


# What portals send as names


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp; &#60;",
    "\u202egnp.exe\u2066",
    "]]><!--",
    '=HYPERLINK("http://x")',
    "ế" * 500,
    "a" * 500,
    "</title></style></svg>",
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_name_is_text_wherever_it_is_shown(connect: Connect, name: str) -> None:
    world = World()
    register(world, "A", name)
    list_service(world, "A", "1.0", name=name)
    list_service(world, "A", "'><b>", name=name)
    plain_world = world_of("A")
    list_service(plain_world, "A", "2.0", name="x")
    clients = [await connect(world), await connect(plain_world)]
    for path in ("/", "/agencies/A", "/why", "/why?scope=A", "/agencies/nobody"):
        status = 404 if "nobody" in path else 200
        shown = await page(clients[0], path, status)
        for tag, attrs in shown.tags:
            assert tag not in ("img", "b>") or attrs.get("src") is None
            assert not [each for each in attrs if each.startswith("on")], attrs
        assert len([tag for tag, _ in shown.tags if tag == "script"]) <= 1
        answer = await (await clients[0].get(path)).text()
        assert "\u202e" not in answer
        assert "\u2066" not in answer
        if path == "/" and name.isascii():
            assert " ".join(name.split()) in shown.text
    for question in (f"/?q={name}", f"/agencies/A?q={name}"):
        answer = await clients[0].get(question.split("?")[0], params={"q": name})
        assert answer.status == 200
        html = await answer.text()
        assert "<script>alert" not in html
        assert "onerror=alert(1)>" not in html.replace("&gt;", "›")
    for row in await rows(clients[0], "/?format=csv&q=A"):
        assert not row["name"].startswith(("=", "+", "-", "@"))


async def test_a_code_of_any_characters_has_its_page(connect: Connect) -> None:
    world = World()
    for code in ("a/b", "50%", "a?b#c", "Sở-Tư-pháp", "{}", "a+b&c=d"):
        register(world, code, f"Cơ quan {code}")
        list_service(world, code, "1.0")
    client = await connect(world)
    shown = await page(client, "/")
    paths = {a["href"] for tag, a in shown.tags if tag == "a" and "/agencies/" in (a["href"] or "")}
    assert len(paths) == 6
    for path in paths:
        await page(client, str(path))


# Rows


async def test_rows_are_sorted_by_what_is_asked_for_and_those_without_it_stand_last(
    connect: Connect,
) -> None:
    world = World()
    for code, name, services, used in (
        ("P1", "Đồng Nai", 4, 3),
        ("P2", "Dak Lak", 4, 1),
        ("P3", "An Giang", 4, 3),
        ("P4", "Đắk Nông", 0, 0),
    ):
        register(world, code, name)
        submit(world, code, "none", f"in person {code}", "2022-01-01", channel="in_person")
        for number in range(services):
            list_service(world, code, f"{number}")
        for number in range(used):
            submit(world, code, f"{number}", f"D{number}", "2022-02-02")
    client = await connect(world)

    async def order(question: str) -> list[str]:
        return (await page(client, f"/?scope=provinces&{question}")).rows()[1:]

    assert await order("sort=name") == ["P3", "P2", "P4", "P1"]
    assert await order("sort=name&order=desc") == ["P1", "P4", "P2", "P3"]
    assert await order("") == ["P3", "P1", "P2", "P4"], "ties by name"
    assert await order("order=asc") == ["P2", "P3", "P1", "P4"]
    assert await order("sort=services_with_dossiers&order=asc&limit=2") == ["P2", "P3"]
    ranks = {
        row["scope"]: row["rank_services_with_dossiers"]
        for row in await rows(client, "/?scope=provinces&format=csv")
    }
    assert [ranks[code] for code in ("P3", "P1", "P2", "P4")] == ["1", "1", "3", ""]


async def test_what_changed_is_counted_from_the_day_asked_for(connect: Connect) -> None:
    world = world_of("A")
    list_service(world, "A", "2.0")
    submit(world, "A", "2.0", "new", "2022-08-20")
    client = await connect(world)
    assert "+50,00" in (await page(client, "/")).text
    assert "Từ 18/08" in (await page(client, "/")).text
    assert "+50,00" not in (await page(client, "/?since=2022-08-21")).text
    said = (await page(client, "/?as_of=2022-01-03")).text
    assert "Từ 27/12" not in said, "another year began anew"


# The services of an agency


async def test_the_services_without_dossiers_are_one_step_away(
    connect: Connect, example: World
) -> None:
    client = await connect(example)
    for question, services in (
        ("", "services_listed"),
        ("with_dossiers=true", "services_with_dossiers"),
    ):
        shown = (await page(client, f"/agencies/H26?{question}")).rows("data-service")
        answer = await (await client.get("/api/v1/indicators")).json()
        row = next(row for row in answer["rows"] if row["scope"] == "H26")
        assert len(shown) == row[services]
        listed = await rows(client, f"/agencies/H26?{question}&format=csv")
        assert [service["code"] for service in listed] == shown
    without = await rows(client, "/agencies/H26?with_dossiers=false&format=csv")
    assert {service["online_dossiers"] for service in without} == {"0"}


async def test_the_services_come_from_the_worker_that_has_them(connect: Connect) -> None:
    owner, other = world_of("A"), world_of("A")
    other.tasks.tasks.clear()
    other.owners[number_of("A")] = str((await connect(owner)).make_url("/"))
    owner.send(Topic.submissions, "A", event("dossier.submitted", agency="A", dossier="bad"))
    client = await connect(other)
    shown = await page(client, "/agencies/A")
    assert shown.rows("data-service") == ["1.0"]
    assert "Dữ liệu sai bad_data 1" in shown.text
    assert await rows(client, "/agencies/A?table=rejected&format=csv") == [
        {"reason": "bad_data", "records": "1"}
    ]


async def test_every_table_of_an_agency_is_csv_and_json(connect: Connect, example: World) -> None:
    client = await connect(example)
    for table in ("services", "course", "channels", "levels", "rejected"):
        answer = await (await client.get(f"/agencies/H56?table={table}&format=json")).json()
        listed = await rows(client, f"/agencies/H56?table={table}&format=csv")
        assert len(listed) == len(answer[table])
    course = await rows(client, "/agencies/H56?table=course&format=csv")
    assert [row["day"] for row in course][-2:] == ["2022-07-31", "2022-08-25"]


# Behind a figure


async def test_a_figure_is_written_out_and_its_agencies_add_up(
    connect: Connect, example: World
) -> None:
    client = await connect(example)
    said = (await page(client, "/why")).text
    assert "16 dịch vụ có ít nhất một hồ sơ trực tuyến nộp trong kỳ ÷ 22" in said
    assert "≈ 0,727273 → 72,73 %" in said
    assert "⌈80 % × 22⌉ − 16 = 18 − 16 = 2 dịch vụ" in said
    assert "80 % × 236 trong 364 ngày = 51,87 %; kịp tiến độ" in said
    for scope in ("national", "ministries", "provinces"):
        pooled = await rows(client, f"/why?scope={scope}&format=csv")
        whole = (await rows(client, f"/?scope={scope}&format=csv"))[0]
        for column in (
            "services_listed",
            "services_with_dossiers",
            "dossiers_processed",
            "dossiers_processed_online",
        ):
            assert sum(int(row[column]) for row in pooled) == int(whole[column])


async def test_the_loop_is_not_held_up_while_a_page_of_the_whole_country_is_made(
    connect: Connect,
) -> None:
    """Between two slices everything else has its turn; how long they are is measured elsewhere."""
    world = World()
    for number in range(91):
        register(world, f"A{number:02}", f"Tỉnh số {number}")
        list_service(world, f"A{number:02}", "1.0")
    client = await connect(world)
    await page(client, "/")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    began = time.monotonic()
    await page(client, "/")
    took = time.monotonic() - began
    counting.cancel()
    assert turns > took / 0.05


async def test_a_page_of_the_whole_country_is_light(connect: Connect) -> None:
    world = World()
    for number in range(91):
        register(world, f"A{number:02}", f"Ủy ban nhân dân tỉnh số {number}")
        for service in range(4):
            list_service(world, f"A{number:02}", f"1.{service}")
        submit(world, f"A{number:02}", "1.0", "D", "2022-03-01")
    client = await connect(world)
    for path in ("/", "/why", "/agencies/A00", "/static/hoso.css", "/static/live.js"):
        answer = await client.get(path)
        assert answer.headers["Content-Encoding"] in ("gzip", "deflate")
        assert int(answer.headers["Content-Length"]) <= 100_000, path
