"""What repeats itself in the log is counted, not written again; what is new is always written."""

from __future__ import annotations

import logging

from streams.cli.logs import Repeats


class Log:
    """A log with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self._repeats = Repeats(lambda: self.now)

    def write(self, name: str, message: str, *values: object, level: int = logging.ERROR) -> None:
        record = logging.LogRecord(name, level, __file__, 1, message, values, None)
        if self._repeats.filter(record):
            self.lines.append(record.getMessage())


def test_an_outage_of_twenty_minutes_takes_a_few_lines_of_each_kind() -> None:
    log = Log()
    for tenth in range(12_000):
        log.now = tenth / 10
        log.write("aiokafka", "Unable connect to node with id %s: %s", tenth % 3, "refused")
        log.write("aiokafka", "Unable to update metadata from %s", [0, 1, 2])
        log.write("streams.kafka.compacted_view", "view of %s: %r, trying again", "x", "away")
    assert sum("Unable connect" in line for line in log.lines) == 6
    assert sum("Unable to update" in line for line in log.lines) == 2
    assert sum("trying again" in line for line in log.lines) == 20
    again = [line for line in log.lines if "more of this before" in line]
    assert again[-1].endswith("trying again (599 more of this before)")


def test_numbers_that_change_make_no_new_message() -> None:
    log = Log()
    for number in range(100):
        log.write(
            "aiokafka.conn", f"closed after {number}.5 s at 0x{number:x} port {40_000 + number}"
        )
    assert len(log.lines) == 1


def test_another_reason_of_the_same_message_is_shown() -> None:
    log = Log()
    for reason in ("refused", "no route to host", "certificate has expired"):
        log.write("aiokafka", "Unable connect to node with id %s: %s", 1, reason)
    assert len(log.lines) == 3


def test_every_different_message_of_ours_is_shown_and_all_information_and_what_is_critical() -> (
    None
):
    log = Log()
    for number in range(100):
        log.write("streams.processing.intake", "chunk at %d cannot be written", 1000 + number)
        log.write("streams.runtime.app", "ready", level=logging.INFO)
        log.write("streams.runtime.app", "exiting", level=logging.CRITICAL)
    assert len(log.lines) == 300


def test_kinds_that_are_over_are_forgotten() -> None:
    log = Log()
    for number in range(10_000):
        log.now += 1.0
        log.write("streams.state", "row %d", number, level=logging.WARNING)
    assert len(log._repeats._kinds) <= 1000
