"""Costs that must not grow unnoticed, as ratios: `governor bench` in a few seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from governor.bench.statistics import Estimate
from tests.capabilities import need
from tests.end_to_end import guarded

pytestmark = pytest.mark.once


def test_nothing_costs_twice_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(shutil.which("cc") is not None, "the benchmark needs a C compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dearer = guarded.confirmed(guarded.load())
    if dearer is None:
        pytest.skip("others keep this machine busy: what became dearer cannot be said")
    assert not dearer, f"more than {guarded.MARGIN} times what {guarded.BASELINE.name} says"


def test_all_that_is_guarded_is_recorded() -> None:
    assert guarded.load().keys() == guarded.RATIOS.keys()


def estimate(value: float, spread: float) -> Estimate:
    return Estimate(value, value / spread, value * spread, 0.1, 11)


def test_noise_is_no_reason_and_one_attempt_neither() -> None:
    recorded = {"open": 1.4, "fork": 1.1}
    slow, noisy, fine = estimate(9.0, 1.1), estimate(9.0, 5.0), estimate(1.5, 1.1)
    attempts = [
        {"open": slow, "fork": slow},
        {"open": slow, "fork": noisy},
        {"open": slow, "fork": slow},
    ]
    assert guarded.confirmed(recorded, lambda: attempts.pop(0), lambda: True) == {"open": slow}
    attempts = [{"open": slow, "fork": fine}, {"open": fine, "fork": slow}]
    assert guarded.confirmed(recorded, lambda: attempts.pop(0), lambda: True) == {}
    assert not attempts, "who is not a suspect any more is not looked at"


@pytest.mark.parametrize("busy", range(2 * guarded.ATTEMPTS))
def test_on_a_busy_machine_nothing_is_concluded(busy: int) -> None:
    """Busy before or after one of the attempts; that everything is fine can be said there, too."""
    probes = [number != busy for number in range(2 * guarded.ATTEMPTS)]
    slow, fine = {"fork": estimate(9.0, 1.1)}, {"fork": estimate(1.1, 1.1)}
    assert guarded.confirmed({"fork": 1.1}, lambda: slow, lambda: probes.pop(0)) is None
    assert guarded.confirmed({"fork": 1.1}, lambda: fine, lambda: False) == {}
