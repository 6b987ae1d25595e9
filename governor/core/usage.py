"""CPU time that is never lost, counted twice or taken back.

The kernel keeps a process's own time until it is reaped, and then adds it to whoever
reaped it: the parent (``children`` time, in clock ticks) or the spawner (exact). The
ledger follows that flow. A group's total is what its live processes used since they
joined, plus what has been retired; what is published never falls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Meter:
    """A sum that only grows, such as the CPU nanoseconds used in a container."""

    __slots__ = ("resource", "total")

    def __init__(self, resource: str) -> None:
        self.resource = resource
        self.total = 0

    def add(self, amount: int) -> None:
        """Add what was used."""
        self.total += amount


class Row(NamedTuple):
    """One live process as a sample saw it; times in nanoseconds."""

    pid: int
    start: int
    ppid: int
    group: int
    own: int
    children: int
    discards: int
    """1: the process ignores SIGCHLD: the time of its children is added to nobody."""

    @property
    def cpu(self) -> int:
        """Own time and that of children it has reaped."""
        return self.own + self.children


class _Process:
    """What the ledger remembers of a live process; ``base`` is charged elsewhere."""

    __slots__ = ("base", "cpu", "discards", "group", "ppid", "start")

    def __init__(self, start: int, ppid: int, group: int, base: int) -> None:
        self.start = start
        self.ppid = ppid
        self.group = group
        self.base = base
        self.cpu = base
        self.discards = 0


class CpuLedger:
    """Turns samples of live processes and reports of reaped ones into totals per group."""

    def __init__(self) -> None:
        self._live: dict[int, _Process] = {}
        # Gone without a live parent: the spawner's report about them is under way.
        self._orphans: dict[int, _Process] = {}
        self._retired: dict[int, int] = {}
        self._published: dict[int, int] = {}
        # Processes reaped lately: a sample taken before their end may arrive after it.
        self._reaped: set[tuple[int, int]] = set()
        self._reaped_before: set[tuple[int, int]] = set()

    def enter(self, pid: int, start: int, group: int, base: int) -> None:
        """A process joins a group having used ``base`` ns that are not the group's."""
        self._live[pid] = _Process(start, 0, group, base)

    def move(self, pid: int, group: int, cpu: int) -> None:
        """A process moves to ``group`` having used ``cpu`` ns so far in all."""
        process = self._live.get(pid)
        if process is None:
            return
        self._retire(process.group, cpu - process.base)
        process.group = group
        process.base = process.cpu = cpu

    def reap(self, pid: int, start: int, group: int, cpu: int) -> None:
        """The spawner reaped a process of ``group`` that used ``cpu`` ns in all."""
        process = self._live.pop(pid, None) or self._orphans.pop(pid, None)
        base = process.base if process is not None and process.start == start else 0
        self._retire(group, cpu - base)
        self._reaped.add((pid, start))

    def observe(self, rows: Iterable[Row]) -> None:
        """Take in a sample of all live processes."""
        gone = self._live
        self._live = {}
        for row in rows:
            if (row.pid, row.start) not in self._reaped | self._reaped_before:
                self._see(row, gone)
        self._orphans = {}
        for pid, process in gone.items():
            self._flow_to_parent(pid, process)
        self._reaped_before, self._reaped = self._reaped, set()

    def drain(self) -> dict[int, int]:
        """What each group used since the last call, in ns; groups that used nothing left out."""
        totals = dict(self._retired)
        for process in self._live.values():
            used = max(0, process.cpu - process.base)
            totals[process.group] = totals.get(process.group, 0) + used
        grown = {}
        for group, total in totals.items():
            growth = total - self._published.get(group, 0)
            if growth > 0:
                grown[group] = growth
                self._published[group] = total
        return grown

    def forget(self, group: int) -> None:
        """A group was released: its id may come back for another one."""
        self._retired.pop(group, None)
        self._published.pop(group, None)

    def _see(self, row: Row, gone: dict[int, _Process]) -> None:
        process = gone.get(row.pid)
        if process is not None and process.start == row.start:
            del gone[row.pid]
        else:
            process = _Process(row.start, row.ppid, row.group, 0)
        self._live[row.pid] = process
        if process.group != row.group:
            self.move(row.pid, row.group, row.cpu)
        process.ppid = row.ppid
        process.discards = row.discards
        process.cpu = max(process.cpu, row.cpu)

    def _flow_to_parent(self, pid: int, process: _Process) -> None:
        """A process is gone and not through the spawner: its time went to its parent."""
        parent = self._live.get(process.ppid)
        if parent is None:
            self._orphans[pid] = process
            return
        if parent.discards:
            self._retire(process.group, process.cpu - process.base)
        elif parent.group == process.group:
            parent.base += process.base
        else:
            self._retire(process.group, process.cpu - process.base)
            parent.base += process.cpu

    def _retire(self, group: int, amount: int) -> None:
        if amount > 0:
            self._retired[group] = self._retired.get(group, 0) + amount
