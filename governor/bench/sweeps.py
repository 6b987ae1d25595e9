"""The sections in which one dimension takes several values: how the cost grows with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from typing import Final, NamedTuple

from governor.bench import lookup, offers, surroundings
from governor.bench.companion import local
from governor.bench.crew import Crew, Side, Together
from governor.bench.governed import governed
from governor.bench.helpers import Programs
from governor.bench.offers import Offer, Point
from governor.bench.operations import named
from governor.bench.section import Section
from governor.bench.shape import ALL, NONE, SOME, Shape
from governor.bench.surroundings import CGROUP_V1, FLOOR, GOVERNED, UNGOVERNED, Surrounding

AGENTS: Final = 2
TWO_AGENTS: Final = f"{AGENTS} governors"
"""A governor has one agent; two of them side by side are two agents."""


class _Sweep(NamedTuple):
    """A dimension: a field of `Shape`, its values, and the few operations worth trying them on."""

    field: str
    title: str
    quick: tuple[Point, ...]
    full: tuple[Point, ...]
    operations: tuple[str, ...]
    weight: float = 1.0
    renewed: bool = True


_SHAPES: Final = (
    _Sweep(
        "hierarchies",
        "number of hierarchies",
        (1, 4, 16),
        (0, 1, 2, 4, 8, 16),
        ("fork", "thread", "open"),
        3.0,
    ),
    _Sweep("depth", "depth of the containers", (1, 8), (1, 3, 8), ("fork", "open")),
    _Sweep("limits", "levels with a limit", (NONE, ALL), (NONE, SOME, ALL), ("fork", "open")),
    _Sweep(
        "groups",
        "groups with a process (10,000: 1 %)",
        (1, 100),
        (1, 10, 100, 1_000, 10_000),
        ("open", "attach", "read"),
        2.0,
        renewed=False,
    ),
    _Sweep(
        "processes",
        "processes in the container",
        (1, 100),
        (1, 10, 100, 1_000),
        ("fork", "attach", "limit"),
    ),
)
_INHABITED: Final = 1_000
"""The most groups that all have a process: so many more would slow down all of the host."""
_JOBS: Final = (1, 2, 4)
_GROUPS: Final = (10, 100, 1_000, 10_000)

SWEEPS: Final = (*(sweep.field for sweep in _SHAPES), "jobs", lookup.NAME)


def sweeps(quick: bool) -> Iterator[Section]:
    """Give the sections in the order of SWEEPS; ``quick`` ones have fewer values."""
    for sweep in _SHAPES:
        yield _of_shapes(sweep, quick)
    yield Section("jobs", "busy jobs at once", named("jobs"), tuple(_of_jobs()))
    groups = _GROUPS[:: len(_GROUPS) - 1] if quick else _GROUPS
    yield Section(
        lookup.NAME, "groups in use", named("lookup"), tuple(map(_lookup, groups)), weight=0.2
    )


def _of_shapes(sweep: _Sweep, quick: bool) -> Section:
    """Return the section in which one field of the shape takes its values."""
    found = [offers.plain(UNGOVERNED, surroundings.ungoverned)]
    for point in sweep.quick if quick else sweep.full:
        shape = _shape(sweep.field, point)
        name = f"{sweep.field}={point}"
        found.append(offers.governor(f"{GOVERNED} {name}", shape, point))
        # 10,000 kernel cgroups take longer to make than there is time for a whole section.
        if shape.hierarchies and not shape.empty:
            found.append(offers.cgroup(f"{CGROUP_V1} {name}", 1, shape, point))
    return Section(
        sweep.field,
        sweep.title,
        named(*sweep.operations),
        tuple(found),
        weight=sweep.weight,
        renewed=sweep.renewed,
    )


def _shape(field: str, point: Point) -> Shape:
    """Return the shape in which a field has a value; of very many groups most are empty."""
    shape = Shape()._replace(**{field: point})  # type: ignore[arg-type]
    if shape.groups <= _INHABITED:
        return shape
    inhabited = shape.groups // 100
    return shape._replace(groups=inhabited, empty=shape.groups - inhabited)


def _of_jobs() -> Iterator[Offer]:
    """Give the offers of so many jobs at once, nobody, one agent or two being there for them."""
    for jobs in _JOBS:
        yield _together(UNGOVERNED, jobs, _loops)
        yield _together(FLOOR, jobs, _floors)
        yield _together(GOVERNED, jobs, partial(_governors, 1))
        if jobs >= AGENTS:
            yield _together(TWO_AGENTS, jobs, partial(_governors, AGENTS))


def _together(
    series: str, jobs: int, sides: Callable[[Programs], AbstractContextManager[list[Side]]]
) -> Offer:
    @contextmanager
    def opened(programs: Programs) -> Iterator[Surrounding]:
        with sides(programs) as found:
            yield Together(found, jobs)

    return Offer(f"{series} jobs={jobs}", opened, False, series, jobs)


@contextmanager
def _loops(programs: Programs) -> Iterator[list[Side]]:
    with closing(Crew(local, [programs.loop])) as crew:
        yield [crew]


@contextmanager
def _floors(programs: Programs) -> Iterator[list[Side]]:
    """Loops of which each has an answerer of its own, which is more than any agent is."""
    command = [programs.floor, surroundings.filter_words(), programs.loop]
    with closing(Crew(local, command)) as crew:
        yield [crew]


@contextmanager
def _governors(number: int, programs: Programs) -> Iterator[list[Side]]:
    with ExitStack() as stack:
        yield [stack.enter_context(governed(programs, Shape())) for _ in range(number)]


def _lookup(groups: int) -> Offer:
    """Return the offer of a table of groups."""
    offer = offers.plain(f"{lookup.NAME} groups={groups}", lambda _: lookup.Lookup(groups))
    return offer._replace(series=lookup.NAME, point=groups)
