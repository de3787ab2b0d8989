"""The portals' way to the brokers: every record is sent again until it is acknowledged."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from itertools import islice

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.kafka.partitioner import partition_for
from tests.chaos.portals import BAD_HEADER, EVENTS, Country, Planned, reference

_TICK_SECONDS = 0.1
_UNDER_WAY = 5000


class Sending:
    """Sends the country's records at a steady rate."""

    def __init__(self, country: Country, bootstrap: str, prefix: str) -> None:
        self._country = country
        self._prefix = prefix
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            linger_ms=20,
            request_timeout_ms=10_000,
            max_request_size=1 << 20,
        )
        self._under_way: set[asyncio.Task[None]] = set()
        self.taken: Counter[str] = Counter()
        self.sent = 0
        self.acknowledged = 0
        self.sent_again = 0
        self.reasons: Counter[str] = Counter()
        self.lately: deque[Planned] = deque(maxlen=50)
        """Good events that the brokers have acknowledged."""

    async def start(self) -> None:
        """Connect, and make agencies and targets known."""
        await self._producer.start()
        for event in reference():
            planned = _reference_record(event, self._country.partitions)
            await self._deliver(planned)
        self.acknowledged = 0

    async def stop(self) -> None:
        await self._producer.stop()

    async def run(self, seconds: float) -> None:
        """Everything, spread over so many seconds; returns when all is acknowledged."""
        records = self._country.records(self.taken)
        total = self._country.total
        began = time.monotonic()
        while self.sent < total:
            elapsed = time.monotonic() - began
            due = min(total, int(total * elapsed / seconds) + 1)
            room = max(0, _UNDER_WAY - len(self._under_way))
            for planned in islice(records, min(due - self.sent, room)):
                self.sent += 1
                if planned.reason is not None:
                    self.reasons[planned.reason] += 1
                task = asyncio.create_task(self._deliver(planned))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            await asyncio.sleep(_TICK_SECONDS)
        while self._under_way:
            await asyncio.gather(*self._under_way)

    async def _deliver(self, planned: Planned) -> None:
        headers = [] if planned.reason is None else [(BAD_HEADER, planned.reason.encode())]
        while True:
            try:
                await self._producer.send_and_wait(
                    self._prefix + planned.topic,
                    planned.value,
                    planned.key,
                    partition=planned.partition,
                    headers=headers,
                )
            except KafkaError:
                self.sent_again += 1
                await asyncio.sleep(0.3)
            else:
                self.acknowledged += 1
                if planned.topic in EVENTS and planned.event is not None:
                    self.lately.append(planned)
                return


def _reference_record(event: dict[str, object], partitions: int) -> Planned:
    key = str(event["key"]).encode()
    value = json.dumps(event["value"]).encode()
    return Planned(str(event["topic"]), key, value, partition_for(key, partitions), None, None)
