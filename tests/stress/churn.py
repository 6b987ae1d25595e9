"""Forks, exits and jobs that come and go, for as long as is wanted: what grows meanwhile?

Run as ``python -m tests.stress.churn [SECONDS]``. What is wrong fails an assertion.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from statistics import linear_regression, median

from governor.api import Container, Governor
from governor.supervisor.jobs import ENDED_MAX
from tests.stress.watch import DEADLINE, Sizes, Watch, descriptors, in_words

SECONDS = 300.0
AT_ONCE = 4
FORKS = 200
"""Of each job."""
SAMPLES = 60
GROWTH_MAX = 1024
"""KiB that a process may have grown by, between the first third of the time and the last."""

Sample = tuple[float, Sizes]
"""Seconds since the beginning, and sizes while nothing runs."""


def run(gov: Governor, seconds: float) -> str:
    """The whole load; what came of it, in a line."""
    box = gov.mount("load", ["numtasks", "cpuacct"]).mkdir("/box")
    box["numtasks.limit"] = 100
    watch = Watch(gov, [box])
    fresh = watch.rest()
    fill(gov, box)
    began = time.monotonic()
    samples: list[Sample] = [(0.0, watch.rest())]
    command = ["sh", "-c", f"i=0; while [ $i -lt {FORKS} ]; do /bin/true; i=$((i+1)); done"]
    jobs = 0
    while samples[-1][0] < seconds:
        until = samples[-1][0] + seconds / SAMPLES
        while time.monotonic() - began < until:
            jobs += batch(gov, box, command)
        samples.append((time.monotonic() - began, watch.rest()))
    assert box["numtasks.held"] == 0
    assert gov.status().processes == 0
    first, last = samples[0][1], samples[-1][1]
    assert descriptors(fresh) == descriptors(first) == descriptors(last), (fresh, first, last)
    for name in last:
        sizes = [sample[name].resident for _, sample in samples]
        third = -(-len(sizes) // 3)
        grown = median(sizes[-third:]) - median(sizes[:third])
        assert grown <= GROWTH_MAX, (name, sizes)
    slopes = ", ".join(f"{name} {growth(samples, name):+.0f}" for name in last)
    return (
        f"{ENDED_MAX} short jobs: {in_words(fresh, first)}; then {jobs} jobs, {jobs * FORKS} forks "
        f"in {seconds:.0f} s: {in_words(first, last)}; growth in KiB an hour: {slopes}"
    )


def fill(gov: Governor, box: Container) -> None:
    """Fill what is bounded, the jobs and events that the supervisor remembers."""
    for _ in range(ENDED_MAX // AT_ONCE):
        batch(gov, box, ["true"])


def batch(gov: Governor, box: Container, command: Sequence[str]) -> int:
    """Some jobs at once, to their end; how many."""
    row = [gov.spawn(command, containers=[box]) for _ in range(AT_ONCE)]
    for job in row:
        assert job.wait(DEADLINE).exit_code == 0
    return len(row)


def growth(samples: Sequence[Sample], name: str) -> float:
    """KiB that a process grows by in an hour, by a straight line through all samples."""
    times, sizes = zip(*samples, strict=True)
    return linear_regression(times, [size[name].resident for size in sizes]).slope * 3600


if __name__ == "__main__":
    with Governor() as own:
        print("churn:", run(own, float(sys.argv[1]) if sys.argv[1:] else SECONDS))
