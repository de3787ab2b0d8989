"""Whatever text comes from outside, the commands show it and it does nothing.

Not as markup, not as an order to the terminal, not as a line of ours, not as a formula.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import json
import logging
import random
import sys
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streams.audit.audit import Difference, Outcome
from streams.cli import demo_checks, demo_live, logs, terminal
from streams.cli.letters import Letter
from streams.cli.terminal import NOTHING, json_text
from streams.domain.calendar import ZONE
from streams.kafka import topics as kafka_topics
from streams.settings import load
from streams.views.spreadsheet import plain
from tests.api.world import NOW, World, list_service, register, submit
from tests.cli.conftest import Hoso
from tests.cli.example import Example

# The package has the commands under the names of their modules.
audit, dead_letters, events_, reference_, report, topics = (
    import_module(f"streams.cli.{name}")
    for name in ("audit", "dead_letters", "events", "reference", "report", "topics")
)

CLI = Path(terminal.__file__).parent
SEEDS = range(25)

PIECES = (
    "[/red]", "[bold]", "[link=http://evil]", "[/]", "[", "]", ":smile:", "\\[", "{0}", "%s",
    "\x1b[2J", "\x1b]0;owned\x07", "\x9b31m", "\x9d", "\x7f", "\x00", "\b", "\t", "\r", "\n",
    "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\u200b", "\ufeff", "\U000e0041", "\x1c",
    "=cmd|' /C calc'!A1", "+1", "-1", "@SUM(A1)", '"', "'", ",", ";", "\\",
    "Hà Nội", "Ha\u0300 No\u0323\u0302i", "đ", "\xa0", "🏛", "漢字", "a", "7",
)  # fmt: skip


NOT_IN_CODES = "".join(map(chr, range(0xA1))) + "\u2028\u2029"


def nasty(rng: random.Random, *, without: str = "") -> str:
    text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 6)))
    return "".join(c for c in text if c not in without) or "x"


def inert(shown: str) -> None:
    """Nothing is in ``shown`` but characters that show themselves, and the ends of lines."""
    doubtful = {c for c in shown if not (c == "\n" or c.isprintable())}
    bad = {c for c in doubtful if unicodedata.category(c) != "Zs"}
    assert not bad, ascii(bad)


def said(result: Any, *codes: int) -> str:
    assert result.exit_code in codes, (result.exit_code, result.output, result.exception)
    inert(result.output)
    return str(result.output)


def bare(text: str) -> str:
    """Without the folds of a table."""
    return "".join(text.split())


# Text


@pytest.mark.parametrize("seed", SEEDS)
def test_any_text_becomes_one_line_that_does_nothing(seed: int) -> None:
    rng = random.Random(seed)
    ends = [rng.choice((0x300, 0x110000)) for _ in range(99)]
    text = "".join(chr(rng.randrange(end)) for end in ends)
    inert(plain(text))
    assert "\n" not in plain(text)
    harmless = "Hà Nội [bold] \\ 🏛 100 %"
    assert plain(harmless) == harmless


@pytest.mark.parametrize("seed", SEEDS)
def test_json_may_be_shown_on_a_terminal_and_says_the_same(seed: int) -> None:
    rng = random.Random(seed)
    value = {nasty(rng): [nasty(rng), chr(rng.randrange(0xD800)), "\ud800", 1.5, None]}
    for indent in (None, 2):
        inert(json_text(value, indent))
        assert json.loads(json_text(value, indent)) == value


# The commands


@contextlib.asynccontextmanager
async def _open(world: World) -> AsyncIterator[Any]:
    yield world.register, world.reference


@pytest.mark.parametrize("seed", SEEDS)
def test_report_shows_any_name_as_it_is(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    world, names = World(), {}
    for number in range(3):
        code = f"{nasty(rng, without=NOT_IN_CODES)[:60]}{number}"
        names[code] = nasty(rng)
        register(world, code, names[code])
        list_service(world, code, "1.0")
    assert len(world.reference.agencies) == 3
    monkeypatch.setattr(report, "open_register", lambda _: _open(world))
    shown = said(hoso("report", "--as-of", "2022-08-25"), 0)
    for name in names.values():
        assert plain(name)[:59] in shown
    answer = json.loads(said(hoso("report", "--as-of", "2022-08-25", "--format", "json"), 0))
    assert {row["scope"]: row["name"] for row in answer["rows"][3:]} == names
    table = said(hoso("report", "--as-of", "2022-08-25", "--format", "csv"), 0)
    rows = list(csv.DictReader(io.StringIO(table)))[3:]
    assert {row["name"].removeprefix("'") for row in rows} == {
        plain(name).removeprefix("'") for name in names.values()
    }
    for row in rows:
        assert not (row["name"] + row["scope"]).startswith(("=", "+", "-", "@"))


def test_a_name_that_a_spreadsheet_would_run_is_text_in_csv_and_numbers_are_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cells: dict[str, Any] = {"name": "=1+1", "scope": "@a", "points": -0.5, "none": None}
    terminal.say_csv([cells])
    assert capsys.readouterr().out == "name,scope,points,none\n'=1+1,'@a,-0.5,\n"


def test_all_but_one_is_not_shown_as_all(hoso: Hoso, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    register(world, "H01")
    for number in range(2_001):
        list_service(world, "H01", f"s{number}")
        if number:
            submit(world, "H01", f"s{number}", f"d{number}", "2022-03-01")
    for number in range(20_000 - 2_001):
        list_service(world, "H01", f"t{number}", level=2)
    register(world, "H02")
    list_service(world, "H02", "1.0")
    monkeypatch.setattr(report, "open_register", lambda _: _open(world))
    assert "2,000 / 2,001" in (shown := said(hoso("report", "--as-of", "2022-08-25"), 0))
    assert "99.95" in shown
    counts = world.register.figures(world.reference, "mic-2022", "year", NOW.toordinal())[0]
    almost = counts.counts._replace(services_with_dossiers=29_999, services_listed=30_000)
    cells = report._cells(counts._replace(counts=almost), "services_with_dossiers", alone=False)
    assert cells[1] == ("%", "%", "99.99")


def letters(rng: random.Random) -> list[Letter]:
    at = datetime(2022, 8, 25, tzinfo=ZONE)

    def value() -> bytes | None:
        event = json.dumps({nasty(rng): nasty(rng)}, ensure_ascii=False)
        return rng.choice((None, nasty(rng).encode(), event.encode()))

    return [
        Letter(
            partition=0,
            offset=number,
            at=at,
            key=rng.choice((None, nasty(rng).encode(), b"\xff\x1b[2J")),
            value=value(),
            headers=((nasty(rng), rng.choice((None, nasty(rng).encode()))),),
            reason=nasty(rng),
            detail=nasty(rng),
            topic=nasty(rng),
            place=nasty(rng),
            agency=rng.choice((None, nasty(rng))),
        )
        for number in range(4)
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_dead_letters_are_listed_and_shown_as_they_are(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    found = letters(random.Random(seed))

    async def read(_: Any, only: tuple[int, int] | None = None) -> list[Letter]:
        return [one for one in found if only in (None, (one.partition, one.offset))]

    monkeypatch.setattr(dead_letters, "read_letters", read)
    shown = bare(said(hoso("dead-letters", "list"), 0))
    for letter in found:
        assert bare(plain(letter.reason)) in shown
        assert bare(plain(letter.agency or NOTHING)) in shown
        assert bare(f"0:{letter.offset}") in shown
    listed = json.loads(said(hoso("dead-letters", "list", "--format", "json"), 0))
    assert [one["detail"] for one in listed] == [letter.detail for letter in found]
    for letter in found:
        shown = said(hoso("dead-letters", "show", letter.name), 0)
        assert f"detail    {plain(letter.detail)}\n" in shown
        assert f"header    {plain(letter.headers[0][0])}: " in shown
        raw = hoso("dead-letters", "show", letter.name, "--raw")
        assert raw.stdout_bytes == (letter.value or b""), "the bytes themselves, as asked for"


def test_raw_bytes_of_a_dead_letter_never_go_to_a_terminal(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = letters(random.Random(0))[:1]

    async def read(*_: Any) -> list[Letter]:
        return found

    monkeypatch.setattr(dead_letters, "read_letters", read)
    monkeypatch.setattr(
        dead_letters, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True))
    )
    result = hoso("dead-letters", "show", "0:0", "--raw")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "send them to a file" in result.stderr


def events(rng: random.Random) -> Iterator[str]:
    for _ in range(8):
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": nasty(rng),
            "source": nasty(rng),
            "type": "hoso.dossier.submitted.v1",
            "data": {
                "dossier": nasty(rng),
                "agency": nasty(rng),
                "service": nasty(rng),
                "channel": nasty(rng),
                "submitted_at": nasty(rng),
                nasty(rng): nasty(rng),
            },
        }
        if rng.random() < 0.3:
            event["data"] = nasty(rng)
        if rng.random() < 0.3:
            event[rng.choice(("type", "specversion", nasty(rng)))] = nasty(rng)
        yield json.dumps(event, ensure_ascii=rng.random() < 0.5)
        yield json.dumps({"topic": nasty(rng), "key": nasty(rng), "value": nasty(rng)})
        yield nasty(rng, without="\n\r")


@pytest.mark.parametrize("command", ["validate", "publish"])
@pytest.mark.parametrize("seed", SEEDS)
def test_bad_lines_are_named_whatever_is_in_them(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int, command: str
) -> None:
    async def nobody(_: Any) -> dict[str, frozenset[str]]:
        return {}

    monkeypatch.setattr(events_, "registered_agencies", nobody)
    file = tmp_path / "[bold]\x1b[2J\u202e.jsonl"
    file.write_text("\n".join(events(random.Random(seed))), encoding="utf-8")
    shown = said(hoso(command, file), 1)
    assert f"{plain(str(file))}:1: " in shown


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_of_reference_files_are_named_whatever_is_in_them(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int
) -> None:
    async def nobody(_: Any) -> dict[str, frozenset[str]]:
        return {}

    rng = random.Random(seed)
    monkeypatch.setattr(reference_, "registered_agencies", nobody)
    for name, header in (
        ("agencies.csv", ["code", "name", "kind"]),
        (
            "services.csv",
            ["agency", "service", "name", "level", "eligible", "listed", "effective_from"],
        ),
        ("targets.csv", ["scope", "indicator", "year", "ratio", nasty(rng)]),
    ):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *([nasty(rng) for _ in header] for _ in range(5))])
    assert "nothing was sent" in said(hoso("reference", "load", tmp_path), 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_differences_of_an_audit_are_shown_as_they_are(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    outcome = Outcome(
        differences=[Difference(*(nasty(rng) for _ in range(8))) for _ in range(3)],
        left_out=Counter({nasty(rng): 1}),
        strangers=Counter({nasty(rng): 1}),
        days=[date(2022, 8, 25)],
    )

    async def audited(*_: Any) -> Outcome:
        return outcome

    monkeypatch.setattr(audit, "_audit", audited)
    assert "3 differences" in said(hoso("audit"), 1)
    told = json.loads(said(hoso("audit", "--format", "json"), 1))
    assert told["differences"] == [found._asdict() for found in outcome.differences]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_broker_says_of_its_topics_is_shown_as_it_is(
    hoso: Hoso, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    differs = kafka_topics.Difference("hoso.agencies", nasty(rng), nasty(rng), nasty(rng))

    async def there(_: Any) -> dict[str, int]:
        return {}

    async def created(*_: Any) -> kafka_topics.Report:
        return kafka_topics.Report((), (), (differs,), ())

    monkeypatch.setattr(topics, "topics_on_broker", there)
    monkeypatch.setattr(kafka_topics, "create_missing", created)
    assert f"differs: {plain(differs.what)} is " in said(hoso("topics", "create"), 0, 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_demo_shows_any_name_as_it_is(capsys: pytest.CaptureFixture[str], seed: int) -> None:
    rng = random.Random(seed)
    name = nasty(rng)
    results = [demo_checks.Result(check, name, Fraction(50)) for check in Example.checks[:3]]
    demo_checks.print_table(results)
    world = World()
    register(world, "H01", name)
    row = world.register.figures(world.reference, "mic-2022", "year", NOW.toordinal())[0]

    class Worker:
        url = f"http://{name}"

    screen = demo_live._screen([row._replace(name=name)], NOW.toordinal(), Worker(), 1, 2.0, 3)  # type: ignore[arg-type]
    terminal.out().print(screen)
    shown = capsys.readouterr().out
    inert(shown)
    assert shown.count(plain(name)) >= 5


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_message_is_one_line_of_the_log_whatever_is_in_it(seed: int, form: str) -> None:
    rng = random.Random(seed)
    text = nasty(rng)
    logging_before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        logs.configure(load({}, log_format=form))
        (handler,) = logging.getLogger().handlers
        record = logging.LogRecord("streams.x", logging.ERROR, "", 1, "letter %s", (text,), None)
        line = handler.format(record)
        inert(line)
        assert "\n" not in line
        if form == "json":
            assert json.loads(line)["message"] == f"letter {text}"
        else:
            assert line.endswith(f"streams.x: letter {plain(text)}")
        try:
            raise ValueError(f"{text}\n12:00:00 CRITICAL forged: {text}")
        except ValueError:
            record = logging.LogRecord("streams.x", 40, "", 1, "failed", (), sys.exc_info())
        first, *rest = handler.format(record).split("\n")
        inert(first + "".join(rest))
        assert all(line.startswith("    ") for line in rest)
        assert bool(rest) == (form == "text")
    finally:
        logging.getLogger().handlers[:] = logging_before[0]
        logging.getLogger().setLevel(logging_before[1])


# The demo's ranges


def test_of_a_published_range_both_ends_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    ranged = next(check for check in Example.checks if check.above is None)._replace(
        published=Decimal("96.47"), above=Decimal(90), decimals=2, indicator="on_time"
    )
    results = [demo_checks.Result(ranged, "x", Fraction(9057, 100))]
    (found,) = demo_checks.as_json(results, 1, 1.0)["checks"]
    assert (found["published"], found["published_range"]) == (96.47, [90, 96.47])
    demo_checks.print_table(results)
    assert "90 to 96.47 %" in capsys.readouterr().out


# The code

PRINTS = {"print", "echo", "secho", "echo_via_pager", "from_markup", "from_ansi"}
OF_RICH = {"box", "Group", "RenderableType", "Live", "Table", "Text"}
"""None of these prints by itself."""


def test_nothing_but_the_terminal_module_prints() -> None:
    """So that nobody can show data without it being made harmless on the way."""
    for path in sorted(CLI.parent.rglob("*.py")):
        if path == CLI / "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(CLI.parent)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                made_by_out = ast.unparse(node.func) == "out().print"
                assert name not in PRINTS or made_by_out, f"{where}: {name}"
                if name == "Text":
                    assert all(isinstance(part, ast.Constant) for part in node.args), where
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich"):
                assert {alias.name for alias in node.names} <= OF_RICH, where
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("rich") for alias in node.names), where
            if isinstance(node, ast.Attribute) and node.attr == "write":
                assert not ast.unparse(node).startswith("sys."), where
