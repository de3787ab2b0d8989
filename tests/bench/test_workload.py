"""The benchmark's events are what they are said to be, and the peers' rule counts them right."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from bench.counts import (
    ENDED,
    UNKNOWN,
    Counted,
    Expected,
    Fact,
    State,
    differences,
    gain,
    merge,
    tally,
    total,
)
from bench.workload import Workload, agencies, make

EVENTS = 60_000


@pytest.fixture(scope="module")
def workload() -> Workload:
    """A workload of the size at which shares are steady."""
    return make(EVENTS)


def facts(workload: Workload) -> list[Fact]:
    found = []
    for event in workload.events:
        data = json.loads(event.value)["data"]
        ended = data.get("status") in ENDED
        online = data.get("channel") == "online"
        found.append(Fact(data["agency"], data["dossier"], data.get("service"), online, ended))
    return found


def test_two_in_a_hundred_events_are_duplicates(workload: Workload) -> None:
    distinct = len({event.value for event in workload.events})
    assert (len(workload.events) - distinct) / distinct == pytest.approx(0.02, rel=0.1)


def test_dossiers_are_spread_over_91_agencies_by_zipfs_law(workload: Workload) -> None:
    assert len(workload.by_agency) == len(agencies()) == 91
    ranked = sorted((row.dossiers for row in workload.by_agency.values()), reverse=True)
    harmonic = sum(1 / rank for rank in range(1, 92))
    for rank in (1, 2, 3, 5, 10):
        share = ranked[rank - 1] / sum(ranked)
        assert share == pytest.approx(1 / rank / harmonic, rel=0.1)


def test_the_same_seed_gives_the_same_events() -> None:
    assert make(1000) == make(1000)
    assert make(1000).events != make(1000, seed=1).events


def test_workloads_numbered_apart_share_no_dossier() -> None:
    first, second = make(1000), make(1000, first=1_000_000)
    assert not {f.dossier for f in facts(first)} & {f.dossier for f in facts(second)}


def test_the_expected_figures_are_those_of_a_plain_recount(workload: Workload) -> None:
    submitted: dict[tuple[str, str], tuple[str | None, bool]] = {}
    ended = set()
    for fact in facts(workload):
        if fact.service is not None:
            submitted[fact.agency, fact.dossier] = fact.service, fact.online
        if fact.ended:
            ended.add((fact.agency, fact.dossier))
    dossiers = Counter(agency for agency, _ in submitted)
    resolved = Counter(agency for agency, _ in ended)
    online = Counter(key[0] for key in ended if submitted[key][1])
    used = {(key[0], service) for key, (service, online) in submitted.items() if online}
    services = Counter(agency for agency, _ in used)
    assert workload.by_agency == {
        agency: Expected(n, resolved[agency], online[agency], services[agency])
        for agency, n in dossiers.items()
    }
    assert workload.expected == total(workload.by_agency)


@pytest.mark.parametrize("backwards", [False, True])
def test_the_peers_rule_counts_right_in_any_order(workload: Workload, backwards: bool) -> None:
    states: dict[tuple[str, str], State] = {}
    figures: dict[str, list[int]] = {}
    services: set[tuple[str, str]] = set()
    for fact in facts(workload)[:: -1 if backwards else 1]:
        before = states.get((fact.agency, fact.dossier), UNKNOWN)
        after = states[fact.agency, fact.dossier] = merge(before, fact)
        gained = gain(before, after)
        if gained is not None:
            row = figures.setdefault(fact.agency, [0, 0, 0])
            figures[fact.agency] = [a + b for a, b in zip(row, gained[:3], strict=True)]
            if gained.service is not None:
                services.add((fact.agency, gained.service))
    distinct = Counter(agency for agency, _ in services)
    counted: Counted = {code: Expected(*row, distinct[code]) for code, row in figures.items()}
    assert differences(counted, workload.by_agency) == []


def test_the_bare_loops_tally_counts_only_dossiers_that_were_submitted() -> None:
    channels = {("A", "1"): "online", ("A", "2"): "postal", ("B", "1"): None}
    counted = tally(channels, {("A", "1"), ("A", "2"), ("B", "9")}, {("A", "s")})
    assert counted == {"A": Expected(2, 2, 1, 1), "B": Expected(1, 0, 0, 0)}


def test_a_missing_a_wrong_and_an_extra_agency_are_each_a_difference() -> None:
    right = {"A": Expected(1, 1, 1, 1), "B": Expected(2, 0, 0, 0)}
    wrong = {"A": Expected(1, 1, 0, 1), "C": Expected(1, 0, 0, 0)}
    assert [line[0] for line in differences(wrong, right)] == ["A", "B", "C"]
    assert differences(right, right) == []
