"""The Faust application: one worker's parts, wired together, and nothing else."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

import faust
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from faust.types import TP
from prometheus_client import CollectorRegistry

from schemas.topics import EVENT_TOPICS
from streams.api.server import WebServer
from streams.domain.calendar import ZONE
from streams.domain.definitions import DEFINITIONS
from streams.kafka.batch_writer import BATCH_BYTES, BatchWriter
from streams.kafka.topic_metadata import TopicQuestion, TopicState
from streams.metrics.catalogue import Instruments
from streams.metrics.exposition import Exposition
from streams.processing.intake import Intake
from streams.processing.lost_records import LostRecords, log_start
from streams.processing.reference_repair import ReferenceRepair
from streams.processing.stuck_partitions import Standstill
from streams.processing.tasks import Tables
from streams.processing.topic_watch import TopicWatch
from streams.runtime.faust_driver import (
    ChunkScheduler,
    ChunkSchema,
    Transport,
)
from streams.runtime.heartbeat import Heartbeat
from streams.runtime.view import View
from streams.settings import Settings, authority
from streams.views.published_months import Register
from streams.views.reference_data import Reference

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]

DRAIN_SECONDS = 5.0
SESSION_SECONDS = 6.0

WATCH_SECONDS = 10.0
"""How often the logs of quiet partitions are looked at for rows of others."""


def system_clock() -> datetime:
    """Now, in Asia/Ho_Chi_Minh."""
    return datetime.now(ZONE)


def exit_process(reason: str) -> None:
    """End this process at once, so that nothing more is acknowledged; the next start replays."""
    logger.critical("exiting: %s", reason)
    logging.shutdown()
    os._exit(2)


class HosoApp(faust.App):  # type: ignore[misc]  # Faust ships no types
    """A Faust app with the parts of a hoso worker. Made by :func:`create_app`."""

    settings: Settings
    reference: Reference
    register: Register
    tables_: Tables
    intake: Intake
    clock: Clock
    started_at: float
    topic_watch: TopicWatch
    topic_question: TopicQuestion
    fatal: Callable[[str], None]
    """Called with what only a restart can settle."""
    watch: Callable[[], Coroutine[Any, Any, None]] | None = None
    """What runs beside, from before the start is complete until the stop."""
    _rows: AIOKafkaProducer | None = None

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    async def on_start(self) -> None:
        """Have views and producer running before the first partition is assigned."""
        await super().on_start()
        self.add_future(self.topic_watch.run())
        if self.watch is not None:
            self.add_future(self.watch())
        self._rows = AIOKafkaProducer(
            **self.settings.client_options(),
            acks="all",
            max_batch_size=BATCH_BYTES,
            max_request_size=8 * 1024 * 1024,
        )
        await self._rows.start()
        await self.tables_.prepare()
        await self.reference.start()
        await self.register.start()

    async def on_stop(self) -> None:
        """Let chunks in flight be acknowledged, so that the last commit covers them."""
        await self.tables_.drain(DRAIN_SECONDS)
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Release what :meth:`on_start` opened, after the consumer has stopped."""
        await super().on_shutdown()
        self.tables_.close()
        await self.register.stop()
        await self.reference.stop()
        await self.topic_question.close()
        if self._rows is not None:
            await self._rows.stop()

    def writer(self) -> BatchWriter:
        """The batched producer of rows. Raises ``RuntimeError`` before the start."""
        if self._rows is None:
            raise RuntimeError("the app is not started")
        return BatchWriter(self._rows)

    def waiting_chunks(self) -> int:
        """How many chunks were fetched and wait to be taken in."""
        return self.intake.waiting_chunks()

    def committable(self, tp: TP, offset: int) -> int | None:
        """How far the group may be told that ``tp`` is taken in; Faust would say ``offset``."""
        return self.tables_.committable(tp.topic, tp.partition, offset)

    def as_of(self) -> int:
        """The as-of day (an ordinal) of ``HOSO_AS_OF``."""
        setting = self.settings.as_of
        if isinstance(setting, date):
            return setting.toordinal()
        if setting == "latest":
            latest = self.register.latest_day()
            if latest is not None:
                return latest
        return self.clock().astimezone(ZONE).toordinal()

    def lag(self) -> dict[tuple[str, int], int]:
        """(topic, partition) → records that the broker has and this worker has not taken in.

        A reference topic has no entry until this worker was handed a chunk of it: how far it was
        taken in before is with the consumer group, and 0 would be a lag that never goes away.
        """
        lag: dict[tuple[str, int], int] = {}
        from_the_start = {self.settings.topic(topic): 0 for topic in EVENT_TOPICS}
        for tp in self.consumer.assignment() if self.consumer is not None else ():
            owned = self.tables_.owned.get(tp.partition)
            high = self.consumer.highwater(tp)
            if owned is None or high is None:
                continue
            taken_in = owned.next.get(tp.topic, from_the_start.get(tp.topic))
            if taken_in is not None:
                lag[tp.topic, tp.partition] = max(0, high - taken_in)
        return lag

    def owner_url(self, partition: int) -> str | None:
        """The web address of the worker that owns ``partition``, or None while nobody does."""
        for url, topics in self.assignor.external_topics_metadata().items():
            if any(partition in numbers for numbers in topics.values()):
                return str(url)
        return None


def create_app(
    settings: Settings,
    registry: CollectorRegistry,
    clock: Clock = system_clock,
    fatal: Callable[[str], None] = exit_process,
    begun_with: Mapping[str, TopicState] = MappingProxyType({}),
    changed: Callable[[list[str]], None] | None = None,
) -> HosoApp:
    """A worker, not started. ``fatal`` is called with what only a restart can settle.

    ``begun_with``: the topics, as they must go on to be; ``changed`` is called with what is wrong
    when one does not (``fatal``, if it is not given).
    """
    security: dict[str, Any] = {}
    if settings.security_protocol != "PLAINTEXT":
        security["broker_credentials"] = _credentials(settings)
    advertised = settings.web_host
    if advertised in ("0.0.0.0", "::"):
        advertised = socket.gethostname()
    app = HosoApp(
        settings.app_id,
        broker=[f"aiokafka://{server}" for server in settings.brokers.split(",")],
        ConsumerScheduler=ChunkScheduler,
        processing_guarantee="at_least_once",
        consumer_auto_offset_reset="earliest",
        # Without tables of its own Faust falls back to a round-robin assignor, which would tear
        # an agency's topics apart; asking for a standby keeps the co-partitioned one.
        table_standby_replicas=1,
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication,
        topic_allow_declare=False,
        topic_disable_leader=True,
        # Unacknowledged chunks are replayed: never hold up a rebalance to wait for them.
        stream_wait_empty=False,
        broker_session_timeout=SESSION_SECONDS,
        broker_rebalance_timeout=6,
        broker_heartbeat_interval=1,
        broker_commit_interval=1.0,
        broker_max_poll_records=4000,
        consumer_max_fetch_size=4 * 1024 * 1024,
        canonical_url=f"http://{authority(advertised, settings.web_port)}",
        datadir=settings.data_dir,
        worker_redirect_stdouts=False,
        autodiscover=False,
        **security,
    )
    app.settings = settings
    app.clock = clock
    app.fatal = fatal
    app.started_at = time.monotonic()
    app.reference = Reference(settings)
    instruments = Instruments.of_worker(registry, settings)
    app.tables_ = Tables(settings, app.writer, fatal)
    app.tables_.sources = {
        name: str(topic.identity) for name, topic in begun_with.items() if topic.identity
    }
    heartbeat = Heartbeat(SESSION_SECONDS)
    app.tables_.in_touch = lambda: heartbeat.in_touch
    app.topic_question = TopicQuestion(settings.client_options())
    if changed is None:
        changed = lambda problems: fatal("; ".join(problems))  # noqa: E731
    app.topic_watch = TopicWatch(app.topic_question, settings.partitions, begun_with, changed)
    app.register = Register(settings, app.tables_.live, app.tables_.reached)
    repair = ReferenceRepair(settings, app.reference, app.writer)
    lost = LostRecords(log_start(settings.client_options()), instruments.count_lost)
    app.intake = Intake(
        settings,
        app.tables_,
        app.reference,
        repair,
        instruments,
        fatal,
        lost,
    )
    instruments.ready.set_function(lambda: float(app.tables_.ready))

    async def seek(at: tuple[str, int], offset: int) -> None:
        await app.consumer.seek(TP(*at), offset)

    standstill = Standstill(settings.client_options(), app.tables_, app.lag, seek, fatal, lost=lost)

    @app.on_partitions_revoked.connect(weak=False)  # type: ignore[untyped-decorator]
    async def _revoked(_: Any, revoked: set[Any], **__: Any) -> None:
        app.tables_.suspend()
        await app.tables_.drain(DRAIN_SECONDS)

    @app.on_partitions_assigned.connect(weak=False)  # type: ignore[untyped-decorator]
    async def _assigned(_: Any, assigned: set[Any], **__: Any) -> None:
        heartbeat.attach(app.consumer._thread._consumer._coordinator)
        app.tables_.assign({tp.partition for tp in assigned if tp.topic in app.intake.topics})

    @app.agent(app.topic(*app.intake.topics, schema=ChunkSchema()), name="intake")  # type: ignore[untyped-decorator]
    async def intake(stream: Any) -> None:
        app.intake.waiting_chunks = stream.channel.queue.qsize
        await app.intake.run(stream.noack().events(), app.consumer.seek)

    @app.timer(WATCH_SECONDS)  # type: ignore[untyped-decorator]
    async def watch() -> None:
        try:
            await app.tables_.watch()
            await standstill.look()
            owned = app.tables_.owned.values()
            await repair.make_good([o.number for o in owned if app.tables_.publishes(o)])
        except (KafkaError, TimeoutError) as error:
            logger.warning("the ends of the logs cannot be read: %r", error)

    view = View(
        settings,
        app.reference,
        app.register,
        app.tables_,
        app.intake,
        Exposition(instruments, DEFINITIONS[settings.definition]),
        app.as_of,
        app.lag,
        app.owner_url,
    )
    app.web_server(WebServer(view))
    return app


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
