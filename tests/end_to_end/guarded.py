"""The benchmark's guard: a few ratios, and how they are compared with those that were recorded.

    python -m tests.end_to_end.guarded > tests/end_to_end/bench_baseline.json

records them anew, on a quiet machine, after a change that is meant to cost something or that has
made something cheaper for good.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from governor.bench import benchmark, offers, statistics, surroundings
from governor.bench.operations import named
from governor.bench.runner import Settings
from governor.bench.section import Section
from governor.bench.shape import Shape
from governor.bench.statistics import Estimate
from governor.bench.surroundings import FLOOR, GOVERNED, UNGOVERNED

BASELINE: Final = Path(__file__).with_name("bench_baseline.json")

MARGIN: Final = 2.0
"""How many times a recorded ratio one may be.

Versions of Python and of the kernel, and machines that others keep busy, change these ratios by
less (docs/performance.md has figures); a trap that waits, counts or asks somebody costs several
times as much.
"""
ATTEMPTS: Final = 3

_SPIN_SECONDS: Final = 0.05
_ALONE: Final = 1.25
"""How many times its CPU time a loop may take where nobody else wants the processor."""

_MANY: Final = "16 hierarchies"
_QUICK: Final = Settings(rounds=11, sample_seconds=0.004, deadline_seconds=20.0)

RATIOS: Final = {
    "open+close, governed to floor": ("open", GOVERNED, FLOOR),
    "fork+wait, governed to ungoverned": ("fork", GOVERNED, UNGOVERNED),
    "untrapped getppid, governed to ungoverned": ("getppid", GOVERNED, UNGOVERNED),
    "open+close, 16 hierarchies to 1": ("open", _MANY, GOVERNED),
    "fork+wait, 16 hierarchies to 1": ("fork", _MANY, GOVERNED),
}
"""Operation, surrounding and base. No times: these tell of the machine."""


def measure(settings: Settings = _QUICK) -> dict[str, Estimate]:
    """Return the ratios by their names, measured in turns within a few seconds."""
    section = Section(
        "guard",
        "what must not become dearer unnoticed",
        named("fork", "open", "getppid"),
        (
            offers.plain(UNGOVERNED, surroundings.ungoverned),
            offers.plain(FLOOR, surroundings.floor),
            offers.governor(GOVERNED, Shape()),
            offers.governor(_MANY, Shape(hierarchies=16)),
        ),
    )
    wanted = benchmark.Wanted([section], [operation.name for operation in section.operations])
    result = benchmark.run(wanted, settings, lambda _: None)
    assert not result.failed
    samples = result.parts["guard"].samples
    return {
        name: statistics.ratio(samples[operation][subject], samples[operation][base])
        for name, (operation, subject, base) in RATIOS.items()
    }


def beyond(found: dict[str, Estimate], recorded: dict[str, float]) -> dict[str, Estimate]:
    """Return the ratios whose whole interval is beyond the margin: noise is never beyond it."""
    return {name: ratio for name, ratio in found.items() if ratio.low > MARGIN * recorded[name]}


def is_alone() -> bool:
    """Return whether we get a processor whenever we want one.

    Where we do not, whoever traps waits for its turn twice in each call, and who does not trap
    never: such a ratio has a narrow interval, and says how many others there are.
    """
    began, used = time.perf_counter(), time.thread_time()
    while time.thread_time() - used < _SPIN_SECONDS:
        pass
    return time.perf_counter() - began < _ALONE * _SPIN_SECONDS


def confirmed(
    recorded: dict[str, float],
    measure: Callable[[], dict[str, Estimate]] = measure,
    is_alone: Callable[[], bool] = is_alone,
) -> dict[str, Estimate] | None:
    """Return those that are beyond the margin in every one of ATTEMPTS attempts, as found last.

    None: no conclusion, since others kept the machine busy before or after such an attempt.
    """
    suspects = {*recorded}
    found: dict[str, Estimate] = {}
    for _ in range(ATTEMPTS):
        alone = is_alone()
        found = {name: it for name, it in beyond(measure(), recorded).items() if name in suspects}
        suspects = {*found}
        if not suspects:
            break
        if not (alone and is_alone()):
            return None
    return found


def load() -> dict[str, float]:
    """Return the recorded ratios."""
    recorded: dict[str, float] = json.loads(BASELINE.read_text())
    return recorded


if __name__ == "__main__":
    thorough = _QUICK._replace(rounds=41, deadline_seconds=60.0)
    found = measure(thorough)
    json.dump({name: round(ratio.value, 3) for name, ratio in found.items()}, sys.stdout, indent=1)
    print()
    for name, ratio in found.items():
        print(f"{name}: {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]", file=sys.stderr)
