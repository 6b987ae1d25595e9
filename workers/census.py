"""The census: what the kernel says about the processes of one governor, right now."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence, Set

from workers import cpu, membership, tasks
from workers.membership import Tag
from workers.resources import NONE_KNOWN, Resource, load
from workers.syscalls import Table

SIGN_INTERVAL = 0.05
"""Seconds between two signs of life in a count, which has none before."""


class Census:
    """Counts members and what they hold, and judges reservations.

    ``sign`` is called now and then while a count goes on for long.
    """

    def __init__(self, nonce: int, table: Table, sign: Callable[[], object] = lambda: None) -> None:
        self._sign = sign
        self._next_sign = 0.0
        self._nonce = nonce
        self._table = table
        self._resources: dict[str, Resource] = {}
        self.unreadable: set[int] = set()
        """Processes that could not be looked into, for a count or for what they ask for."""

    def _resource(self, name: str) -> Resource:
        resource = self._resources.get(name)
        if resource is None:
            resource = self._resources[name] = load(name, self._table)
            resource.unreadable = self.unreadable
            resource.breathe = self._breathe
        return resource

    def members(self) -> dict[int, Tag]:
        """Every governed process with its tag, zombies included. Each count begins with this."""
        self._next_sign = time.monotonic() + SIGN_INTERVAL
        return membership.scan(self._nonce)

    def holds(self, resource: str, pids: Sequence[int], groups: Set[int], amount: int) -> bool:
        """Whether those of these processes that are in these groups hold so much for certain.

        That is looked at only as far as it takes to say so, and may be so where this says no.
        """
        return self.one_each(resource) and membership.are_in(self._nonce, pids, groups, amount)

    def threads(self, pid: int) -> list[int]:
        """The threads of a process, none when it is gone."""
        try:
            return [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
        except (FileNotFoundError, ProcessLookupError):
            return []

    def count(self, resource: str, pids: Sequence[int]) -> int:
        """How much of ``resource`` these processes hold together."""
        held = self._resource(resource).count(pids)
        self._breathe()
        return held

    def _breathe(self) -> None:
        now = time.monotonic()
        if now >= self._next_sign:
            self._next_sign = now + SIGN_INTERVAL
            self._sign()

    def leaving(self, resource: str) -> int:
        """What processes that the last count found on their way out have, for a moment yet."""
        return self._resource(resource).leaving()

    def at_most(
        self, resource: str, pids: Sequence[int], threads: Mapping[int, int] = NONE_KNOWN
    ) -> int | None:
        """A quick figure that `count` does not exceed, None when there is none.

        ``threads``: how many these processes have, if that is known.
        """
        return self._resource(resource).at_most(pids, threads)

    def movable(self, resource: str) -> bool:
        """Whether processes can get it from each other, so that it may be seen nowhere or twice."""
        return self._resource(resource).movable

    def one_each(self, resource: str) -> bool:
        """Whether every process holds one at least."""
        return self._resource(resource).one_each

    def slow(self, resource: str) -> bool:
        """Whether a count may take so long that nobody else can wait for one at each refusal."""
        return self._resource(resource).slow

    def settled(self, reservation: tasks.Reservation, resource: str) -> bool:
        """Whether the call that made the reservation is over."""
        return tasks.settled(reservation, self._resource(resource).calls)

    def firm(self, reservation: tasks.Reservation, resource: str) -> bool:
        """Whether a call that is not over rightly sleeps for as long as it likes.

        An accept, or the open of a FIFO, has its file from the start, and waits then.
        """
        may_block = self._resource(resource).may_block
        return bool(may_block) and tasks.sleeps_in(reservation.tid, may_block)

    def unreadable_groups(self, members: Mapping[int, Tag]) -> list[int]:
        """Groups with a process that could not be looked into."""
        hidden = self.unreadable & members.keys()
        self.unreadable.intersection_update(members)
        return sorted({members[pid].group for pid in hidden})

    def rows(self, members: Mapping[int, Tag]) -> list[list[int]]:
        """CPU time of every one of these, as `wire.agent.Figures` has it; without those gone.

        In the order of pids, so that parents come before their children: what a child had used
        that is reaped meanwhile is not in its parent's row as well.
        """
        rows = []
        for pid, tag in sorted(members.items()):
            sample = cpu.sample(pid)
            if sample is not None:
                discards = int(cpu.ignores_sigchld(pid))
                row = (pid, sample.start, sample.ppid, tag.group)
                times = (sample.own_ns, sample.children_ns)
                rows.append([*row, *times, discards, tag.job, sample.user_ns])
        return rows
