"""All sections: those that compare surroundings are here, and then come the sweeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

from governor.bench import offers, project, spawners, surroundings
from governor.bench.helpers import Programs
from governor.bench.offers import Offer
from governor.bench.operations import BUILD, CONTROLS, LOOPS, SPAWN, START
from governor.bench.section import Section
from governor.bench.shape import Shape
from governor.bench.surroundings import (
    CGROUP_V1,
    CGROUP_V2,
    FLOOR,
    GOVERNED,
    UNGOVERNED,
    Surrounding,
)
from governor.bench.sweeps import SWEEPS, sweeps

ONLY_TASKS: Final = f"{GOVERNED}, tasks"
"""With limits of tasks only, so that no call for files is trapped."""

MEMORY: Final = "memory"
"""Not measured in turns, and no `Section`: see `governor.bench.footprint`."""
QUICK_NAMES: Final = ("calls", "controls", "spawn", "build", *SWEEPS)
"""What is measured with ``--quick`` when no section is named."""
NAMES: Final = (*QUICK_NAMES, MEMORY)


def sections(quick: bool) -> list[Section]:
    """Return all sections, in the order of NAMES; ``quick`` ones have fewer values to sweep."""
    one = Shape()
    loops = (
        offers.plain(UNGOVERNED, surroundings.ungoverned),
        offers.plain(FLOOR, surroundings.floor),
        offers.plain(surroundings.TRACER, surroundings.tracer, optional=True),
        offers.plain(surroundings.STRACE, surroundings.strace, optional=True),
        offers.governor(GOVERNED, one),
        offers.cgroup(CGROUP_V1, 1, one),
        offers.cgroup(CGROUP_V2, 2, one),
    )
    # The kernel first: it is what governor's own containers are compared to.
    controls = (
        offers.cgroup(CGROUP_V1, 1, one),
        offers.cgroup(CGROUP_V2, 2, one),
        offers.governor(GOVERNED, one),
    )
    return [
        Section(
            "calls", "what a job does", LOOPS, loops, ("fork", "open"), counted=True, weight=4.0
        ),
        Section("controls", "what is done to containers", CONTROLS, controls),
        Section("spawn", "start of jobs", (START, SPAWN), tuple(_spawners())),
        Section(
            "build", "a build in C", (BUILD,), tuple(_builds()), check=project.check, weight=3.0
        ),
        *sweeps(quick),
    ]


def _spawners() -> Iterator[Offer]:
    """Give the ways to start a job: governor's two, what they compare to, and other tools."""
    yield offers.plain(UNGOVERNED, spawners.bare)
    yield offers.plain(spawners.PYTHON, lambda _: spawners.python())
    yield offers.governor(GOVERNED, Shape())
    yield offers.plain(spawners.COLD, spawners.cold)
    tools = {
        "subprocess": spawners.with_subprocess,
        "multiprocessing": spawners.with_multiprocessing,
        "cgexec": spawners.cgexec,
        "systemd-run": spawners.systemd_run,
        "runexec": spawners.runexec,
        "parallel": spawners.parallel,
    }
    for name, make in tools.items():
        yield offers.plain(name, partial(_tool, make), optional=True)


def _tool(make: Callable[[], Surrounding], _: Programs) -> Surrounding:
    return make()


def _builds() -> Iterator[Offer]:
    """Give the surroundings of a build; governor's once with limits of tasks only."""

    def under_floor(programs: Programs) -> AbstractContextManager[Surrounding]:
        return surroundings.build(programs.floor, surroundings.filter_words())

    one = Shape()
    yield Offer(UNGOVERNED, lambda _: surroundings.build())
    yield Offer(FLOOR, under_floor)
    yield offers.governor(ONLY_TASKS, one._replace(resources="tasks"))
    yield offers.governor(GOVERNED, one)
    yield offers.cgroup(CGROUP_V1, 1, one)
