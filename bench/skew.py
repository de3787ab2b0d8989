"""``python -m bench.skew``: how far more workers help when agencies are not of one size.

Arithmetic, no broker: agencies are put on partitions by the rule that Kafka's clients use, and
partitions on workers in turn, as evenly as their number allows. A country is as fast as its
busiest worker, so the speed-up is 1 / (the greatest share of all events that one worker has).
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping

import click
from rich.console import Console
from rich.table import Table

from bench.workload import SERVICES, agencies
from streams.kafka.partitioner import partition_for

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
WORKERS = (2, 4, 8, 16, 32)
PARTITIONS = 96


def country(biggest: float) -> dict[str, float]:
    """Agency → share of the events: the biggest as given, the others by Zipf's law below it."""
    codes = [code for code, _, _ in agencies()]
    others = [1 / (rank + 1) for rank in range(1, len(codes))]
    left = 1 - biggest
    shares = [left * weight / sum(others) for weight in others]
    excess = sum(max(0.0, share - biggest) for share in shares)
    capped = [min(share, biggest) for share in shares]
    room = sum(biggest - share for share in capped)
    filled = [share + excess * (biggest - share) / room if room else share for share in capped]
    return dict(zip(codes, [biggest, *filled], strict=True))


def by_service(shares: Mapping[str, float]) -> dict[str, float]:
    """The same events by agency/service: each agency's services by Zipf's law."""
    weights = [1 / (rank + 1) for rank in range(SERVICES)]
    return {
        f"{code}/1.{number:06d}": share * weight / sum(weights)
        for code, share in shares.items()
        for number, weight in enumerate(weights)
    }


def speed_up(shares: Mapping[str, float], partitions: int, workers: int) -> float:
    """Of ``workers`` over one, when events are keyed by the keys of ``shares``."""
    on_partition: defaultdict[int, float] = defaultdict(float)
    for key, share in shares.items():
        on_partition[partition_for(key.encode(), partitions)] += share
    return 1 / max(_loads(on_partition, partitions, workers))


def _loads(on_partition: Mapping[int, float], partitions: int, workers: int) -> Iterable[float]:
    for worker in range(workers):
        yield sum(on_partition.get(number, 0.0) for number in range(worker, partitions, workers))


@click.command()
@click.option("--partitions", default=PARTITIONS, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="print one JSON object on stdout")
def main(partitions: int, as_json: bool) -> None:
    """Print the speed-up by the biggest agency's share and the number of workers."""
    found = {
        key: {
            share: [speed_up(keyed(country(share)), partitions, count) for count in WORKERS]
            for share in SHARES
        }
        for key, keyed in (("agency", dict), ("agency/service", by_service))
    }
    if as_json:
        json.dump({"workers": WORKERS, "partitions": partitions, "speed_up": found}, sys.stdout)
        print()
        return
    for key, rows in found.items():
        table = Table("biggest agency", *(f"{count} workers" for count in WORKERS))
        table.title = f"speed-up, keyed by {key}, {partitions} partitions"
        for share, values in rows.items():
            table.add_row(f"{share:.0%}", *(f"{value:.1f}" for value in values))
        Console().print(table)


if __name__ == "__main__":
    main()
