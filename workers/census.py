"""The census: what the kernel says about the processes of one governor, right now."""

from __future__ import annotations

import os
from collections.abc import Sequence

from workers import cpu, files, membership, tasks
from workers.membership import Tag
from workers.syscalls import Table


class Census:
    """Counts members, tasks and open files, and judges reservations."""

    _leaving: frozenset[int] = frozenset()

    def __init__(self, nonce: int, table: Table) -> None:
        self._nonce = nonce
        # A clone is charged as a file, too: it may make a pidfd.
        self._calls = {"tasks": table.tasks, "files": table.tasks | table.files.keys()}
        self._may_block = table.may_block
        self.unreadable: set[int] = set()
        """Processes whose open files the last count could not see."""

    def members(self) -> dict[int, Tag]:
        """Every governed process with its tag, zombies included."""
        return membership.scan(self._nonce)

    def threads(self, pid: int) -> list[int]:
        """The threads of a process, none when it is gone."""
        try:
            return [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
        except (FileNotFoundError, ProcessLookupError):
            return []

    def count(self, resource: str, pids: Sequence[int]) -> int:
        """How much of ``resource`` these processes hold together."""
        if resource == "tasks":
            return sum(map(tasks.count, pids))
        held, hidden = files.distinct(pids)
        self._leaving = frozenset(pid for pid in hidden if files.exiting(pid))
        unreadable = set(hidden) - self._leaving
        self.unreadable.update(unreadable)
        # What cannot be told apart counts in full: never too little.
        return held + sum(files.descriptors(pid) or 0 for pid in unreadable)

    def leaving(self, resource: str) -> int:
        """What processes that the last count found on their way out have, for a moment yet.

        Nobody may tell it apart from what others have, so it may be counted there already.
        """
        if resource != "files":
            return 0
        return sum(files.descriptors(pid) or 0 for pid in self._leaving)

    def at_most(self, resource: str, pids: Sequence[int]) -> int | None:
        """A quick figure that `count` does not exceed, None when there is none."""
        return files.upper_bound(pids) if resource == "files" else None

    def settled(self, reservation: tasks.Reservation, resource: str) -> bool:
        """Whether the call that made the reservation is over."""
        return tasks.settled(reservation, self._calls[resource])

    def firm(self, reservation: tasks.Reservation, resource: str) -> bool:
        """Whether a call that is not over rightly sleeps for as long as it likes.

        An accept, or the open of a FIFO, has its file from the start, and waits then.
        """
        return resource == "files" and tasks.sleeps_in(reservation.tid, self._may_block)

    def rows(self) -> list[list[int]]:
        """CPU time of every member, as `wire.agent.Counted` has it."""
        rows = []
        for pid, tag in self.members().items():
            sample = cpu.sample(pid)
            if sample is not None:
                discards = int(cpu.ignores_sigchld(pid))
                row = (pid, sample.start, sample.ppid, tag.group)
                times = (sample.own_ns, sample.children_ns)
                rows.append([*row, *times, discards, tag.job, sample.user_ns])
        return rows
