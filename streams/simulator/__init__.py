"""The portals' simulator: scenarios as deterministic event timelines.

Standard library and orjson only. Must not import `streams.domain` or `schemas`: it is there to
check them. See docs/scenarios.md for what is published and what is chosen.
"""

from __future__ import annotations

from collections.abc import Callable

from streams.simulator.published import Published
from streams.simulator.scenario import Check, Record, Scenario, agrees, measure, rounded

SCENARIOS: dict[str, Callable[[], Scenario]] = {"published": Published}

__all__ = ["SCENARIOS", "Check", "Record", "Scenario", "agrees", "measure", "rounded"]
