"""What pytest loads at its start: hardly anything, as long as no test is marked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from governor.api import Governor

INSIDE = "governor-inside"
"""The name of the plugin that is there while the one test of a job runs."""


def pytest_configure(config: pytest.Config) -> None:
    """Explain the marker, which --strict-markers and --markers want."""
    config.addinivalue_line(
        "markers",
        "governor(tasks=, files=, cpus=, timeout=): "
        "run the test, with its fixtures, in a process of its own under these limits",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a marked test in a job; others are left to whoever runs them."""
    if item.get_closest_marker("governor") is None:
        return None
    if item.config.pluginmanager.has_plugin(INSIDE):
        return None
    from governor.testing.isolated import run

    run(item, nextitem)
    return True


@pytest.fixture(scope="session")
def governor() -> Iterator[Governor]:
    """A governor for the tests of this session, started with the first one that asks for it."""
    from governor.api import Governor

    with Governor() as governor:
        yield governor
