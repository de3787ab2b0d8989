"""Files of events, a record a line, judged as the worker will judge them.

A line is either ``{"topic": …, "key": …, "value": …}`` or a bare CloudEvent, whose topic follows
from its type and whose key from its data. The bytes of a value are kept as they stand in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from schemas.admission import admit
from schemas.decoder import Reason, Rejection, decode
from schemas.events import Event, RegisteredEvent
from schemas.explain import shorten
from schemas.topics import EVENT_TOPICS, REFERENCE_TOPICS, TOPIC_OF_TYPE, Topic
from streams.cli.sending import Message

TOPICS: tuple[Topic, ...] = tuple(
    topic for topic in Topic if topic in EVENT_TOPICS | REFERENCE_TOPICS
)
"""Where records can be sent to."""

BAD_LINE = "bad_line"
"""What is wrong with a line as such, before anything of the contract is looked at."""

_MEMBERS = ("topic", "key", "value")

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder()


class Problem(NamedTuple):
    """Why a line cannot be sent. ``reason`` is one of the contract's, or ``bad_line``."""

    line: int
    reason: str
    detail: str


class _BadLineError(ValueError):
    """The line is no record; the message says what was expected."""


@dataclass
class Judge:
    """Judges lines in their order; knows the agencies that the lines before have registered.

    ``agencies`` (code → allowed sources) is what is registered already, None if that is not known:
    then whether an agency is registered, and who may speak for it, is judged only from the first
    registration in the file on.
    """

    prefix: str
    now_ms: int
    default_topic: Topic | None = None
    agencies: dict[str, frozenset[str]] | None = None
    messages: list[Message] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def read(self, lines: Iterable[bytes]) -> Iterator[int]:
        """Judge every line that is not blank into ``messages`` or ``problems``; gives the number
        of bytes of each line read."""
        for number, raw in enumerate(lines, start=1):
            line = raw.strip()
            if line:
                self._line(number, line)
            yield len(raw)

    def _line(self, number: int, line: bytes) -> None:
        try:
            verdict = self._judge(line)
        except _BadLineError as error:
            self.problems.append(Problem(number, BAD_LINE, str(error)))
            return
        if isinstance(verdict, Rejection):
            self.problems.append(Problem(number, verdict.reason, verdict.detail))
        else:
            self.messages.append(verdict)

    def _judge(self, line: bytes) -> Message | Rejection:
        try:
            members = _members.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._no_object(line, error)
        if "value" in members and "specversion" not in members:
            return self._wrapped(members)
        return self._bare(members, line)

    def _no_object(self, line: bytes, error: Exception) -> Rejection:
        shown = shorten(line.decode("utf-8", "backslashreplace"))
        try:
            _any.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Rejection(Reason.not_json, f"{shown} is not JSON: {error}", None)
        return Rejection(Reason.bad_envelope, f"{shown} is not a JSON object", None)

    def _wrapped(self, members: dict[str, Any]) -> Message | Rejection:
        unknown = [name for name in members if name not in _MEMBERS]
        if unknown:
            raise _BadLineError(
                f"{shorten(unknown[0])}: unknown member, expected {', '.join(_MEMBERS)}"
            )
        value = bytes(members["value"])
        document: bytes | None = value
        if value == b"null":
            document = None
        elif value.startswith(b'"'):
            document = _text(value, "value").encode()
        if "topic" in members:
            topic = self._topic(_text(members["topic"], "topic"))
        elif self.default_topic is not None:
            topic = self.default_topic
        else:
            topic = _topic_of(_type_of(document))
        if "key" not in members:
            return self._admit(topic, None, document, derive=True)
        given = bytes(members["key"])
        key = None if given == b"null" else _text(given, "key").encode()
        return self._admit(topic, key, document)

    def _bare(self, members: dict[str, Any], line: bytes) -> Message | Rejection:
        topic = self.default_topic or _topic_of(members.get("type"))
        return self._admit(topic, None, line, derive=True)

    def _topic(self, name: str) -> Topic:
        for topic in TOPICS:
            if name in (topic.value, self.prefix + topic.value):
                return topic
        raise _BadLineError(f"topic: {shorten(name)} is not one of {', '.join(TOPICS)}")

    def _admit(
        self, topic: Topic, key: bytes | None, value: bytes | None, *, derive: bool = False
    ) -> Message | Rejection:
        if value is None and topic in REFERENCE_TOPICS:
            if not key:
                raise _BadLineError("key: missing, expected the key of the entry to be removed")
            if topic is Topic.agencies and self.agencies is not None:
                self.agencies.pop(key.decode(), None)
            return Message(topic, key, None)
        event = decode(topic, value, (), key)
        if isinstance(event, Rejection):
            return event
        if derive:
            key = event.key.encode()
        rejection = admit(event, key, self.now_ms, self._known(event))
        if rejection is not None:
            return rejection
        assert key is not None  # or it would not have been admitted
        if isinstance(event, RegisteredEvent):
            if self.agencies is None:
                self.agencies = {}
            self.agencies[event.data.agency] = frozenset(event.data.sources)
        return Message(topic, key, value)

    def _known(self, event: Event) -> dict[str, frozenset[str]]:
        if self.agencies is not None:
            return self.agencies
        # Nothing is known of any agency: take this one as registered, open to any source.
        return {event.key: frozenset()}


def _text(raw: Any, name: str) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _BadLineError(
            f"{name}: {bytes(raw)[:40].decode('utf-8', 'replace')} is not a string"
        ) from None


def _type_of(document: bytes | None) -> Any:
    try:
        return _members.decode(document or b"").get("type")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _topic_of(kind: Any) -> Topic:
    """The topic of an event type; for no type of ours any will do to have it named."""
    try:
        name = msgspec.json.decode(kind, type=str) if kind is not None else ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        name = ""
    return TOPIC_OF_TYPE.get(name, Topic.submissions)
