"""A scenario that follows another starts with a catalogue of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from itertools import islice

from streams.simulator import Live, Published, Record, Remembering, Succession


class Short(Published):
    """The first records of the published scenario."""

    def records(self) -> Iterator[Record]:
        return islice(super().records(), 5000)


def test_every_service_played_so_far_is_taken_down_before_the_next_scenario_begins() -> None:
    earlier = Remembering(Short())
    played = list(earlier.records())
    services = {
        (data["agency"], data["service"])
        for record in played
        if record.topic == "catalogue"
        for data in [json.loads(record.value)["data"]]
    }
    assert services
    following = Succession(earlier, Live(), date(2026, 1, 1))
    assert following.total is None
    takedowns = list(islice(following.records(), len(services)))
    found = set()
    for record in takedowns:
        event = json.loads(record.value)
        data = event["data"]
        assert record.topic == "catalogue"
        assert record.key == data["agency"]
        assert event["time"] < "2026-01-01"
        assert (data["listed"], data["effective_from"]) == (False, "2026-01-01")
        found.add((data["agency"], data["service"]))
    assert found == services
    assert next(islice(following.records(), len(services), None)).topic == "agencies"


def test_what_is_remembered_is_played_unchanged() -> None:
    assert list(Remembering(Short()).records()) == list(Short().records())
