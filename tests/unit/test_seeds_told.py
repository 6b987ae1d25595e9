"""A callback that cannot refuse: its failure is said, and is nobody else's."""

from __future__ import annotations

import pytest

from governor.core.forest import Forest
from governor.supervisor.told import tell
from tests.unit.toys import Mood, loader


def test_a_failure_is_said_with_the_callback_and_the_subsystem(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mood = Mood()
    forest = Forest(loader(mood), tell=tell)
    mood.fails.add(("bind", "alpha"))
    assert forest.mount("one", ["alpha", "beta"]).labels == ["alpha", "beta"]
    assert [call.subsystem for call in mood.calls if call.callback == "bind"] == ["alpha", "beta"]
    assert capsys.readouterr().err == (
        "governor: bind() of alpha failed: ZeroDivisionError('bind of alpha')\n"
    )
