"""What has happened, for those who follow it: a numbered row of events, the latest ones kept."""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable

from governor.core.container import Container
from governor.errors import GovernorError
from governor.results import Event, Value

KEPT = 10_000
"""Events kept for those who come back for them; older ones are reported as lost."""
BATCH = 1_000
"""Events in one answer at most."""

FOLLOWERS_MAX = 10_000
"""Clients that wait for an event at once at most; who goes away is not noticed before the next."""

KEEPERS_MAX = 100
"""Clients that the end waits for at most."""
KEEPER_SECONDS = 30.0
"""Seconds after which one that has not come back is not waited for."""
PATIENCE = 5.0
"""Seconds that the end waits for all of them."""

Answer = tuple[int, int, list[Event]]


class _Follower:
    def __init__(self, after: int, deadline: float, answer: Callable[[Answer], None]) -> None:
        self.after = after
        self.deadline = deadline
        self.answer = answer


class Events:
    """The row of events. ``clock`` dates them (seconds since the epoch)."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._row: deque[Event] = deque(maxlen=KEPT)
        self._last = 0
        self._followers: list[_Follower] = []
        self._keepers: dict[str, tuple[int, float]] = {}
        """The last event that each has, and when it said so."""
        self._left: deque[str] = deque(maxlen=KEEPERS_MAX)
        self._deadline: float | None = None

    def publish(self, kind: str, hierarchy: str = "", path: str = "", **fields: Value) -> None:
        """Something has happened to a container, or to the governor when none is named."""
        self._last += 1
        self._row.append(Event(self._last, self._clock(), kind, hierarchy, path, fields))

    def of(self, kind: str, container: Container, **fields: Value) -> None:
        """Something has happened to ``container``."""
        self.publish(kind, container.hierarchy.name, container.path, **fields)

    def follow(self, after: int, timeout: float, answer: Callable[[Answer], None]) -> None:
        """Answer with the events later than ``after`` (-1: from now on), once there are some.

        A number that is still to come is that of a supervisor before this one, of which there is
        nothing: the answer begins with the first. EAGAIN: too many wait already.
        """
        if after < 0:
            after = self._last
        elif after > self._last:
            after = 0
        if after < self._last:
            answer(self._since(after))
        elif len(self._followers) >= FOLLOWERS_MAX:
            raise GovernorError(errno.EAGAIN, f"{FOLLOWERS_MAX} wait for events already")
        else:
            self._followers.append(_Follower(after, time.monotonic() + timeout, answer))

    def has(self, keeper: str, last: int) -> None:
        """One who keeps all events has them until number ``last``; -1: it keeps them no more."""
        now = time.monotonic()
        for other in [k for k, (_, then) in self._keepers.items() if now - then > KEEPER_SECONDS]:
            del self._keepers[other]
        self._keepers.pop(keeper, None)
        if last < 0:
            self._left.append(keeper)
        elif keeper not in self._left and len(self._keepers) < KEEPERS_MAX:
            self._keepers[keeper] = last, now

    def end(self) -> None:
        """Nothing more will happen: those who keep all events have a moment to come for them."""
        self._deadline = time.monotonic() + PATIENCE

    @property
    def are_kept(self) -> bool:
        """Whether everybody has what they keep, or was waited for long enough."""
        now = time.monotonic()
        if self._deadline is None or now >= self._deadline:
            return True
        lately = (last for last, then in self._keepers.values() if now - then <= KEEPER_SECONDS)
        return all(last >= self._last for last in lately)

    def tick(self) -> float | None:
        """Answer those who have something new or waited long enough; seconds until the next."""
        now = time.monotonic()
        for follower in list(self._followers):
            if follower.after < self._last or now >= follower.deadline:
                self._followers.remove(follower)
                follower.answer(self._since(follower.after))
        due = [follower.deadline for follower in self._followers]
        if self._deadline is not None:
            due.append(self._deadline)
        return max(0.0, min(due) - now) if due else None

    def _since(self, after: int) -> Answer:
        first = self._row[0].number if self._row else self._last + 1
        lost = max(0, first - after - 1)
        start = max(0, after + 1 - first)
        events = [self._row[i] for i in range(start, min(len(self._row), start + BATCH))]
        return (events[-1].number if events else max(after, self._last)), lost, events
