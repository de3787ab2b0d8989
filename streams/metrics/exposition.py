"""The text of ``GET /metrics``: state from the register, counters from this process.

Written by hand for the state, far faster than by prometheus_client, which would hold up the event
loop for a tenth of a second when there are 91 agencies; a test holds one against the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache

from prometheus_client import exposition
from prometheus_client.utils import floatToGoString

from streams.domain.definitions import Definition
from streams.domain.targets import Targets
from streams.metrics import catalogue as metrics
from streams.metrics.collector import AgencyState, Part, state_parts


class Exposition:
    """Writes what there is to show now. Text whose numbers have not changed is not made again."""

    def __init__(self, instruments: metrics.Instruments, definition: Definition) -> None:
        self._instruments = instruments
        self._definition = definition
        self._text: dict[Part, list[tuple[metrics.Metric, str]]] = {}
        """The text of what was shown last."""

    def scrape(
        self,
        states: Iterable[AgencyState],
        targets: Targets,
        day: int,
        lag: Mapping[tuple[str, int], int],
        unaccounted: Mapping[tuple[str, int], int],
        behind: int | None,
        accept: str,
    ) -> tuple[bytes, str]:
        """Prometheus or OpenMetrics text, as ``accept`` has it, and its content type.

        ``lag`` and ``unaccounted``: records by (topic, partition). ``behind``: how many records
        the figures of the whole country lack, None if that cannot be told.
        """
        self._instruments.observe(lag, unaccounted, behind)
        encode, content_type = exposition.choose_encoder(accept)
        # The state first: OpenMetrics ends with a mark that the encoder of the instruments sets.
        state = self.state(states, targets, day).encode()
        return state + encode(self._instruments.registry), content_type

    def rejected(self, agency: str) -> tuple[datetime, dict[str, int]]:
        """Since when, and how many of an agency's records this process rejected, by reason."""
        return self._instruments.began, self._instruments.rejected_of(agency)

    def state(self, states: Iterable[AgencyState], targets: Targets, day: int) -> str:
        """The state metrics, the same text in both formats."""
        shown: dict[metrics.Metric, list[str]] = {metric: [] for metric in metrics.STATE}
        known, self._text = self._text, {}
        for part in state_parts(states, targets, self._definition, day):
            text = known.get(part)
            if text is None:
                text = _text(part)
            self._text[part] = text
            for metric, lines in text:
                shown[metric].append(lines)
        return "".join(head(metric) + "".join(lines) for metric, lines in shown.items())


def head(metric: metrics.Metric) -> str:
    """The lines before a gauge's samples."""
    return f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} gauge\n"


@lru_cache(maxsize=32_768)
def series(metric: metrics.Metric, labels: tuple[str, ...]) -> str:
    """The name and the labels of a series."""
    if not labels:
        return metric.name
    pairs = zip(metric.labels, map(_escaped, labels), strict=True)
    return metric.name + "{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}"


@lru_cache(maxsize=4096)
def number(value: float) -> str:
    """A sample's value."""
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _text(part: Part) -> list[tuple[metrics.Metric, str]]:
    """The lines of each metric of ``part``."""
    lines: dict[metrics.Metric, str] = {}
    for metric, labels, value in part.samples():
        line = f"{series(metric, labels)} {number(value)}\n"
        lines[metric] = lines[metric] + line if metric in lines else line
    return list(lines.items())


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
