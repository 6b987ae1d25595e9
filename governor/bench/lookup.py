"""The look-up of a container group among many, by the very tables that a supervisor has."""

from __future__ import annotations

import itertools
import random
from typing import Final

from governor.bench.controls import timed
from governor.bench.operations import LOOKUP
from governor.bench.surroundings import Surrounding
from governor.core.forest import Forest
from governor.registry import load

NAME: Final = "lookup"


class Lookup(Surrounding):
    """So many groups of containers of two hierarchies, found in an order that no cache knows."""

    def __init__(self, groups: int) -> None:
        forest = Forest(load)
        forest.mount("one", ["numtasks"])
        forest.mount("two", ["numfiles"])
        pairs = [
            (forest.mkdir("one", f"/{number}"), forest.mkdir("two", f"/{number}"))
            for number in range(groups)
        ]
        for pair in pairs:
            forest.group(pair)
        self._find = forest.group
        self._pairs = itertools.cycle(random.Random(groups).sample(pairs, groups))

    def can(self, operation: str) -> bool:
        """Whether the operation is to look up."""
        return operation == LOOKUP.name

    def run(self, operation: str, count: int) -> float:
        """Return the mean nanoseconds of one look-up."""
        return timed(lambda: self._find(next(self._pairs)), count)
