"""When the agent counts though nobody is short of room, and what it tells of what it found."""

from __future__ import annotations

import time

from workers.accounts import Accounts
from workers.estate import Estate

SAMPLE_INTERVAL = 0.01
"""Seconds between two counts for ``maxheld`` while traps arrive; without traps nothing grows."""
SAMPLE_SHARE = 100
"""Counting for ``maxheld`` alone takes at most one part in so many of the agent's time."""
SHOW_SHARE = 5
"""Counting after placements and moves takes at most one part in so many of it."""
SAMPLES_AFTER_TRAP = 2
"""What the last trap made may not be there yet when the first count comes."""


class Readings:
    """Counts for the figures; ``left`` is how many counts of everything are to come yet."""

    def __init__(self, accounts: Accounts, estate: Estate) -> None:
        self._accounts = accounts
        self._estate = estate
        self.left = 0
        self._next_sample = self._next_show = 0.0
        # The figures of counters that the supervisor knows.
        self._told: dict[int, list[int]] = {}

    def expect(self) -> None:
        """Something may have changed, or may in a moment."""
        self.left = SAMPLES_AFTER_TRAP

    def due(self, now: float) -> bool:
        """Whether it is time for the next count of everything."""
        return now >= self._next_sample

    def sample(self) -> None:
        """Recount for ``maxheld``, at most so often that it costs next to nothing."""
        started = time.monotonic()
        self.left -= 1
        self._accounts.recount()
        took = time.monotonic() - started
        self._next_sample = started + max(SAMPLE_INTERVAL, took * SAMPLE_SHARE)

    def show(self, *groups: int) -> None:
        """Count for the figures what somebody has come to, or left: now, or soon where it is much.

        What is charged is right without.
        """
        self.expect()
        started = time.monotonic()
        if started >= self._next_show:
            self._accounts.recount_groups(*groups)
            self._next_show = started + (time.monotonic() - started) * SHOW_SHARE

    def changed(self) -> list[list[int]]:
        """Of the counters with others than the supervisor was told, as `Figures` has them."""
        told, counters, figures = self._told, self._accounts.counters, []
        for id in self._estate.take_changed():
            if (c := counters.get(id)) is not None:
                row = [id, c.held, c.minheld, c.maxheld, c.failcnt, c.admitted]
                if told.get(id) != row:
                    told[id] = row
                    figures.append(row)
        return figures

    def forget(self, counter: int) -> None:
        """The counter is gone, or the supervisor has reset what it was told of it."""
        self._told.pop(counter, None)
