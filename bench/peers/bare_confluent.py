"""confluent-kafka's ``consume``, pydantic, and dicts: no durability, no catalogue, no ledger."""

from __future__ import annotations

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from bench.counts import ENDED, TOPICS, tally
from bench.peers.decode import validate_processed, validate_submitted
from bench.peers.process import Clock, Report, main


def run(bootstrap: str, events: int) -> Report:
    """Read both topics from the start until ``events`` records are done."""
    submissions, _ = TOPICS
    validate = dict(zip(TOPICS, (validate_submitted, validate_processed), strict=True))
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-bare",  # librdkafka wants one; nothing is committed
            "enable.auto.commit": False,
        }
    )
    channels: dict[tuple[str, str], str | None] = {}
    ended: set[tuple[str, str]] = set()
    services: set[tuple[str, str]] = set()
    clock = Clock()
    try:
        known = consumer.list_topics(timeout=30).topics
        consumer.assign(
            [
                TopicPartition(name, number, OFFSET_BEGINNING)
                for name in TOPICS
                for number in known[name].partitions
            ]
        )
        done = 0
        while done < events:
            records = consumer.consume(4000, timeout=0.2)
            if records:
                clock.start()
            for record in records:
                if record.error() is not None:
                    raise KafkaException(record.error())
                topic = record.topic()
                data = validate[topic](record.value()).data
                key = data.agency, data.dossier
                if topic == submissions:
                    channels[key] = data.channel
                    if data.channel == "online":
                        services.add((data.agency, data.service))
                elif data.status in ENDED:
                    ended.add(key)
            done += len(records)
        report = clock.report(done, {})
    finally:
        consumer.close()
    return report._replace(counted=tally(channels, ended, services))


if __name__ == "__main__":
    main(run)
