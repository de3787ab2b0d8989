"""pathway in streaming mode, state in memory: Kafka, typed JSON, ``groupby`` and ``reduce``.

Its engine is Rust and reads the JSON itself, by a schema with the fields that are needed: there is
no pydantic here and no Python per event. It never ends by itself and does not say when it takes
the first record in. The clock runs from the time that its first commit bears, which is the wall
clock's to within one commit interval (a tenth of a second), to the end of the commit with the last
record; a short run is therefore off by a good deal, one of several seconds by little.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import pathway as pw

from bench.counts import ENDED, TOPICS, Counted, Expected
from bench.peers.process import Clock, Report, emit_and_exit, main

COMMIT_MS = 100
"""A commit this often; the default of 1,500 would blur the beginning and the end by as much."""


class Submitted(pw.Schema):
    """The fields of a submission that are counted."""

    agency: str
    dossier: str
    service: str
    channel: str | None


class Processed(pw.Schema):
    """The fields of a processing event that are counted."""

    agency: str
    dossier: str
    status: int


def _read(bootstrap: str, topic: str, schema: type[pw.Schema]) -> Any:
    return pw.io.kafka.read(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-pathway",
            "auto.offset.reset": "earliest",
            "session.timeout.ms": "6000",
        },
        topic=topic,
        format="json",
        schema=schema,
        json_field_paths={name: f"/data/{name}" for name in schema.column_names()},
        autocommit_duration_ms=COMMIT_MS,
    )


def run(bootstrap: str, events: int) -> Report | None:
    """Run the engine until ``events`` records are through, then end the process."""
    submitted = _read(bootstrap, TOPICS[0], Submitted)
    processed = _read(bootstrap, TOPICS[1], Processed)
    dossiers = submitted.groupby(pw.this.agency, pw.this.dossier).reduce(
        pw.this.agency,
        pw.this.dossier,
        service=pw.reducers.any(pw.this.service),
        online=pw.reducers.any(pw.this.channel == "online"),
    )
    ended = (
        processed.filter((pw.this.status == ENDED[0]) | (pw.this.status == ENDED[1]))
        .groupby(pw.this.agency, pw.this.dossier)
        .reduce(pw.this.agency, pw.this.dossier)
    )
    resolved = dossiers.join(
        ended, pw.left.agency == pw.right.agency, pw.left.dossier == pw.right.dossier
    ).select(pw.left.agency, pw.left.online)
    services = (
        dossiers.filter(pw.this.online)
        .groupby(pw.this.agency, pw.this.service)
        .reduce(pw.this.agency, pw.this.service)
    )
    count = pw.reducers.count()
    tables = {
        "dossiers": dossiers.groupby(pw.this.agency).reduce(pw.this.agency, n=count),
        "resolved": resolved.groupby(pw.this.agency).reduce(pw.this.agency, n=count),
        "resolved_online": resolved.filter(pw.this.online)
        .groupby(pw.this.agency)
        .reduce(pw.this.agency, n=count),
        "services": services.groupby(pw.this.agency).reduce(pw.this.agency, n=count),
        "submitted": submitted.reduce(agency="", n=count),
        "processed": processed.reduce(agency="", n=count),
    }
    # One table, because only a table's own changes end a commit in it: a last commit that changes
    # no service would never end in the services.
    figures = pw.Table.concat_reindex(
        *(table.select(pw.this.agency, pw.this.n, what=name) for name, table in tables.items())
    )
    watch = Watch(events)
    pw.io.subscribe(figures, on_change=watch.changed, on_time_end=watch.ended)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    return None


class Watch:
    """Follows the figures, and reports when they hold all events."""

    def __init__(self, events: int) -> None:
        self._events = events
        self._rows: dict[str, dict[str, int]] = defaultdict(dict)
        self._clock = Clock()

    def changed(self, key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        """A figure has a new value, or has lost its old one."""
        if is_addition:
            self._rows[row["what"]][row["agency"]] = row["n"]

    def ended(self, moment: int) -> None:
        """A commit is done: all its changes have been told."""
        self._clock.start(since=time.time() - moment / 1000)
        if self._through() == self._events:
            emit_and_exit(self._clock.report(self._events, self._counted()))

    def _through(self) -> int:
        return sum(self._rows[name].get("", 0) for name in ("submitted", "processed"))

    def _counted(self) -> Counted:
        return {
            agency: Expected(*(self._rows[name].get(agency, 0) for name in Expected._fields))
            for agency in self._rows["dossiers"]
        }


if __name__ == "__main__":
    main(run)
