"""What is measured together: operations, the surroundings they are done in, and the sweeps."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final, NamedTuple

from governor.bench import governed, kernel, spawners, surroundings
from governor.bench.helpers import Programs
from governor.bench.operations import CONTROLS, LOOPS, SPAWN, Operation, named
from governor.bench.shape import ALL, NONE, SOME, Shape
from governor.bench.surroundings import CGROUP_V1, CGROUP_V2, GOVERNED, UNGOVERNED, Surrounding
from governor.errors import GovernorError

Point = int | str
Opener = Callable[[Programs], AbstractContextManager[Surrounding]]


class Offer(NamedTuple):
    """A surrounding that a section would like to have.

    ``optional``: a host may well be without it. In a sweep ``point`` is the dimension's value, and
    ``series`` what all values of this kind of surrounding have in common.
    """

    name: str
    open: Opener
    optional: bool = False
    series: str = ""
    point: Point | None = None


class Section(NamedTuple):
    """Operations and surroundings that take turns; the first surrounding is what others compare to.

    Of ``spread`` every single operation is timed, too, for the distribution.
    """

    name: str
    title: str
    operations: tuple[Operation, ...]
    offers: tuple[Offer, ...]
    spread: tuple[str, ...] = ()


class _Sweep(NamedTuple):
    """A dimension: a field of `Shape`, its values, and the few operations worth trying them on."""

    field: str
    title: str
    quick: tuple[Point, ...]
    full: tuple[Point, ...]
    operations: tuple[str, ...]


_SWEEPS: Final = (
    _Sweep(
        "hierarchies",
        "number of hierarchies",
        (1, 4, 16),
        (0, 1, 2, 4, 8, 16),
        ("fork", "thread", "open"),
    ),
    _Sweep("depth", "depth of the containers", (1, 8), (1, 3, 8), ("fork", "open")),
    _Sweep("limits", "levels with a limit", (NONE, ALL), (NONE, SOME, ALL), ("fork", "open")),
    _Sweep(
        "groups",
        "groups with a process",
        (1, 100),
        (1, 10, 100, 1_000, 10_000),
        ("open", "attach", "read"),
    ),
    _Sweep(
        "processes",
        "processes in the container",
        (1, 100),
        (1, 10, 100, 1_000),
        ("fork", "attach", "limit"),
    ),
)

SWEEPS: Final = tuple(sweep.field for sweep in _SWEEPS)
NAMES: Final = ("calls", "controls", "spawn", *SWEEPS)

_BYTES_PER_PROCESS: Final = 300_000
"""Of kernel and governor, for one that does nothing: more than was ever seen."""


def sections(quick: bool) -> list[Section]:
    """Return all sections, in the order of NAMES; ``quick`` ones have fewer values to sweep."""
    one = Shape()
    loops = (
        _plain(UNGOVERNED, surroundings.ungoverned),
        _plain(surroundings.FLOOR, surroundings.floor),
        _plain(surroundings.TRACER, surroundings.tracer, optional=True),
        _plain(surroundings.STRACE, surroundings.strace, optional=True),
        _governed(GOVERNED, one),
        _cgroup(CGROUP_V1, 1, one),
        _cgroup(CGROUP_V2, 2, one),
    )
    # The kernel first: it is what governor's own containers are compared to.
    controls = (_cgroup(CGROUP_V1, 1, one), _cgroup(CGROUP_V2, 2, one), _governed(GOVERNED, one))
    return [
        Section("calls", "what a job does", LOOPS, loops, ("fork", "open")),
        Section("controls", "what is done to containers", CONTROLS, controls),
        Section("spawn", "start of jobs", (SPAWN,), _spawners()),
        *(_sweep(sweep, quick) for sweep in _SWEEPS),
    ]


def _spawners() -> tuple[Offer, ...]:
    """Return the ways to start a job: governor's two, what they compare to, and other tools."""

    def tool(name: str, make: Callable[[], Surrounding]) -> Offer:
        return _plain(name, lambda _: make(), optional=True)

    return (
        _plain(UNGOVERNED, lambda _: spawners.bare()),
        _plain(spawners.PYTHON, lambda _: spawners.python()),
        _governed(GOVERNED, Shape()),
        _plain(spawners.COLD, lambda _: spawners.cold()),
        tool("subprocess", spawners.with_subprocess),
        tool("multiprocessing", spawners.with_multiprocessing),
        tool("cgexec", spawners.cgexec),
        tool("systemd-run", spawners.systemd_run),
        tool("runexec", spawners.runexec),
        tool("parallel", spawners.parallel),
    )


def _sweep(sweep: _Sweep, quick: bool) -> Section:
    """Return the section in which one field of the shape takes its values."""
    offers = [_plain(UNGOVERNED, surroundings.ungoverned)]
    for point in sweep.quick if quick else sweep.full:
        shape = Shape()._replace(**{sweep.field: point})  # type: ignore[arg-type]
        name = f"{sweep.field}={point}"
        offers.append(_governed(f"{GOVERNED} {name}", shape, point))
        if shape.hierarchies:
            offers.append(_cgroup(f"{CGROUP_V1} {name}", 1, shape, point))
    return Section(sweep.field, sweep.title, named(*sweep.operations), tuple(offers))


def _plain(name: str, make: Callable[[Programs], Surrounding], *, optional: bool = False) -> Offer:
    """Return the offer of a surrounding that needs no ending."""

    @contextmanager
    def opened(programs: Programs) -> Iterator[Surrounding]:
        yield make(programs)

    return Offer(name, opened, optional)


def _governed(name: str, shape: Shape, point: Point | None = None) -> Offer:
    return Offer(name, partial(_roomy, shape, governed.governed), False, GOVERNED, point)


def _cgroup(name: str, version: int, shape: Shape, point: Point | None = None) -> Offer:
    make = partial(kernel.cgroup, name, version)
    series = CGROUP_V1 if version == 1 else CGROUP_V2
    return Offer(name, partial(_roomy, shape, make), True, series, point)


@contextmanager
def _roomy(
    shape: Shape,
    make: Callable[[Programs, Shape], AbstractContextManager[Surrounding]],
    programs: Programs,
) -> Iterator[Surrounding]:
    """Open a surrounding if its idle processes find room; GovernorError [ENOMEM] if not."""
    needed = (shape.groups + shape.processes) * _BYTES_PER_PROCESS
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > free:
        reason = f"{needed >> 20} MiB are needed for its processes, {free >> 20} MiB are free"
        raise GovernorError(errno.ENOMEM, reason)
    with make(programs, shape) as surrounding:
        yield surrounding
