"""Quix Streams with state in RocksDB and its changelog topic, at least once: all defaults.

Two topics of one key are concatenated and counted by a stateful function, as its guide has it.
The clock stops when ``run`` has returned: the last checkpoint (changelog flushed, offsets
committed) is then done.
"""

from __future__ import annotations

import tempfile

from quixstreams import Application, State

from bench.counts import TOPICS, UNKNOWN, Counted, Expected, Fact, gain, merge
from bench.peers.decode import processed, submitted
from bench.peers.process import Clock, Report, main


def run(bootstrap: str, events: int) -> Report:
    """Run the application until ``events`` records are done."""
    clock = Clock()
    counted: Counted = {}
    done = 0

    def count(fact: Fact, state: State) -> None:
        # The record's key is the agency, and state is of the key.
        nonlocal done
        done += 1
        name = f"d/{fact.dossier}"
        known = state.get(name)
        before = UNKNOWN if known is None else tuple(known)
        after = merge(before, fact)
        state.set(name, after)
        gained = gain(before, after)
        if gained is None:
            return
        figures = state.get("figures") or [0, 0, 0, 0]
        new_service = gained.service is not None and not state.exists(f"s/{gained.service}")
        if new_service:
            state.set(f"s/{gained.service}", True)
        added = (*gained[:3], int(new_service))
        figures = [old + new for old, new in zip(figures, added, strict=True)]
        state.set("figures", figures)
        counted[fact.agency] = Expected(*figures)

    def timed(value: bytes) -> bytes:
        clock.start()
        return value

    with tempfile.TemporaryDirectory(prefix="hoso-bench-quix-") as directory:
        app = Application(
            broker_address=bootstrap,
            consumer_group="bench-quix",
            auto_offset_reset="earliest",
            state_dir=directory,
            loglevel="WARNING",
        )
        submissions, processing = (
            app.topic(name, key_deserializer="str", value_deserializer="bytes") for name in TOPICS
        )
        facts = (
            app.dataframe(submissions)
            .apply(timed)
            .apply(submitted)
            .concat(app.dataframe(processing).apply(timed).apply(processed))
        )
        facts.update(count, stateful=True)
        app.run(count=events)
        return clock.report(done, counted)


if __name__ == "__main__":
    main(run)
