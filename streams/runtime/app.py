"""One worker's parts, wired together, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.api.server import WebServer
from streams.domain.calendar import ZONE
from streams.domain.definitions import DEFINITIONS
from streams.kafka.batch_writer import BATCH_BYTES, BatchWriter
from streams.kafka.compacted_view import ViewStoppedError
from streams.kafka.log import KafkaLog
from streams.kafka.reconnect import start_when_reachable
from streams.kafka.topic_metadata import TopicQuestion, TopicState
from streams.metrics.catalogue import Instruments
from streams.metrics.exposition import Exposition
from streams.processing.intake import Intake
from streams.processing.reference_repair import ReferenceRepair
from streams.processing.stuck_partitions import StuckPartitions
from streams.processing.tasks import Tasks
from streams.runtime.faust_driver import CHUNK_RECORDS, ChunkSchema, FaustApp
from streams.runtime.heartbeat import Heartbeat
from streams.runtime.topic_gate import watch_topics
from streams.runtime.view import View
from streams.settings import Settings, authority
from streams.state.partition import NOT_SEEN
from streams.views.published_months import Live, PublishedMonths
from streams.views.reference_data import ReferenceData

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]

DRAIN_SECONDS = 5.0
SESSION_SECONDS = 6.0

POLL_SECONDS = 10.0
"""How often the logs are asked what no consumer is told: rows of others, lost records."""


def system_clock() -> datetime:
    """Now, in Asia/Ho_Chi_Minh."""
    return datetime.now(ZONE)


def exit_process(reason: str) -> None:
    """End this process at once, so that nothing more is acknowledged; the next start replays."""
    logger.critical("exiting: %s", reason)
    logging.shutdown()
    os._exit(2)


class Worker:
    """One worker: its parts, and the Faust app that drives them. Not started."""

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        clock: Clock = system_clock,
        fatal: Callable[[str], None] = exit_process,
        begun_with: Mapping[str, TopicState] = MappingProxyType({}),
        changed: Callable[[list[str]], None] | None = None,
        watch: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """``fatal`` is called with what only a restart can settle. ``watch`` runs beside, from
        before the start is complete until the stop.

        ``begun_with``: the topics, as they must go on to be; ``changed`` is called with what is
        wrong when one does not (``fatal``, if it is not given).
        """
        self.settings = settings
        self.clock = clock
        self.fatal = fatal
        self._watch = watch
        self._rows: AIOKafkaProducer | None = None
        self._heartbeat = Heartbeat(SESSION_SECONDS)
        self.reference = ReferenceData(settings)
        self.register = PublishedMonths(settings, self.live, lambda: self.tasks.reached())
        log = KafkaLog(settings.client_options())
        self.tasks = Tasks(
            settings,
            self.writer,
            log,
            self.register,
            self._seek,
            fatal,
            lambda: self._heartbeat.in_touch,
            {name: str(topic.identity) for name, topic in begun_with.items() if topic.identity},
            web_address(settings),
        )
        self._repair = ReferenceRepair(settings, self.reference, self.writer)
        self._instruments = Instruments(registry, settings)
        self._instruments.ready.set_function(lambda: float(self.tasks.ready))
        self.intake = Intake(
            settings,
            self.tasks,
            self.reference,
            self._repair,
            log,
            self._instruments,
            fatal,
        )
        self._topic_question = TopicQuestion(settings.client_options())
        self._begun_with = begun_with
        self._changed = changed or (lambda problems: fatal("; ".join(problems)))
        self._stuck = StuckPartitions(self.tasks, log, self.lag, self._seek, fatal)
        self.faust = self._faust_app()
        self._stream: Any = None

    def _faust_app(self) -> FaustApp:
        app = FaustApp(self, self.settings.app_id, **_faust_settings(self.settings))

        @app.on_partitions_revoked.connect(weak=False)  # type: ignore[untyped-decorator]
        async def _revoked(_: Any, revoked: set[Any], **__: Any) -> None:
            self.tasks.suspend()
            await self.tasks.drain(DRAIN_SECONDS)

        @app.on_partitions_assigned.connect(weak=False)  # type: ignore[untyped-decorator]
        async def _assigned(_: Any, assigned: set[Any], **__: Any) -> None:
            self._heartbeat.attach(app.coordinator())
            self.tasks.assign({tp.partition for tp in assigned if tp.topic in self.intake.topics})

        @app.agent(app.topic(*self.intake.topics, schema=ChunkSchema()), name="intake")  # type: ignore[untyped-decorator]
        async def intake(stream: Any) -> None:
            self._stream = stream
            await self.intake.run(stream.noack().events(), self._seek)

        @app.timer(POLL_SECONDS)  # type: ignore[untyped-decorator]
        async def poll() -> None:
            try:
                await self.tasks.poll()
                await self._stuck.poll()
                await self._repair.make_good([task.number for task in self.tasks.shown()])
            except (KafkaError, TimeoutError) as error:
                logger.warning("the logs cannot be asked: %r", error)

        view = View(
            self.settings,
            self.reference,
            self.register,
            self.tasks,
            self.intake,
            Exposition(self._instruments, DEFINITIONS[self.settings.definition]),
            self.as_of,
            self.lag,
            self.owner_url,
        )
        app.web_server(WebServer(view, scrape=view.scrape))
        return app

    async def start(self) -> None:
        """Have views and producer running before the first partition is assigned."""
        self.faust.add_future(
            watch_topics(
                self._topic_question, self.settings.partitions, self._begun_with, self._changed
            )
        )
        if self._watch is not None:
            self.faust.add_future(self._watch())
        await start_when_reachable(self._start_producer)
        await self.tasks.prepare()
        try:
            await start_when_reachable(self.reference.start)
            await start_when_reachable(self.register.start)
        except ViewStoppedError as stopped:  # the worker was told to end while it starts
            raise asyncio.CancelledError from stopped

    async def _start_producer(self) -> None:
        self._rows = self._new_producer()
        await self._rows.start()

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self.settings.client_options(),
            acks="all",
            max_batch_size=BATCH_BYTES,
            max_request_size=8 * 1024 * 1024,
        )

    async def stop(self) -> None:
        """Let chunks in flight be acknowledged and begin no other, so that the last commit covers
        everything that was processed."""
        self.tasks.suspend()
        await self.tasks.drain(DRAIN_SECONDS)

    async def close(self) -> None:
        """Release what :meth:`start` opened, after the consumer has stopped."""
        self.tasks.close()
        await self.register.stop()
        await self.reference.stop()
        await self._topic_question.close()
        if self._rows is not None:
            await self._rows.stop()

    def writer(self) -> BatchWriter:
        """The batched producer of rows. Raises ``RuntimeError`` before the start."""
        if self._rows is None:
            raise RuntimeError("the worker is not started")
        return BatchWriter(self._rows)

    def live(self) -> dict[str, Live]:
        """The agencies of the running tasks, as their ledgers stand."""
        return {
            agency: Live(ledger.months, task.partition.seen.get(agency, NOT_SEEN))
            for task in self.tasks.shown()
            for agency, ledger in task.partition.ledgers.items()
        }

    def waiting_chunks(self) -> int:
        """How many chunks were fetched and wait to be processed."""
        return self._stream.channel.queue.qsize() if self._stream is not None else 0

    def checkpoints(self) -> Mapping[tuple[str, int], int]:
        """How far the group may be told that each source partition is processed."""
        return self.tasks.checkpoints()

    def positions(self) -> Mapping[tuple[str, int], int]:
        """Where the consumer is to go on."""
        return self.tasks.positions()

    async def _seek(self, at: tuple[str, int], offset: int) -> None:
        await self.faust.consumer.seek(TP(*at), offset)

    def as_of(self) -> int:
        """The as-of day (an ordinal) of ``HOSO_AS_OF``."""
        today = self.clock().astimezone(ZONE).toordinal()
        return self.register.as_of(self.settings.as_of, today)

    def lag(self) -> dict[tuple[str, int], int]:
        """(topic, partition) → records that the broker has and this worker has not processed."""
        lag: dict[tuple[str, int], int] = {}
        consumer = self.faust.consumer
        for tp in consumer.assignment() if consumer is not None else ():
            task = self.tasks.tasks.get(tp.partition)
            cursor = task.cursors.get(tp.topic) if task is not None else None
            high = consumer.highwater(tp)
            if cursor is not None and high is not None:
                lag[tp.topic, tp.partition] = max(0, high - cursor.position)
        return lag

    def owner_url(self, partition: int) -> str | None:
        """The web address of the worker that owns ``partition``, or None while nobody does."""
        for url, topics in self.faust.assignor.external_topics_metadata().items():
            if any(partition in numbers for numbers in topics.values()):
                return str(url)
        return None


def web_address(settings: Settings) -> str:
    """Where other processes ask this one; empty where nobody can know the port beforehand."""
    advertised = settings.web_host
    if advertised in ("0.0.0.0", "::"):
        advertised = socket.gethostname()
    return f"http://{authority(advertised, settings.web_port)}" if settings.web_port else ""


def _faust_settings(settings: Settings) -> dict[str, Any]:
    conf: dict[str, Any] = {
        "broker": [f"aiokafka://{server}" for server in settings.brokers.split(",")],
        "processing_guarantee": "at_least_once",
        "consumer_auto_offset_reset": "earliest",
        # Without tables of its own Faust falls back to a round-robin assignor, which would tear
        # an agency's topics apart; asking for a standby keeps the co-partitioned one.
        "table_standby_replicas": 1,
        "topic_partitions": settings.partitions,
        "topic_replication_factor": settings.replication,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        # Unacknowledged chunks are replayed: never hold up a rebalance to wait for them.
        "stream_wait_empty": False,
        "broker_session_timeout": SESSION_SECONDS,
        "broker_rebalance_timeout": 6,
        "broker_heartbeat_interval": 1,
        "broker_commit_interval": 1.0,
        "broker_max_poll_records": CHUNK_RECORDS,
        "consumer_max_fetch_size": 4 * 1024 * 1024,
        "canonical_url": web_address(settings) or f"http://{socket.gethostname()}",
        "datadir": settings.data_dir,
        "worker_redirect_stdouts": False,
        "autodiscover": False,
    }
    if settings.security_protocol != "PLAINTEXT":
        conf["broker_credentials"] = _credentials(settings)
    return conf


def _credentials(settings: Settings) -> Any:
    from faust.auth import SASLCredentials, SSLCredentials

    context = settings.ssl_context()
    if not settings.security_protocol.startswith("SASL"):
        return SSLCredentials(context)
    return SASLCredentials(
        username=settings.sasl_username,
        password=settings.sasl_password.get_secret_value() if settings.sasl_password else None,
        mechanism=settings.sasl_mechanism,
        ssl_context=context,
    )
