"""The portals' simulator: scenarios as deterministic event timelines.

Standard library only. Must not import `streams.domain` or `schemas`: it is there to
check them. See docs/scenarios.md for what is published and what is chosen.
"""

from __future__ import annotations

from collections.abc import Callable

from streams.simulator.live import Live
from streams.simulator.published import Published
from streams.simulator.scenario import Check, Record, Scenario, agrees, measure, rounded
from streams.simulator.succession import Remembering, Succession

# Each can be made without arguments; `live` takes a clock, a seed and a share of broken records.
SCENARIOS: dict[str, Callable[..., Scenario]] = {"published": Published, "live": Live}

__all__ = [
    "SCENARIOS",
    "Check",
    "Live",
    "Published",
    "Record",
    "Remembering",
    "Scenario",
    "Succession",
    "agrees",
    "measure",
    "rounded",
]
