"""The one way to make a consumer outside the audit: without a group, and for committed records.

Contract, section 1: a record of an aborted or open transaction counts nowhere. aiokafka reads
uncommitted records unless it is told otherwise, so no module may build a consumer itself
(``tests/kafka/test_isolation.py``). The worker's consumer is Faust's: ``runtime/faust_driver.py``.
The audit has an option of its own, so that it does not share a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer

import streams.kafka.aiokafka_internals  # noqa: F401  # how records are unpacked


def plain_consumer(client_options: Mapping[str, Any], **options: Any) -> AIOKafkaConsumer:
    """A consumer that belongs to no group and leaves no trace on the broker; not started.

    ``client_options``: bootstrap_servers and security. ``options``: aiokafka's, e.g. sizes. It
    starts at the beginning of a log unless ``auto_offset_reset`` says otherwise.
    """
    return AIOKafkaConsumer(
        **client_options,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        **{"auto_offset_reset": "earliest", **options},
    )
