"""What one run found."""

from __future__ import annotations

from typing import NamedTuple

from governor.bench.machine import Machine
from governor.bench.runner import Samples
from governor.bench.sections import Point


class Place(NamedTuple):
    """Where a surrounding stands in a sweep."""

    series: str
    point: Point


class Part(NamedTuple):
    """What one section found.

    ``places`` has the surroundings of a sweep, ``latencies`` by operation and surrounding the
    nanoseconds that belong to `statistics.SHARES`. A row's first surrounding is its base.
    """

    title: str
    rounds: int
    samples: Samples
    places: dict[str, Place]
    latencies: Samples


class Result(NamedTuple):
    """Everything. ``failed``, ``skipped`` and ``notes`` map surroundings to reasons and remarks."""

    before: Machine
    after: Machine
    parts: dict[str, Part]
    failed: dict[str, str]
    skipped: dict[str, str]
    notes: dict[str, str]
