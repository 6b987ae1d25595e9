"""What a section would like to have: surroundings by name, and how each is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import NamedTuple

from governor.bench import governed, kernel, room
from governor.bench.helpers import Programs
from governor.bench.shape import Shape
from governor.bench.surroundings import CGROUP_V1, CGROUP_V2, GOVERNED, Surrounding

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


def plain(name: str, make: Callable[[Programs], Surrounding], *, optional: bool = False) -> Offer:
    """Return the offer of a surrounding that needs no ending."""

    @contextmanager
    def opened(programs: Programs) -> Iterator[Surrounding]:
        yield make(programs)

    return Offer(name, opened, optional)


def governor(name: str, shape: Shape, point: Point | None = None) -> Offer:
    """Return the offer of a governor of its own in some shape."""
    return Offer(name, partial(_roomy, shape, governed.governed), False, GOVERNED, point)


def cgroup(name: str, version: int, shape: Shape, point: Point | None = None) -> Offer:
    """Return the offer of the kernel's groups in some shape."""
    make = partial(kernel.cgroup, name, version)
    series = CGROUP_V1 if version == 1 else CGROUP_V2
    return Offer(name, partial(_roomy, shape, make), True, series, point)


@contextmanager
def _roomy(
    shape: Shape,
    make: Callable[[Programs, Shape], AbstractContextManager[Surrounding]],
    programs: Programs,
) -> Iterator[Surrounding]:
    """Open a surrounding if its idle processes find room; GovernorError [EAGAIN] if not."""
    room.check(shape.groups + shape.processes)
    with make(programs, shape) as surrounding:
        yield surrounding
