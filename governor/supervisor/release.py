"""Release: what happens when the last process and the last child have left a container.

The hierarchy's release agent is run once with the container's path as its argument
(``notify_on_release``), or the container is removed (``auto_remove``). Who dies by SIGKILL
tells nobody, so one process of each container that is watched is waited for by pidfd.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable

from governor.core.container import Container
from governor.errors import GovernorError
from governor.supervisor.policy import Policy
from governor.transport import Poller

ZOMBIES_AGAIN = 0.05
"""Seconds until a container is looked at again in which nothing but zombies is left."""


class Release:
    """Releases containers. ``run(program, path, hierarchy)`` starts a release agent."""

    def __init__(
        self,
        policy: Policy,
        poller: Poller,
        starting: Callable[[], list[int]],
        refresh: Callable[[], None],
        run: Callable[[str, Container], None],
    ) -> None:
        self._policy = policy
        self._poller = poller
        self._starting = starting
        self._refresh = refresh
        self._run = run
        self._sentinels: dict[Container, int] = {}

    def check(self) -> float | None:
        """Release what has become empty; seconds until that must be looked at again."""
        watched = self._policy.watched
        for container in self._sentinels.keys() - watched:
            self._forget(container)
        if not watched:
            return None
        self._policy.populate(self._starting())
        again = None
        for container in list(watched):
            if not (container.notify_on_release or container.auto_remove):
                watched.discard(container)
            elif container.ending:
                pass  # it goes with all that is in it, by who has asked for that
            elif self._policy.forest.in_use(container):
                if not container.children and not container.busy and not self._guard(container):
                    again = ZOMBIES_AGAIN
            else:
                self._release(container)
                again = 0.0  # its parent may be next
        return again

    def _release(self, container: Container) -> None:
        self._policy.watched.discard(container)
        self._forget(container)
        container.occupied = False
        self._policy.changes.container(container)
        self._policy.events.of("release", container)
        agent = container.hierarchy.release_agent
        if container.notify_on_release and agent:
            self._start(agent, container)
        if container.auto_remove:
            self._refresh()
            with contextlib.suppress(GovernorError):  # somebody may have come in just now
                self._policy.rmdir(container.hierarchy.name, container.path)

    def _start(self, agent: str, container: Container) -> None:
        """Run the release agent; nobody waits for it, and nobody could hear of a refusal."""
        try:
            self._run(agent, container)
        except (GovernorError, OSError) as error:
            reason = error.message if isinstance(error, GovernorError) else str(error)
            self._policy.events.of("release-failed", container, reason=reason)

    def _guard(self, container: Container) -> bool:
        """Wait for one process in the container; False when there are only zombies."""
        if container in self._sentinels and not has_ended(self._sentinels[container]):
            return True
        self._forget(container)
        for pid in self._policy.members.of(container):
            with contextlib.suppress(OSError):
                sentinel = os.pidfd_open(pid)
                if has_ended(sentinel):
                    os.close(sentinel)
                    continue
                self._sentinels[container] = sentinel
                self._poller.add(sentinel)
                return True
        return False

    def _forget(self, container: Container) -> None:
        sentinel = self._sentinels.pop(container, None)
        if sentinel is not None:
            self._poller.remove(sentinel)
            os.close(sentinel)


def has_ended(pidfd: int) -> bool:
    """Whether the process that a pidfd stands for has ended."""
    poll = select.poll()  # select(2) takes no descriptor from 1024 on
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
