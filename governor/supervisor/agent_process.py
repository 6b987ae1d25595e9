"""The agent as a process: started by the spawner, ended by itself or by us, replaced."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections import deque

from governor.supervisor.spawner_link import SpawnerLink
from governor.wire.spawner import AGENT, ESTATE
from workers import channel, estate
from workers.spawner import kill

DEATHS = 5
DEATHS_SECONDS = 10.0
"""So many failures in so many seconds, or deaths in a row before one took over, are too many."""
_FORK_AGAIN = 0.1
_FORKS = 50
"""How often, and with which pause in seconds, forking is tried while it fails."""


class AgentProcess:
    """The process that is the agent now, if there is one. ``endpoint``: where it connects to."""

    def __init__(self, spawner: SpawnerLink, endpoint: str, inherited: int | None = None) -> None:
        """``inherited``: the estate of agents of another supervisor, which have ended."""
        self.spawner = spawner
        self._endpoint = endpoint
        self._estate = estate.make() if inherited is None else inherited
        spawner.keep(ESTATE, 0, self._estate)
        self._failures: deque[float] = deque(maxlen=DEATHS)
        self._in_vain = 0
        self._took_over = time.monotonic()
        self.restarts = 0
        """How often another one has taken over from one of this supervisor's."""
        self._is_first = inherited is not None
        """Whether the next one to take over does so for a supervisor that has just begun."""
        self._unforked = 0
        self._pidfd: int | None = None
        self.pid = 0
        """0 while none is known of."""
        self.end: socket.socket
        self.ended = ""
        """How it ended; empty while it runs, or is about to."""
        if inherited is None:
            self.start()
        else:
            self.end, _ = channel.pair()
            self.ended = "has lost its supervisor"

    def start(self) -> None:
        """Have one forked; the spawner tells of it later."""
        if self._unforked:
            time.sleep(_FORK_AGAIN)  # perhaps some process ends meanwhile
        self.pid, self.ended = 0, ""
        try:
            there = self._pair()
        except OSError as error:  # no descriptors are left, for the moment
            self._cannot_start(error.errno or 0)
            return
        with there:
            self.spawner.start_agent(self._endpoint, [there.fileno(), self._estate])

    def renew(self, descriptors: list[int]) -> None:
        """Ask for another one where it is not known whether there is one: that one will end."""
        self.end.close()
        with self._pair() as there:
            os.dup2(there.fileno(), descriptors[0], inheritable=False)

    def _pair(self) -> socket.socket:
        self.end, there = channel.pair()
        self.end.settimeout(channel.PATIENCE)
        return there

    def on_started(self, pid: int, errno: int) -> None:
        """The spawner has forked it, or could not."""
        self.pid = pid
        if errno:
            self._cannot_start(errno)
            return
        self._unforked = 0
        if self.spawner.lasting:
            self._keep_pidfd()

    def _cannot_start(self, errno: int) -> None:
        self._unforked += 1
        self.ended = f"could not be started: {os.strerror(errno)}"

    def _keep_pidfd(self) -> None:
        """Whoever takes our place has to end this agent, whose child it may be by then."""
        self._drop_pidfd()
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(self.pid)
            self.spawner.keep(AGENT, 0, self._pidfd)

    def _drop_pidfd(self) -> None:
        if self._pidfd is not None:
            self.spawner.drop(AGENT, 0)
            os.close(self._pidfd)
            self._pidfd = None

    def on_reaped(self, status: int) -> None:
        """It has ended."""
        code = os.waitstatus_to_exitcode(status)
        self.pid = 0
        self.ended = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        self._in_vain += 1
        if code != -signal.SIGKILL:
            self._failures.append(time.monotonic())

    def on_taken_over(self) -> None:
        """It goes on where the one before was ended."""
        self._in_vain = 0
        self._took_over = time.monotonic()
        self.restarts += not self._is_first
        self._is_first = False

    @property
    def hopeless(self) -> bool:
        """Whether it has failed, or could not be forked, too often for another to fare better.

        What others kill is no failure: that is borne as long as some agent takes over in between.
        """
        failures = self._failures
        if self._unforked >= _FORKS:
            return True
        if self._in_vain >= DEATHS and time.monotonic() - self._took_over >= DEATHS_SECONDS:
            return True
        return len(failures) == DEATHS and failures[-1] - failures[0] < DEATHS_SECONDS

    def refusals(self) -> int:
        """How many there were until now, of all agents, told of or not."""
        return estate.refusals_until_now(self._estate)

    def close(self) -> None:
        """There will be no other one."""
        self._drop_pidfd()
        self.end.close()
        os.close(self._estate)

    def kill(self) -> None:
        """End one that does nothing any more."""
        if self.pid:
            kill([self.pid])
