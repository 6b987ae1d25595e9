"""What one run found."""

from __future__ import annotations

from typing import NamedTuple

from governor.bench.footprint import Memory
from governor.bench.machine import Machine
from governor.bench.offers import Point
from governor.bench.runner import Instructions, Samples


class Place(NamedTuple):
    """Where a surrounding stands in a sweep."""

    series: str
    point: Point


class Part(NamedTuple):
    """What one section found.

    ``places`` has the surroundings of a sweep, ``latencies`` by operation and surrounding the
    nanoseconds that belong to `statistics.SHARES`. A row's first surrounding is its base.
    ``instructions`` are empty where the host does not count them.
    """

    title: str
    rounds: int
    samples: Samples
    places: dict[str, Place]
    latencies: Samples
    instructions: Instructions = {}  # noqa: RUF012  never changed


class Result(NamedTuple):
    """Everything. ``failed``, ``skipped`` and ``notes`` map surroundings to reasons and remarks.

    ``memory`` has bytes, see `footprint.Memory`; it is empty when nothing was weighed.
    """

    before: Machine
    after: Machine
    parts: dict[str, Part]
    failed: dict[str, str]
    skipped: dict[str, str]
    notes: dict[str, str]
    memory: Memory
