"""Groups that nobody is in any more are forgotten, so that there are never many of them.

A group is one combination of containers, and a client may go through as many as there are. One
without processes comes back, under another number, when somebody enters it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from governor.supervisor.figures import Figures
from governor.supervisor.policy import Policy

LEAST = 1_024
"""So many groups are no reason to look."""


class IdleGroups:
    """Looks when there are twice as many groups as were left the last time.

    ``in_use``: groups that somebody refers to who is no process in it yet, or not any more.
    """

    def __init__(
        self, policy: Policy, figures: Figures, in_use: Callable[[], Collection[int]]
    ) -> None:
        self._policy = policy
        self._figures = figures
        self._in_use = in_use
        self._next = LEAST

    def check(self) -> None:
        """Forget them, if there are so many that this is worth it."""
        groups = self._policy.forest.groups
        if len(groups) < self._next:
            return
        self._figures.refresh()  # what was used in them belongs to their containers
        self._policy.release_idle(self._in_use())
        self._next = max(LEAST, 2 * len(groups))
