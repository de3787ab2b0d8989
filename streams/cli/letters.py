"""Dead letters: read, picked, and judged again as a worker would judge them now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.admission import admit
from schemas.decoder import Rejection, decode
from schemas.instants import record_time
from schemas.topics import EVENT_TOPICS, Topic
from streams.cli.running import require_topics
from streams.cli.terminal import progress
from streams.domain.calendar import ZONE
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.kafka.batch_writer import Outgoing


class Letter(NamedTuple):
    """A record of the dead-letters topic, and where the rejected record stood."""

    partition: int
    offset: int
    at: datetime | None
    """When it was rejected, by the broker's clock; None where the record has no time."""
    key: bytes | None
    value: bytes | None
    """As it was sent, unchanged; only the beginning if ``cut`` says so."""
    headers: tuple[tuple[str, bytes | None], ...]
    """Of the rejected record."""
    reason: str
    detail: str
    topic: str
    """Without the prefix where it has the configured one."""
    place: str
    """Topic, partition and offset of the rejected record."""
    agency: str | None
    """``data.agency`` where it can be read, else the key."""
    cut: tuple[tuple[str, str], ...] = ()
    """What was too large to be kept whole: (value, key or headers, what ``hoso-cut…`` says)."""

    @property
    def name(self) -> str:
        """``PARTITION:OFFSET``, as ``show`` takes it."""
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True)
class Filters:
    """Which letters are meant; what is empty or None lets all pass."""

    reasons: frozenset[str] = frozenset()
    agencies: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    """The newest so many."""

    def pick(self, letters: Iterable[Letter]) -> list[Letter]:
        """The letters meant, oldest first."""
        meant = sorted(filter(self._means, letters), key=_order)
        return meant if self.limit is None else meant[max(0, len(meant) - self.limit) :]

    def _means(self, letter: Letter) -> bool:
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.agencies or letter.agency in self.agencies)
            and (not self.topics or letter.topic in self.topics)
            and (self.since is None or (letter.at is not None and letter.at >= self.since))
            and (self.until is None or (letter.at is not None and letter.at < self.until))
        )


def _order(letter: Letter) -> tuple[float, int, int]:
    return (letter.at.timestamp() if letter.at else 0.0), letter.partition, letter.offset


@dataclass
class Judged:
    """Letters sorted into what may be sent and what not."""

    good: dict[Topic, list[Outgoing]] = field(default_factory=dict)
    places: set[str] = field(default_factory=set)
    repeated: int = 0
    """Letters about a record that another letter is about: a worker may judge a record twice."""
    bad: list[tuple[Letter, str, str]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many may be sent."""
        return sum(map(len, self.good.values()))


def judge_again(
    letters: Iterable[Letter], agencies: Mapping[str, frozenset[str]], now_ms: int, *, rekey: bool
) -> Judged:
    """Judge each letter as a worker would that found its record on the topic now."""
    from streams.kafka.batch_writer import Outgoing

    judged = Judged()
    for letter in letters:
        if letter.place in judged.places:
            judged.repeated += 1
            continue
        judged.places.add(letter.place)
        try:
            topic = Topic(letter.topic)
        except ValueError:
            judged.bad.append((letter, "unknown_topic", f"{letter.topic} is no topic of ours"))
            continue
        if topic not in EVENT_TOPICS:
            judged.bad.append((letter, "reference", "use hoso publish: the last one stands there"))
            continue
        if letter.cut:
            what = ", ".join(f"{part}: {size}" for part, size in letter.cut)
            detail = f"only its beginning was kept, its sender has the whole ({what})"
            judged.bad.append((letter, "cut", detail))
            continue
        event = decode(topic, letter.value, letter.headers, letter.key)
        key = letter.key
        if not isinstance(event, Rejection):
            if rekey:
                key = event.key.encode()
            verdict = admit(event, key, now_ms, agencies)
        else:
            verdict = event
        if verdict is not None:
            judged.bad.append((letter, verdict.reason.value, verdict.detail))
        else:
            judged.good.setdefault(topic, []).append(Outgoing(key, letter.value, letter.headers))
    return judged


async def read_letters(settings: Settings, only: tuple[int, int] | None = None) -> list[Letter]:
    """The dead letters as of now, or only the one at (partition, offset) if it is there."""
    from aiokafka import TopicPartition

    from streams.audit.logs import Log

    name = settings.topic(Topic.dead_letters)
    await require_topics(settings, name)
    log = Log(settings.client_options(), [name], settings.partitions)
    letters: list[Letter] = []
    try:
        await log.start()
        ends = await log.ends()
        if only is not None:
            tp, offset = TopicPartition(name, only[0]), only[1]
            ends = {tp: min(ends[tp], offset + 1)}
            log.position[tp] = offset
            log.consumer.seek(tp, offset)
        with progress() as bar:
            task = bar.add_task("reading", total=sum(ends.values()))
            async for records in log.read(ends):
                letters += [_letter(record, settings.topic_prefix) for record in records]
                bar.advance(task, len(records))
    finally:
        await log.stop()
    return letters


def _letter(record: Any, prefix: str) -> Letter:
    from streams.processing.dead_letter import CUT, CUT_HEADERS, CUT_KEY

    said: dict[str, str] = {}
    headers: list[tuple[str, bytes | None]] = []
    for name, raw in record.headers:
        if name.startswith("hoso-"):
            said[name] = (raw or b"").decode("utf-8", "backslashreplace")
        else:
            headers.append((name, raw))
    full = said.get("hoso-topic", "?")
    time = record_time(record.timestamp)
    topic = full.removeprefix(prefix)
    return Letter(
        record.partition,
        record.offset,
        None if time is None else datetime.fromtimestamp(time / 1000, ZONE),
        record.key,
        record.value,
        tuple(headers),
        said.get("hoso-reason", "?"),
        said.get("hoso-detail", ""),
        topic,
        f"{full}[{said.get('hoso-partition', '?')}]@{said.get('hoso-offset', '?')}",
        _agency(topic, record.key, record.value, headers),
        tuple(
            (part, said[name])
            for name, part in ((CUT, "value"), (CUT_KEY, "key"), (CUT_HEADERS, "headers"))
            if name in said
        ),
    )


def _agency(
    topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> str | None:
    try:
        event = decode(Topic(topic), value, headers)
    except ValueError:
        event = None
    found = (
        event.agency
        if isinstance(event, Rejection)
        else getattr(getattr(event, "data", None), "agency", None)
    )
    return found or (None if key is None else readable(key))


def readable(raw: bytes) -> str:
    """UTF-8 text on one line, whatever the bytes."""
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
