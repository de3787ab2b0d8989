"""Keys go where Kafka's Java client puts them."""

import pytest

from streams.kafka.partitioner import partition_for

# org.apache.kafka.common.utils.UtilsTest.testMurmur2
JAVA_HASHES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "java_hash"), JAVA_HASHES.items())
def test_a_key_hashes_as_in_java(key: bytes, java_hash: int) -> None:
    positive = java_hash & 0x7FFFFFFF  # Utils.toPositive
    assert partition_for(key, 2**31) == positive
    assert partition_for(key, 12) == positive % 12


def test_the_only_partition_takes_every_key() -> None:
    assert {partition_for(key, 1) for key in (b"", b"H56", "hồ sơ".encode())} == {0}


def test_no_partitions_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        partition_for(b"H56", 0)
