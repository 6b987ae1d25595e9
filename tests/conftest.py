"""How hard Hypothesis tries: ``default`` explores, ``ci`` is the same every time.

And whoever runs the tests in the background of a shell that ignores SIGINT there gets it back,
since programs that are started would ignore it, too.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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

_RUN_ONCE = [Path(__file__).parent / name for name in ("unit", "faults")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What tools/test runs once anyway, as root, would not be run at all if it were marked so."""
    for item in items:
        if item.get_closest_marker("once") and any(p in item.path.parents for p in _RUN_ONCE):
            raise pytest.UsageError(f"{item.nodeid} is run once already: take the mark away")
