"""Looking at a governor, and how long to wait until the next time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from governor.top.model import ENDINGS, Figures, Look, measure

if TYPE_CHECKING:
    from governor.api import Governor

_SHARE: Final = 4
"""A pause is at least so many times as long as the look before it took."""


class Source:
    """Asks ``governor`` for everything with one request, and keeps the look before for rates."""

    def __init__(self, governor: Governor, interval: float) -> None:
        self._governor = governor
        self._interval = interval
        self._before: Look | None = None
        self.pause = interval
        """Seconds to wait before the next look, so that a governor with many containers, or on
        a busy host, has time for others."""

    def look(self) -> list[Figures]:
        """The figures of now. Raises the GovernorError of the request, EIO when it has ended."""
        began = time.monotonic()
        reports = self._governor.containers(ENDINGS)
        now = Look(time.monotonic(), reports)
        before, self._before = self._before, now
        self.pause = max(self._interval, _SHARE * (now.moment - began))
        return measure(now, before)


def as_json(figures: Figures) -> dict[str, Any]:
    """A container for scripts; rates are null at the first look."""
    return {
        "hierarchy": figures.hierarchy,
        "path": figures.path,
        "held": {
            word: {"held": held.amount, "limit": held.limit} for word, held in figures.held.items()
        },
        "cpu_percent": _rounded(figures.cpu),
        "refused": figures.refused,
        "refused_per_second": _rounded(figures.refusals),
        "cpus": figures.cpus,
        "level": figures.level,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
