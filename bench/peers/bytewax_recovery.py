"""bytewax with recovery on: a dataflow of keyed, stateful steps, snapshots every ten seconds.

``KafkaSource`` → decode → state of each dossier → figures of each agency → sink, as its user guide
has it, with its default epoch of ten seconds. The clock stops when the run has returned: the last
snapshot is then on disk, and until then a crash would lose it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import bytewax.operators as op
from bytewax._bytewax import cli_main
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir

from bench.counts import TOPICS, UNKNOWN, Counted, Expected, Fact, Gain, State, gain, merge
from bench.peers.decode import processed, submitted
from bench.peers.process import Clock, Report, main

Figures = tuple[int, int, int, frozenset[str]]

DECODE = dict(zip(TOPICS, (submitted, processed), strict=True))


class _Latest(StatelessSinkPartition[tuple[str, Expected]]):
    def __init__(self, counted: Counted) -> None:
        self._counted = counted

    def write_batch(self, items: list[tuple[str, Expected]]) -> None:
        self._counted.update(items)


class Latest(DynamicSink[tuple[str, Expected]]):
    """Keeps the newest figures of each agency."""

    def __init__(self) -> None:
        self.counted: Counted = {}

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Latest:
        """The sink of one worker."""
        return _Latest(self.counted)


def dossier(state: State | None, fact: Fact) -> tuple[State, Iterable[tuple[str, Gain]]]:
    """Merge a fact into a dossier; what its agency gains goes on."""
    before = UNKNOWN if state is None else state
    after = merge(before, fact)
    gained = gain(before, after)
    return after, () if gained is None else ((fact.agency, gained),)


def agency(state: Figures | None, gained: Gain) -> tuple[Figures, Expected]:
    """Add a gain to an agency's figures."""
    dossiers, resolved, online, services = state or (0, 0, 0, frozenset())
    if gained.service is not None and gained.service not in services:
        services |= {gained.service}
    after = (
        dossiers + gained.dossiers,
        resolved + gained.resolved,
        online + gained.resolved_online,
        services,
    )
    return after, Expected(*after[:3], len(services))


def run(bootstrap: str, events: int) -> Report:
    """Run the dataflow to the end of both topics."""
    clock = Clock()
    done = 0

    def decode(
        records: list[KafkaSourceMessage[bytes | None, bytes | None]],
    ) -> list[tuple[str, Fact]]:
        nonlocal done
        clock.start()
        done += len(records)
        facts = [DECODE[record.topic](record.value) for record in records]
        return [(f"{fact.agency}/{fact.dossier}", fact) for fact in facts]

    sink = Latest()
    flow = Dataflow("bench")
    source = KafkaSource([bootstrap], list(TOPICS), tail=False, batch_size=1000)
    records = op.input("kafka", flow, source)
    facts = op.flat_map_batch("decode", records, decode)
    gains = op.stateful_flat_map("dossier", facts, dossier)
    by_agency = op.map("by_agency", gains, lambda item: item[1])
    figures = op.stateful_map("agency", by_agency, agency)
    op.output("latest", figures, sink)
    with tempfile.TemporaryDirectory(prefix="hoso-bench-bytewax-") as directory:
        init_db_dir(Path(directory), 1)
        cli_main(flow, recovery_config=RecoveryConfig(directory))
        return clock.report(done, sink.counted)


if __name__ == "__main__":
    main(run)
