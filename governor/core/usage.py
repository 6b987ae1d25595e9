"""CPU time that is never lost, counted twice or taken back.

The kernel keeps a process's own time until it is reaped, and then adds it to whoever
reaped it: the parent (``children`` time, in clock ticks) or the spawner (exact). The
ledger follows that flow. A group's total is what its live processes used since they
joined, plus what has been retired; what is published never falls.

How much of it was user time follows the same flow. The kernel only estimates that part, so
an estimate may be mended later, but what has been published as user or as system time stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Use(NamedTuple):
    """CPU time in nanoseconds: all of it, and the part of it that was user time."""

    cpu: int = 0
    user: int = 0

    def plus(self, other: Use) -> Use:
        """Both together."""
        return Use(self.cpu + other.cpu, self.user + other.user)

    def since(self, before: Use) -> Use:
        """What was used after ``before``, and nothing when that is the larger one.

        The user part is an estimate, which may not move by more than there was.
        """
        cpu = max(0, self.cpu - before.cpu)
        return Use(cpu, min(max(0, self.user - before.user), cpu))


NOTHING = Use()


class Meter:
    """A sum that only grows, such as the CPU nanoseconds used in a container.

    ``user`` is the part of ``total`` that was user time; neither it nor the rest ever falls.
    """

    __slots__ = ("resource", "total", "user")

    def __init__(self, resource: str) -> None:
        self.resource = resource
        self.total = 0
        self.user = 0

    def add(self, amount: int, user: int = 0) -> None:
        """Add what was used; ``user``, at most ``amount``, is the part that was user time."""
        self.total += amount
        self.user += user

    @property
    def system(self) -> int:
        """The part that was not user time."""
        return self.total - self.user


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
    user: int
    """The part of both ``own`` and ``children`` that was user time."""

    @property
    def use(self) -> Use:
        """Own time and that of children it has reaped."""
        return Use(self.own + self.children, self.user)


class Kept(NamedTuple):
    """What a successor has to know of a process, so that its time is charged once.

    ``use`` is what it had used when it was last looked at, where that will be asked for.
    """

    start: int
    ppid: int
    group: int
    base: Use
    use: Use
    outside: bool
    discards: bool


class Total(NamedTuple):
    """CPU time of a group: of processes that have ended, and what was told of it in all."""

    retired: Use
    published: Use


class _Process:
    """What the ledger remembers of a live process; ``base`` is charged elsewhere."""

    __slots__ = ("base", "discarded", "discards", "group", "outside", "ppid", "start", "use")

    def __init__(self, start: int, ppid: int, group: int, base: Use) -> None:
        self.start = start
        self.ppid = ppid
        self.group = group
        self.base = base
        self.use = base
        self.outside = False
        """Whether its parent is no process of ours, so that nobody will report its end."""
        self.discards = self.discarded = 0
        """Whether it ignores SIGCHLD, and did so one sample before."""

    @property
    def here(self) -> Use:
        """What its group is charged for it while it lives."""
        return self.use.since(self.base)


class CpuLedger:
    """Turns samples of live processes and reports of reaped ones into totals per group."""

    def __init__(self) -> None:
        self._live: dict[int, _Process] = {}
        # Gone without a live parent, or joined while the sample was taken: the spawner's report
        # about them, or the next sample with them, has yet to come. Kept for their ``base``.
        self._orphans: dict[int, _Process] = {}
        self._retired: dict[int, Use] = {}
        self._published: dict[int, Use] = {}
        self.changed: set[int] = set()
        """Groups whose totals have changed, for whoever records them and takes them out here."""
        # Processes reaped lately: a sample taken before their end may arrive after it.
        self._reaped: set[tuple[int, int]] = set()
        self._reaped_before: set[tuple[int, int]] = set()

    def enter(self, pid: int, start: int, group: int, base: Use, outside: bool = False) -> None:
        """A process joins a group having used ``base``, which is not the group's.

        ``outside``: it was not started by the spawner, which will not report its end.
        """
        self._live[pid] = process = _Process(start, 0, group, base)
        process.outside = outside

    def meet(self, pid: int, start: int, ppid: int, group: int) -> None:
        """A process of ``group`` is there, which may be too young for any sample to have shown it.

        What it has used until now is the group's.
        """
        if pid not in self._live and (pid, start) not in self._reaped | self._reaped_before:
            known = _take(self._orphans, pid, start)  # it joined while the last sample was taken
            self._live[pid] = known or _Process(start, ppid, group, NOTHING)

    def move(self, pid: int, group: int, use: Use) -> None:
        """A process moves to ``group`` having used ``use`` so far in all."""
        process = self._live.get(pid)
        if process is None:
            return
        # A process that ended meanwhile has no clock any more, and ``use`` is nothing.
        process.use = max(use, process.use)
        self._retire(process.group, process.here)
        process.group = group
        process.base = process.use

    def reap(self, pid: int, start: int, group: int, use: Use) -> None:
        """The spawner reaped a process of ``group`` that used ``use`` in all."""
        process = _take(self._live, pid, start) or _take(self._orphans, pid, start)
        base = NOTHING
        if process is not None:
            base = process.base
            if process.group != group:  # it was moved, and nobody has said so yet
                self._retire(process.group, process.here)
                base = process.use
        self._retire(group, use.since(base))
        self._reaped.add((pid, start))

    def observe(self, rows: Iterable[Row]) -> None:
        """Take in a sample of all live processes."""
        gone, self._live = self._live, {}
        for row in rows:
            if (row.pid, row.start) not in self._reaped | self._reaped_before:
                self._see(row, gone)
        for pid, process in gone.items():
            self._flow_to_parent(pid, process)
        self._reaped_before, self._reaped = self._reaped, set()

    def drain(self) -> dict[int, Use]:
        """What each group used since the last call; groups that used nothing left out."""
        totals = dict(self._retired)
        reaped = {pid for pid, _ in self._reaped | self._reaped_before}
        for process in self._live.values():
            if not self._may_be_in(reaped, process):
                totals[process.group] = totals.get(process.group, NOTHING).plus(process.here)
        grown = {}
        for group, total in totals.items():
            published = self._published.get(group, NOTHING)
            growth = total.since(published)
            if growth.cpu:
                grown[group] = growth
                self.changed.add(group)
                self._published[group] = published.plus(growth)
        return grown

    def forget(self, group: int) -> None:
        """A group was released: its id may come back for another one."""
        self._retired.pop(group, None)
        self._published.pop(group, None)
        self.changed.add(group)

    # -- what a successor needs ----------------------------------------------------

    @property
    def live(self) -> list[int]:
        """The processes that are known."""
        return list(self._live)

    @property
    def orphans(self) -> list[int]:
        """Those that are gone and were not reported yet."""
        return list(self._orphans)

    def kept(self, pid: int) -> Kept | None:
        """What has to be known of a live process; None for one whose time is all its group's."""
        process = self._live.get(pid)
        if process is None:
            return None
        parent = self._live.get(process.ppid)
        asked = process.outside or (
            parent is not None
            and (parent.group != process.group or bool(parent.discards and parent.discarded))
        )
        if not (asked or process.base.cpu or (process.discards and process.discarded)):
            return None
        return _kept(process, process.use if asked else process.base)

    def kept_orphan(self, pid: int) -> Kept | None:
        """The same of one that is gone."""
        process = self._orphans.get(pid)
        return None if process is None else _kept(process, process.use)

    def total(self, group: int) -> Total | None:
        """The totals of a group; None when there is nothing."""
        if group not in self._retired and group not in self._published:
            return None
        return Total(self._retired.get(group, NOTHING), self._published.get(group, NOTHING))

    def load(
        self, live: Mapping[int, Kept], orphans: Mapping[int, Kept], totals: Mapping[int, Total]
    ) -> None:
        """Go on where another ledger, of which this was kept, has ended."""
        self._live = {pid: _process(kept) for pid, kept in live.items()}
        self._orphans = {pid: _process(kept) for pid, kept in orphans.items()}
        self._retired = {group: total.retired for group, total in totals.items()}
        self._published = {group: total.published for group, total in totals.items()}

    def _may_be_in(self, reaped: set[int], process: _Process) -> bool:
        """Whether a forebear was reaped after the last sample was taken.

        It may have reaped this process before, whose time would then be counted twice. The
        next sample tells: either this process is gone, or it has got another parent.
        """
        for _ in self._live:  # not for ever: a pid that came back may have closed a ring
            parent = self._live.get(process.ppid)
            if parent is None:
                break
            process = parent
        return process.ppid in reaped

    def _see(self, row: Row, gone: dict[int, _Process]) -> None:
        process = _take(gone, row.pid, row.start) or _take(self._orphans, row.pid, row.start)
        if process is None:
            process = _Process(row.start, row.ppid, row.group, NOTHING)
        self._live[row.pid] = process
        if process.group != row.group:
            self.move(row.pid, row.group, row.use)
        process.ppid = row.ppid
        process.discarded, process.discards = process.discards, row.discards
        process.use = max(process.use, row.use)

    def _flow_to_parent(self, pid: int, process: _Process) -> None:
        """A process is gone and not through the spawner: its time went to its parent."""
        parent = self._live.get(process.ppid)
        if parent is None:
            if process.outside:
                self._retire(process.group, process.here)
            elif process.base.cpu:
                self._orphans[pid] = process
            return
        if parent.discarded and parent.discards:
            self._retire(process.group, process.here)
        elif parent.group == process.group:
            parent.base = parent.base.plus(process.base)
        else:
            self._retire(process.group, process.here)
            parent.base = parent.base.plus(process.use)

    def _retire(self, group: int, amount: Use) -> None:
        if amount.cpu:
            self.changed.add(group)
            self._retired[group] = self._retired.get(group, NOTHING).plus(amount)


def _kept(process: _Process, use: Use) -> Kept:
    return Kept(
        process.start,
        process.ppid,
        process.group,
        process.base,
        use,
        process.outside,
        bool(process.discards and process.discarded),
    )


def _process(kept: Kept) -> _Process:
    process = _Process(kept.start, kept.ppid, kept.group, kept.base)
    process.use = kept.use
    process.outside = kept.outside
    process.discards = process.discarded = int(kept.discards)
    return process


def _take(processes: dict[int, _Process], pid: int, start: int) -> _Process | None:
    """Take out a process, unless the pid is another's by now."""
    process = processes.get(pid)
    if process is None or process.start != start:
        return None
    return processes.pop(pid)
