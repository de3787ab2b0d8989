"""The campaign's own parts: it must be able to see what it is there to see."""

from __future__ import annotations

import asyncio
import hashlib
import re
import struct
import time
from collections import Counter, deque
from datetime import date
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from schemas.admission import admit
from schemas.decoder import Rejection, decode
from schemas.topics import Topic
from streams.kafka.broker import HOST
from streams.kafka.partitioner import partition_for
from tests.chaos import report
from tests.chaos.campaign import Outcome
from tests.chaos.commits import COMMITTED_SECONDS, SLACK_SECONDS, Commits
from tests.chaos.faults import flip_bits, stores
from tests.chaos.mischief import Mischief
from tests.chaos.portals import (
    DUPLICATES,
    MALFORMED,
    RESTATED,
    VOIDED,
    Country,
    Planned,
    agencies,
    reference,
)
from tests.chaos.proxy import links
from tests.chaos.schedule import FULL, KINDS, MEDIUM, QUICK, plan, tally
from tests.chaos.verdict import ASKS, Comparison, Owed, PatientOracle, expected, owed, rows_of
from tests.chaos.watch import SESSION_SECONDS, TOLERANCE_SECONDS, Watch, parse
from tests.chaos.workers import Workers
from tests.oracle import Oracle


def _records(seed: int, count: int) -> tuple[list[Planned], Counter[str]]:
    taken: Counter[str] = Counter()
    return list(islice(Country(seed, count, 12).records(taken), count)), taken


def test_a_seed_gives_the_same_records_and_the_same_faults() -> None:
    assert _records(3, 500) == _records(3, 500)
    assert _records(3, 500)[0] != _records(4, 500)[0]
    assert plan(3, FULL) == plan(3, FULL)
    assert plan(3, FULL) != plan(4, FULL)


def test_the_records_are_as_good_and_as_bad_as_they_say() -> None:
    registered = {
        e["key"]: frozenset(e["value"]["data"]["sources"])
        for e in reference()
        if e["topic"] == "agencies"
    }
    now = int(time.time() * 1000)
    records, _ = _records(11, 20_000)
    for record in records:
        judged = decode(Topic[record.topic], record.value, ())
        if not isinstance(judged, Rejection):
            judged = admit(judged, record.key, now, registered) or judged
        reason = judged.reason.value if isinstance(judged, Rejection) else None
        assert reason == record.reason, record
    assert {r.reason for r in records if r.reason} == {
        *("too_large", "not_json", "bad_envelope", "unknown_type", "wrong_topic", "bad_data"),
        *("key_mismatch", "unknown_agency", "source_not_allowed", "future_time"),
    }


def test_the_records_have_the_shares_of_everything_that_goes_wrong() -> None:
    records, _ = _records(12, 30_000)
    events = [record.event["value"] for record in records if record.event]
    data = [event["data"] for event in events]
    astray = [r for r in records if r.key and partition_for(r.key, 12) != r.partition]
    share = 1 / len(records)
    assert (len(events) - len({event["id"] for event in events})) * share == pytest.approx(
        DUPLICATES, abs=0.02
    )
    assert (len(records) - len(events)) * share == pytest.approx(MALFORMED, abs=0.004)
    assert sum(d.get("revision") == 1 for d in data) * share == pytest.approx(RESTATED, abs=0.006)
    assert sum(d.get("void", False) for d in data) * share == pytest.approx(VOIDED, abs=0.006)
    assert len(astray) > 200


def test_what_a_portal_sent_can_be_told_again() -> None:
    records, taken = _records(5, 3000)
    sent = {r.event["value"]["id"]: r.event for r in records if r.event}
    told = {e["value"]["id"]: e for _, said in Country(5, 3000, 12).accepted(taken) for e in said}
    assert told == sent


def test_the_patient_oracle_says_what_the_oracle_says() -> None:
    records, taken = _records(8, 1500)
    country = Country(8, 1500, 12)
    plain = Oracle([*reference(), *(r.event for r in records if r.event)])
    patient = PatientOracle(list(reference()), country.accepted(taken))
    for ask in ASKS[::5]:
        question = date.fromisoformat(ask.as_of), ask.period, ask.definition
        assert patient.figures(*question) == plain.figures(*question)
    assert expected(country, taken).distinct == len(
        {r.event["value"]["id"] for r in records if r.event}
    )


def test_the_full_campaign_has_at_least_the_faults_that_were_asked_for() -> None:
    for seed in range(20):
        done = tally(plan(seed, FULL))
        assert FULL.events >= 1_000_000
        assert done["kill"] >= 200
        assert done["scale"] >= 30
        assert done["broker"] >= 20
        assert done["freeze"] >= 10
        assert done["wipe"] >= 5
        assert done["cut"] + done["delay"] >= 40
        assert done["clock"] >= 1
        assert min(done["damage"], done["abort"], done["refuse"], done["hostile"]) >= 10


@pytest.mark.parametrize("nodes", [1, 3])
def test_the_quick_cut_has_every_kind_of_fault_that_its_brokers_can_stand(nodes: int) -> None:
    for seed in range(20):
        done = tally(plan(seed, QUICK, nodes=nodes))
        assert done["kill"] >= 3
        assert done["scale"] >= 2
        assert done["cut"] >= 2
        missing = {kind for kind in KINDS if done[kind] == 0}
        assert missing == ({"broker", "abort"} if nodes == 1 else set())
        assert tally(plan(seed, QUICK, nodes=nodes, on_disk=False))["damage"] == 0


@pytest.mark.parametrize("profile", [FULL, MEDIUM, QUICK])
def test_every_fault_begins_and_ends_within_the_campaign(profile: object) -> None:
    assert isinstance(profile, type(FULL))
    faults = plan(1, profile)
    assert all(0 <= fault.at <= profile.seconds for fault in faults)
    frozen = [fault for fault in faults if fault.kind == "freeze"]
    assert all(one.at + one.seconds <= other.at for one, other in pairwise(frozen))
    assert all(fault.seconds > SESSION_SECONDS for fault in frozen)


def test_a_wrong_a_missing_and_a_surplus_figure_are_differences() -> None:
    compared = Comparison()
    compared.rows("here", ASKS[0], {"H56": {"a": 1}}, {"H56": {"a": 1}})
    assert not compared.differences
    compared.rows("here", ASKS[0], {"H56": {"a": 1}}, {"H56": {"a": 2}})
    compared.rows("here", ASKS[0], {"H56": {"a": 1}}, {"H56": {"a": 1}, "H26": {"a": 0}})
    compared.rows("here", ASKS[0], {"H56": {"a": None}}, {"H56": {}})
    assert len(compared.differences) == 3
    assert compared.figures == 5


def test_an_answer_of_the_api_is_compared_to_the_last_figure() -> None:
    row = {"scope": "H56", "name": "x", "last_event_at": "y", "rank": {"a": 1}, "n": 0.5}
    assert rows_of({"rows": [row]}) == {"H56": {"scope": "H56", "rank.a": 1, "n": 0.5}}


def test_a_second_publisher_is_noticed_after_a_session_timeout(tmp_path: Path) -> None:
    watch = Watch(Workers(tmp_path, {}), 12)
    limit = SESSION_SECONDS + TOLERANCE_SECONDS
    watch.look_for_two_owners({0: {"H56"}, 1: {"H56", "H26"}}, {1}, 0.0)
    watch.look_for_two_owners({0: {"H56"}, 1: {"H26"}}, {1}, limit)
    watch.look_for_two_owners({0: {"H56"}, 1: {"H56"}}, {1}, limit + 1)
    watch.look_for_two_owners({0: {"H56"}, 1: {"H56"}}, {1}, limit + 5)
    assert not watch.violations
    watch.look_for_two_owners({0: {"H56"}, 1: {"H56"}}, {1}, 2 * limit + 2)
    assert len(watch.violations) == 1
    assert watch.longest_zombie > limit


def test_figures_that_cannot_be_are_noticed(tmp_path: Path) -> None:
    watch = Watch(Workers(tmp_path, {}), 12)
    on_time = 'hoso_dossiers_on_time{agency="H56",kind="province",period="year"} 3.0\n'
    due = 'hoso_dossiers_due{agency="H56",kind="province",period="year"} 3.0\n'
    ratio = 'hoso_online_processed_ratio{agency="H56",kind="province",period="year"} 1.0\n'
    watch.look_for_nonsense(parse(on_time + due + ratio), "here")
    assert not watch.violations
    watch.look_for_nonsense(parse(on_time + due.replace("3.0", "2.0")), "here")
    watch.look_for_nonsense(parse(ratio.replace("1.0", "1.01")), "here")
    assert len(watch.violations) == 2


async def test_a_link_passes_rewrites_hangs_and_resets() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    upstream = server.sockets[0].getsockname()[1]
    (link,) = await links([upstream])
    reader, writer = await asyncio.open_connection(HOST, link.port)
    said = HOST.encode() + struct.pack(">i", upstream) + b" and more"
    frame = struct.pack(">i", len(said)) + said
    writer.write(frame)
    answer = await reader.readexactly(len(frame))
    assert answer[4:] == HOST.encode() + struct.pack(">i", link.port) + b" and more"
    link.cut("hang")
    writer.write(frame)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(1), 0.2)
    link.mend()
    assert len(await reader.readexactly(len(frame))) == len(frame)
    link.cut("reset")
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    again, _ = await asyncio.open_connection(HOST, link.port)
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await again.readexactly(1)
    await link.stop()
    server.close()


def test_what_is_processed_and_not_committed_is_noticed_where_nothing_is_done_to_its_owner() -> (
    None
):
    tp, limit = TopicPartition("chaos.submissions", 3), COMMITTED_SECONDS + SLACK_SECONDS
    commits = Commits("", "chaos.", "chaos", 12, dict)
    commits.look(0.0, {tp: 10}, {tp: 9}, {3: 77})
    commits.look(limit, {tp: 12}, {tp: 10}, {3: 77})  # the first is told, the next two are late
    commits.look(limit + 1, {tp: 12}, {tp: 11}, {})  # its owner is frozen
    commits.look(limit + 2, {tp: 12}, {tp: 11}, {3: 78})  # and replaced
    commits.look(2 * limit + 1, {tp: 12}, {tp: 11}, {3: 78})
    assert not commits.violations
    commits.look(2 * limit + 3, {tp: 12}, {tp: 11}, {3: 78})
    commits.look(2 * limit + 4, {tp: 12}, {tp: 11}, {3: 78})
    assert len(commits.violations) == 1
    assert commits.longest > limit
    commits.look(2 * limit + 5, {tp: 12}, {tp: 12}, {3: 78})
    commits.look(3 * limit + 4, {tp: 13}, {tp: 12}, {3: 78})
    assert len(commits.violations) == 1


def test_what_a_dead_letter_must_keep_is_all_or_of_much_the_beginning() -> None:
    whole, much = b"x" * 524_288, b"y" * 524_289
    assert owed("too_large", None) == Owed("too_large", None, None)
    assert owed("too_large", whole) == Owed("too_large", hashlib.sha256(whole).digest(), None)
    said = f"524289 sha256:{hashlib.sha256(much).hexdigest()}".encode()
    assert owed("too_large", much) == Owed(
        "too_large", hashlib.sha256(much[:65_536]).digest(), said
    )


async def test_what_is_aborted_would_count_and_what_is_refused_is_bad(tmp_path: Path) -> None:
    mischief = Mischief("127.0.0.1:9", "chaos.", 12, deque())
    registered = {code: frozenset[str]() for code, _ in agencies()}
    now = int(time.time() * 1000)
    ghosts = mischief._ghosts(7)
    kinds = Counter[str]()
    for ghost in ghosts:
        judged = decode(Topic[ghost.topic], ghost.value, ())
        if isinstance(judged, Rejection):
            kinds[judged.reason.value] += 1
        else:
            assert admit(judged, ghost.key, now, registered) is None
            kinds[ghost.topic] += 1
    assert kinds == {
        **dict.fromkeys(("submissions", "processing", "catalogue", "not_json"), 6),
        **dict.fromkeys(("agencies", "targets"), 1),
    }
    sent: list[tuple[str, bytes]] = []

    async def send(topic: str, value: bytes, *_: object, **__: object) -> SimpleNamespace:
        sent.append((topic, value))
        return SimpleNamespace(offset=len(sent))

    mischief._producer = SimpleNamespace(send_and_wait=send)
    await mischief.refuse(7)
    assert Counter(topic for topic, _ in sent) == {"chaos.agencies": 3, "chaos.targets": 1}
    for topic, value in sent:
        judged = decode(Topic[topic.removeprefix("chaos.")], value, ())
        assert isinstance(judged, Rejection)
        assert judged.reason.value == "bad_data"
    assert set(mischief.refused.values()) == {"bad_data"}
    assert len(mischief.refused) == 4


def test_bits_are_flipped_in_the_files_of_stores_alone(tmp_path: Path) -> None:
    store = tmp_path / "chaos" / "dossiers" / "3"
    kept = tmp_path / "chaos" / "dossiers" / "4.damaged"
    for directory in (store, kept):
        directory.mkdir(parents=True)
        for name in ("000012.sst", "MANIFEST-000005", "LOG", "LOCK"):
            (directory / name).write_bytes(bytes(100))
    (store / "000013.log").touch()
    assert [path.name for path in stores(tmp_path)] == ["000012.sst", "MANIFEST-000005"]
    flip_bits(stores(tmp_path), Random(1))
    changed = {
        path.name for path in tmp_path.rglob("*") if path.is_file() and any(path.read_bytes())
    }
    assert changed == {"000012.sst", "MANIFEST-000005"}


def test_an_outcome_is_good_only_when_something_was_compared_and_nothing_was_wrong() -> None:
    def outcome() -> Outcome:
        made = Outcome(QUICK, "apache", "memory", 1, {"kill": 3}, [])
        made.comparison.figures = 10
        return made

    assert outcome().good
    nothing, differs, letters, broken = outcome(), outcome(), outcome(), outcome()
    nothing.comparison.figures = 0
    differs.comparison.differences.append("H56 is 1, must be 2")
    letters.letters.problems.append("no dead letter")
    broken.violations.append("two publishers")
    assert not any(bad.good for bad in (nothing, differs, letters, broken))
    assert "H56 is 1, must be 2" in report.text(differs, "")


def test_the_report_goes_between_the_markers_of_its_campaign(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- chaos quick-apache-memory -->\nold\n<!-- /chaos quick-apache-memory -->\nb"
    )
    made = Outcome(QUICK, "apache", "memory", 77, {"kill": 3}, [])
    report.write(made, "the command", page)
    report.write(made, "the command", page)
    text = page.read_text()
    assert text.startswith("a\n<!--")
    assert text.endswith("-->\nb")
    assert "old" not in text
    assert text.count("| seed | 77 |") == 1
    with pytest.raises(ValueError):
        report.write(Outcome(FULL, "apache", "memory", 1, {}, []), "", page)


def test_the_page_has_the_markers_of_the_campaigns_it_promises() -> None:
    page = report.DOCUMENT.read_text(encoding="utf-8")
    assert re.findall(r"<!-- (/?chaos [\w-]+) -->", page) == [
        "chaos full-apache-rocksdb",
        "/chaos full-apache-rocksdb",
    ]
