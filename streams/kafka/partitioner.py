"""Which partition a key belongs to: the Java client's default rule, which aiokafka shares.

Clients built on librdkafka hash with CRC32 unless told otherwise; records they misplace are
recognised with this function.
"""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2


@lru_cache(maxsize=1024)
def partition_for(key: bytes, partitions: int) -> int:
    """The partition (0-based) of ``key`` in a topic with ``partitions`` partitions.

    Source: org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey.
    Raises ValueError when there is no partition.
    """
    if partitions < 1:
        raise ValueError(f"a topic has at least one partition, not {partitions}")
    hashed: int = murmur2(key)
    # Java's toPositive: the sign bit is cut off, not negated.
    return (hashed & 0x7FFFFFFF) % partitions
