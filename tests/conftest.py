"""How hard Hypothesis tries: ``default`` explores, ``ci`` is the same every time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Wall time says nothing on a machine that does other work as well.
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("default", _UNHURRIED, max_examples=60, stateful_step_count=40)
settings.register_profile(
    "ci",
    _UNHURRIED,
    max_examples=100,
    stateful_step_count=50,
    derandomize=True,
    print_blob=True,
)
settings.load_profile("ci" if os.environ.get("CI") else "default")
