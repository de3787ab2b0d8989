"""Faust as its user guide shows it: an agent, ``async for event``, and two tables.

Tables are in memory with their changelog topics, the default. Nothing of hoso's own transport is
used; the only settings are those that the embedded broker needs to let a worker join quickly.
"""

from __future__ import annotations

import tempfile
from typing import Any

import faust

from bench.counts import TOPICS, UNKNOWN, Expected, gain, merge
from bench.peers.decode import processed, submitted
from bench.peers.process import Clock, Report, emit_and_exit, main

PARTITIONS = 12


def run(bootstrap: str, events: int) -> Report | None:
    """Run a worker until ``events`` records are done, then end the process."""
    app = faust.App(
        "bench-faust",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="hoso-bench-faust-"),
        topic_partitions=PARTITIONS,
        topic_replication_factor=1,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=6,
        broker_rebalance_timeout=6,
        broker_heartbeat_interval=1,
        web_enabled=False,
    )
    decode = dict(zip(TOPICS, (submitted, processed), strict=True))
    source = app.topic(*TOPICS, key_serializer="raw", value_serializer="raw")
    dossiers: Any = app.Table("dossiers", partitions=PARTITIONS)
    agencies: Any = app.Table("agencies", partitions=PARTITIONS)
    clock = Clock()

    async def count(stream: Any) -> None:
        done = 0
        async for event in stream.events():
            clock.start()
            fact = decode[event.message.topic](event.value)
            key = f"{fact.agency}/{fact.dossier}"
            before = tuple(dossiers.get(key) or UNKNOWN)
            after = merge(before, fact)
            dossiers[key] = after
            gained = gain(before, after)
            if gained is not None:
                figures, services = agencies.get(fact.agency) or ([0, 0, 0], [])
                figures = [old + new for old, new in zip(figures, gained[:3], strict=True)]
                if gained.service is not None and gained.service not in services:
                    services = [*services, gained.service]
                agencies[fact.agency] = (figures, services)
            done += 1
            if done == events:
                report = clock.report(done, {})
                counted = {
                    agency: Expected(*(*figures, len(services)))
                    for agency, (figures, services) in agencies.items()
                }
                emit_and_exit(report._replace(counted=counted))

    app.agent(source)(count)
    faust.Worker(app, loglevel="info").execute_from_commandline()
    return None


if __name__ == "__main__":
    main(run)
