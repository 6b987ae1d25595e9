"""What is measured together."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from governor.bench.offers import Offer
from governor.bench.operations import Operation


class Section(NamedTuple):
    """Operations and surroundings that take turns; the first surrounding is what others compare to.

    Of ``spread`` every single operation is timed, too, for the distribution. ``counted``: where
    the host can, it is counted how many instructions an operation takes. ``check`` raises
    GovernorError where the whole section makes no sense. ``weight`` is its part of the time.
    What takes long to be set up is not ``renewed`` for each of several lives.
    """

    name: str
    title: str
    operations: tuple[Operation, ...]
    offers: tuple[Offer, ...]
    spread: tuple[str, ...] = ()
    counted: bool = False
    check: Callable[[], None] | None = None
    weight: float = 1.0
    renewed: bool = True
