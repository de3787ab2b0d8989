"""One campaign from the first record to the last comparison."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.kafka.offsets import end_offsets
from streams.kafka.topics import catalogue, create_missing
from streams.settings import load
from streams.views.published_months import PublishedMonths
from streams.views.reference_data import ReferenceData
from streams.views.report import report_json
from tests.chaos.brokers import Apache, Brokers, Embedded
from tests.chaos.commits import Commits
from tests.chaos.faults import Faults
from tests.chaos.mischief import Mischief, compact
from tests.chaos.portals import EVENTS, Country
from tests.chaos.schedule import WORKERS, Fault, Profile, plan
from tests.chaos.sending import Sending
from tests.chaos.verdict import (
    ASKS,
    Ask,
    Comparison,
    Expected,
    Letters,
    check_letters,
    expected,
    rows_of,
)
from tests.chaos.watch import Watch, brief
from tests.chaos.workers import Place, Workers

PREFIX = "chaos."
GROUP = "chaos"
Store = Literal["memory", "rocksdb"]

_COMPACTED_LATER = {
    "segment.ms": "5000",
    "min.compaction.lag.ms": "120000",
    "max.compaction.lag.ms": "130000",
    "min.cleanable.dirty.ratio": "0.01",
}
"""Of the reference topics: some worker is up within that time and makes good what was refused."""
_PROGRESS_SECONDS = 10.0
_COMMITTED_SECONDS = 5.0
_SETTLED_LOOKS = 3


@dataclass
class Outcome:
    """What a campaign found."""

    profile: Profile
    brokers: str
    store: str
    seed: int
    faults: dict[str, int]
    planned: list[Fault]
    coordinators_killed: int = 0
    seconds: float = 0.0
    sent: int = 0
    sent_again: int = 0
    recoveries: list[float] = field(default_factory=list)
    killed_before_ready: int = 0
    starts: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    catch_up_seconds: float = 0.0
    restart_seconds: float = 0.0
    uncommitted: int = 0
    """Records processed at the end that the group had not committed: read again at a restart."""
    longest_uncommitted: float = 0.0
    """Seconds that something processed was not committed, of a worker left in peace."""
    commit_looks: int = 0
    rebuilt: int = 0
    """Stores that workers found damaged and set aside."""
    audited: str = ""
    """What ``hoso audit`` said."""
    share_whole: float = 0.0
    scrapes: int = 0
    longest_overlap: float = 0.0
    longest_zombie: float = 0.0
    letters: Letters = field(default_factory=Letters)
    comparison: Comparison = field(default_factory=Comparison)
    violations: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Nothing differs, nothing was wrong on the way, and something was compared."""
        return (
            self.comparison.figures > 0
            and not self.comparison.differences
            and not self.letters.problems
            and not self.violations
        )


class Campaign:
    """Brokers, workers, portals and faults in one directory."""

    def __init__(
        self,
        profile: Profile,
        brokers: Literal["apache", "embedded"],
        store: Store,
        seed: int,
        directory: Path,
        say: Callable[[str], None],
    ) -> None:
        self._profile = profile
        self._kind = brokers
        self._store: Store = store
        self._seed = seed
        self._directory = directory
        self._say = say
        self._country = Country(seed, profile.events, profile.partitions)

    async def run(self) -> Outcome:
        """Raises what keeps it from being run at all; what it finds is in the outcome."""
        brokers: Brokers = (
            Apache(self._directory / "kafka") if self._kind == "apache" else Embedded()
        )
        changelogs = [f"{GROUP}-{table}-changelog" for table in ("dossiers", "services")]
        topics = [
            replace(topic, config={**topic.config, **_COMPACTED_LATER})
            if topic.name in (f"{PREFIX}agencies", f"{PREFIX}targets")
            else topic
            for topic in catalogue(
                PREFIX, self._profile.partitions, brokers.replication, changelogs
            )
        ]
        workers = Workers(self._directory, self._environment(brokers))
        watch = Watch(workers, self._profile.partitions)
        sending = Sending(self._country, brokers.bootstrap, PREFIX)
        mischief = Mischief(brokers.bootstrap, PREFIX, self._profile.partitions, sending.lately)
        faults = Faults(
            workers, brokers, mischief, GROUP, [topic.name for topic in topics], self._say
        )
        commits = Commits(
            brokers.bootstrap,
            PREFIX,
            GROUP,
            self._profile.partitions,
            lambda: {} if faults.under_way["broker"] else watch.owners(),
        )
        schedule = plan(
            self._seed,
            self._profile,
            nodes=len(brokers.ports),
            on_disk=self._store == "rocksdb",
        )
        outcome = Outcome(self._profile, self._kind, self._store, self._seed, {}, schedule)
        self._brokers, self._workers, self._watch = brokers, workers, watch
        watching: list[asyncio.Task[None]] = []
        try:
            await create_missing({"bootstrap_servers": brokers.bootstrap}, topics)
            await workers.start(brokers.ports, WORKERS)
            watching = [asyncio.create_task(each.run()) for each in (watch, commits)]
            await sending.start()
            await mischief.start()
            began = time.monotonic()
            progress = asyncio.create_task(self._progress(sending, faults, began))
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(sending.run(self._profile.seconds))
                    tasks.create_task(faults.run(schedule))
                outcome.seconds = time.monotonic() - began
                self._say(f"faults are over after {outcome.seconds:.0f} s; catching up")
                await self._judge(outcome, sending, mischief)
            finally:
                progress.cancel()
        finally:
            for each in watching:
                each.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            await workers.close()
            await mischief.stop()
            await sending.stop()
            await brokers.stop()
        outcome.faults = dict(faults.done)
        outcome.coordinators_killed = faults.coordinators_killed
        outcome.sent, outcome.sent_again = sending.acknowledged, sending.sent_again
        outcome.recoveries = workers.recoveries
        outcome.killed_before_ready = workers.killed_before_ready
        outcome.starts, outcome.ended = workers.starts, dict(workers.ended)
        outcome.share_whole, outcome.scrapes = watch.share_whole, watch.scrapes
        outcome.longest_overlap = watch.longest_overlap
        outcome.longest_zombie = watch.longest_zombie
        outcome.longest_uncommitted, outcome.commit_looks = commits.longest, commits.looks
        outcome.rebuilt = sum(place.rebuilt for place in workers.places)
        outcome.violations += watch.violations + commits.violations + faults.failed
        return outcome

    def _environment(self, brokers: Brokers) -> dict[str, str]:
        return {
            "HOSO_TOPIC_PREFIX": PREFIX,
            "HOSO_APP_ID": GROUP,
            "HOSO_PARTITIONS": str(self._profile.partitions),
            "HOSO_REPLICATION": str(brokers.replication),
            "HOSO_STORE": self._store,
            "HOSO_AS_OF": "2022-08-25",
        }

    # The end

    async def _judge(self, outcome: Outcome, sending: Sending, mischief: Mischief) -> None:
        workers = self._workers
        workers.leave_by, workers.wanted = "term", WORKERS
        began = time.monotonic()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            work = functools.partial(expected, self._country, dict(sending.taken))
            wanted = asyncio.get_running_loop().run_in_executor(pool, work)
            await self._settled(outcome, "after the faults")
            outcome.catch_up_seconds = time.monotonic() - began
            self._say(f"caught up in {outcome.catch_up_seconds:.0f} s; counting what is true")
            truth = await wanted
        # Compared also where it did not settle: what is short says more than that it is.
        await self._compare(outcome, truth, "")
        await self._all_committed(outcome)
        await self._audit(outcome)
        self._say("reading the event topics and the dead letters")
        outcome.letters = await check_letters(
            self._brokers.bootstrap, PREFIX, self._profile.partitions, mischief.refused
        )
        if outcome.letters.distinct != truth.distinct:
            outcome.violations.append(
                f"the brokers have {outcome.letters.distinct} of {truth.distinct} accepted events"
            )
        if sum(sending.reasons.values()) > outcome.letters.malformed:
            outcome.violations.append("the brokers lack malformed records that were acknowledged")
        if self._kind == "apache":
            self._say("compacting the reference topics")
            await compact(self._brokers.bootstrap, PREFIX, self._profile.partitions)
        self._say("starting again from the logs alone")
        # After all had left the group in order, it at times never answered JoinGroup again.
        by = "kill" if self._kind == "embedded" else "term"
        await workers.stop(by=by, delete_data=True)
        began = time.monotonic()
        workers.wanted = WORKERS
        await self._settled(outcome, "after the restart from the logs alone")
        outcome.restart_seconds = time.monotonic() - began
        await self._compare(outcome, truth, "after a restart, ")

    async def _settled(self, outcome: Outcome, when: str) -> None:
        """Wait until all is taken in and ready; the outcome says if it never is."""
        deadline = time.monotonic() + max(120.0, self._profile.seconds / 2)
        in_a_row = 0
        while in_a_row < _SETTLED_LOOKS:
            if time.monotonic() > deadline:
                outcome.violations.append(
                    f"not caught up {when}: ready {self._watch.owned}, "
                    f"lag {brief(self._watch.lag)}, uncommitted {await self._uncommitted()}"
                )
                return
            await asyncio.sleep(1)
            in_a_row = in_a_row + 1 if self._is_settled() else 0

    def _is_settled(self) -> bool:
        owned = self._watch.owned
        whole = set(range(self._profile.partitions))
        return (
            all(place.ready for place in self._workers.places)
            and sum(map(len, owned.values())) == len(whole)
            and set().union(*owned.values()) == whole
            and not any(self._watch.lag.values())
        )

    async def _all_committed(self, outcome: Outcome) -> None:
        deadline = time.monotonic() + _COMMITTED_SECONDS
        while left := await self._uncommitted():
            if time.monotonic() > deadline:
                outcome.uncommitted = sum(left.values())
                outcome.violations.append(f"processed but not committed at the end: {left}")
                return
            await asyncio.sleep(0.5)

    async def _audit(self, outcome: Outcome) -> None:
        """What hoso says of itself, by yet other code: no difference, and all vouched for."""
        self._say("auditing")
        environment = {**self._environment(self._brokers), "HOSO_BROKERS": self._brokers.bootstrap}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams", "audit", "--format", "json"),
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
        if process.returncode == 0:
            outcome.audited = "no difference"
            return
        outcome.audited = f"exit {process.returncode}"
        said = errors.decode(errors="replace").strip()[-300:]
        if out:
            found = json.loads(out)
            said = f"{found['unvouched'][:3]} {found['differences'][:3]}"
        outcome.violations.append(f"hoso audit: exit {process.returncode}: {said}")

    async def _uncommitted(self) -> dict[str, int]:
        """Records of the event topics that the group has not committed."""
        tps = [
            TopicPartition(PREFIX + topic, number)
            for topic in EVENTS
            for number in range(self._profile.partitions)
        ]
        servers = self._brokers.bootstrap
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        consumer = AIOKafkaConsumer(bootstrap_servers=servers)
        try:
            async with asyncio.timeout(30):
                await admin.start()
                await consumer.start()
                committed = await admin.list_consumer_group_offsets(GROUP, partitions=tps)
                ends = await end_offsets(consumer, tps)
        except (KafkaError, TimeoutError) as error:
            return {repr(error): 1}
        finally:
            await consumer.stop()
            await admin.close()
        behind = {tp: end - max(0, committed[tp].offset) for tp, end in ends.items()}
        return {f"{tp.topic}[{tp.partition}]": left for tp, left in behind.items() if left}

    async def _compare(self, outcome: Outcome, truth: Expected, when: str) -> None:
        for place in self._workers.places:
            where = f"{when}worker {place.number}"
            for ask in ASKS:
                answer = await self._answer(place, ask)
                if answer is None:
                    outcome.comparison.differences.append(f"{where} did not answer {ask}")
                    continue
                outcome.comparison.rows(where, ask, rows_of(answer), truth.figures[ask])
        settings = load(
            brokers=self._brokers.bootstrap,
            topic_prefix=PREFIX,
            app_id=GROUP,
            partitions=self._profile.partitions,
        )
        register, reference = PublishedMonths(settings), ReferenceData(settings)
        await register.start()
        await reference.start()
        try:
            for ask in ASKS:
                found = _published(register, reference, ask)
                outcome.comparison.rows(
                    f"{when}agency-months", ask, rows_of(found), truth.figures[ask]
                )
        finally:
            await reference.stop()
            await register.stop()
        self._say(
            f"{when}{outcome.comparison.figures} figures compared, "
            f"{len(outcome.comparison.differences)} differences"
        )

    async def _answer(self, place: Place, ask: Ask) -> Mapping[str, Any] | None:
        for _ in range(5):
            status, body = await self._watch.get(place, "/api/v1/indicators", **ask._asdict())
            if status == 200:
                answer: Mapping[str, Any] = json.loads(body)
                return answer
            await asyncio.sleep(1)
        return None

    # Meanwhile

    async def _progress(self, sending: Sending, faults: Faults, began: float) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            state = "".join(
                "f" if p.frozen else "R" if p.ready else "r" if p.running else "-"
                for p in self._workers.places
            )
            done = " ".join(f"{kind} {count}" for kind, count in sorted(faults.done.items()))
            self._say(
                f"{time.monotonic() - began:5.0f} s  {sending.acknowledged} acknowledged  "
                f"lag {int(sum(self._watch.lag.values()))}  workers {state}  {done}"
                + (f"  WRONG {len(self._watch.violations)}" if self._watch.violations else "")
            )


def _published(register: PublishedMonths, reference: ReferenceData, ask: Ask) -> dict[str, Any]:
    day = date.fromisoformat(ask.as_of).toordinal()
    return report_json(register, reference, ask.definition, ask.period, day, None)  # type: ignore[arg-type]
