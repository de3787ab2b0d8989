"""Profiles of the random tests; a failure prints the lines that reproduce it.

``HYPOTHESIS_PROFILE=thorough`` looks at fifty times as many worlds; ``--hypothesis-seed=N``
repeats a whole run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci",
    derandomize=False,
    print_blob=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
