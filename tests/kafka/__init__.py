"""Tests of streams.kafka, on the embedded broker and on Apache Kafka."""
