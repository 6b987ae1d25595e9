"""The CPU ledger against a simulated kernel that knows who used what.

The kernel's own figures are exact; a process's ``children`` are shown in whole ticks. Rows of a
sample are read one after the other, parents before their children, while everything goes on, and
the sample arrives later still. Reports of the spawner arrive in order, some time after the reaping.

The user part of a process's own time is an estimate from the ticks that have found it in user
mode, and may be wrong by anything before the first tick; reports have it as the kernel divides it.
"""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from governor.core.usage import CpuLedger, Meter, Row, Use

TICK = 10_000_000
MS = 1_000_000
SPAWNER = 1

times = st.one_of(st.integers(0, 5 * TICK), st.sampled_from([1, TICK - 1, TICK, 700 * MS]))


class Process:
    """A process of the simulated kernel; times in ns."""

    def __init__(self, pid: int, ppid: int, group: int, ignores: bool) -> None:
        self.pid = pid
        self.start = pid * 3
        self.ppid = ppid
        self.group = group
        self.ignores = ignores
        self.own = self.user = 0
        self.children = self.children_user = 0
        self.zombie = self.moved = False

    @property
    def total(self) -> int:
        return self.own + self.children

    @property
    def use(self) -> Use:
        return Use(self.total, self.user + self.children_user)

    def row(self) -> Row:
        user = self.children_user // TICK * TICK
        system = (self.children - self.children_user) // TICK * TICK
        ignores, guess = int(self.ignores), min(self.own, -(-self.user // TICK) * TICK)
        figures = (self.own, user + system, ignores, guess + user)
        return Row(self.pid, self.start, self.ppid, self.group, *figures)


class Kernel(RuleBasedStateMachine):
    """Processes come, work, move and go; samples and reports reach the ledger in their own time."""

    may_ignore = False
    may_move = False

    @initialize()
    def begin(self) -> None:
        self.ledger = CpuLedger()
        self.meters = {group: Meter("cpu") for group in (1, 2)}
        self.processes: dict[int, Process] = {}
        self.reports: list[tuple[int, int, int, Use]] = []
        self.reading: list[int] = []
        self.rows: list[Row] | None = None
        self.moving: tuple[int, int, Use] | None = None
        self.meeting: tuple[int, int, int, int] = 0, 0, 0, 0
        self.used = {1: 0, 2: 0}
        self.user = 0
        self.lost = self.doubt = 0
        self.pids = itertools.count(100).__next__
        self.start_job(0, 1)

    def living(self) -> list[int]:
        return [p.pid for p in self.processes.values() if not p.zombie]

    def zombies(self, parent: int) -> list[Process]:
        return [p for p in self.processes.values() if p.zombie and p.ppid == parent]

    def draw(self, data: st.DataObject) -> Process:
        return self.processes[data.draw(st.sampled_from(self.living()))]

    # -- processes -----------------------------------------------------------------

    @rule(base=times, user=times, group=st.sampled_from([1, 2]))
    def start_job(self, base: int, group: int, user: int = 0) -> None:
        """A worker has used something before it joins its group."""
        group = group if self.may_move else 1
        process = Process(self.pids(), SPAWNER, group, False)
        process.own, process.user = base, min(base, user)
        self.processes[process.pid] = process
        self.ledger.enter(process.pid, process.start, group, process.use)

    @precondition(lambda self: self.living())
    @rule(data=st.data(), count=st.integers(1, 3))
    def fork(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            parent = self.draw(data)
            child = Process(self.pids(), parent.pid, parent.group, parent.ignores)
            self.processes[child.pid] = child

    @precondition(lambda self: self.living())
    @rule(data=st.data(), amounts=st.lists(st.tuples(times, times), min_size=1, max_size=4))
    def run_for_a_while(self, data: st.DataObject, amounts: list[tuple[int, int]]) -> None:
        for user, system in amounts:
            process = self.draw(data)
            process.own += user + system
            process.user += user
            self.user += user
            self.used[process.group] += user + system

    @precondition(lambda self: self.may_ignore and self.living())
    @rule(data=st.data())
    def ignore_sigchld(self, data: st.DataObject) -> None:
        """Zombies that are there already would stay, and could still be waited for."""
        process = self.draw(data)
        process.ignores = process.ignores or not self.zombies(process.pid)

    @precondition(lambda self: self.living())
    @rule(data=st.data(), waited_for=st.booleans())
    def exit(self, data: st.DataObject, waited_for: bool) -> None:
        process = self.draw(data)
        process.zombie = True
        for child in self.processes.values():
            if child.ppid == process.pid:
                child.ppid = SPAWNER
        parent = self.processes.get(process.ppid)
        if parent is not None and parent.ignores:
            self.lost += self.processes.pop(process.pid).total
        elif waited_for:
            self.wait(process)

    def wait(self, process: Process) -> None:
        """The parent reaps: its children's time grows, or the spawner reports."""
        del self.processes[process.pid]
        if process.ppid == SPAWNER:
            report = (process.pid, process.start, process.group, process.use)
            self.reports.append(report)
        else:
            parent = self.processes[process.ppid]
            parent.children += process.total
            parent.children_user += process.use.user

    @rule(data=st.data())
    def wait_for_zombies(self, data: st.DataObject) -> None:
        for process in [p for p in self.processes.values() if p.zombie]:
            if data.draw(st.booleans()):
                self.wait(process)

    # -- what the ledger hears -----------------------------------------------------

    @precondition(lambda self: self.reports)
    @rule(count=st.integers(1, 9))
    def reports_arrive(self, count: int) -> None:
        for report in self.reports[:count]:
            self.ledger.reap(*report)
        del self.reports[:count]

    @precondition(lambda self: self.rows is None and self.moving is None)
    @rule()
    def begin_a_sample(self) -> None:
        """The supervisor hears the spawner out before it asks again."""
        self.reports_arrive(len(self.reports))
        self.reading, self.rows = list(self.processes), []

    @precondition(lambda self: self.reading)
    @rule(count=st.integers(1, 9))
    def read_rows(self, count: int) -> None:
        assert self.rows is not None
        for pid in self.reading[:count]:
            if pid in self.processes:
                self.rows.append(self.processes[pid].row())
        del self.reading[:count]

    @precondition(lambda self: self.rows is not None)
    @rule()
    def the_sample_arrives(self) -> None:
        self.read_rows(len(self.reading))
        assert self.rows is not None
        self.ledger.observe(self.rows)
        self.rows = None

    @rule()
    def sample_at_once(self) -> None:
        if self.rows is None and self.moving is None:
            self.begin_a_sample()
            self.the_sample_arrives()
            self.publish()

    # -- moving --------------------------------------------------------------------

    @precondition(
        lambda self: self.may_move and self.rows is None and self.moving is None and self.living()
    )
    @rule(data=st.data())
    def begin_a_move(self, data: st.DataObject) -> None:
        """The agent writes the tag and reads the clock; the supervisor hears of it later."""
        process = self.draw(data)
        process.group = 3 - process.group
        process.moved = True
        row = process.row()
        self.meeting = process.pid, row.start, row.ppid, 3 - process.group
        self.moving = process.pid, process.group, row.use

    @precondition(lambda self: self.moving)
    @rule()
    def the_move_is_known(self) -> None:
        assert self.moving is not None
        self.ledger.meet(*self.meeting)
        self.ledger.move(*self.moving)
        self.moving = None

    # -- what must hold ------------------------------------------------------------

    @rule()
    def publish(self) -> None:
        for group, growth in self.ledger.drain().items():
            assert growth.cpu > 0
            assert 0 <= growth.user <= growth.cpu, "user or system time would fall"
            self.meters[group].add(*growth)

    @property
    def total(self) -> int:
        return sum(meter.total for meter in self.meters.values())

    def end_everything(self) -> None:
        """All is reaped, the last of it by the spawner, and reported."""
        if self.rows is not None:
            self.the_sample_arrives()
        if self.moving is not None:
            self.the_move_is_known()
        for process in sorted(self.processes.values(), key=lambda p: -p.pid):
            process.zombie = True
            parent = self.processes.get(process.ppid)
            if parent is not None and parent.ignores:
                self.lost += self.processes.pop(process.pid).total
            else:
                self.wait(process)
        self.reports_arrive(len(self.reports))
        self.publish()


class OneGroup(Kernel):
    """Within one group nothing is ever counted twice, and nothing is missing at the end."""

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        self.publish()
        assert self.total <= sum(self.used.values())

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            processes = self.pids() - 100
            self.end_everything()
            assert self.total == sum(self.used.values())
            # What was once guessed too high stays: for each process less than a tick.
            user = sum(meter.user for meter in self.meters.values())
            assert abs(user - self.user) <= processes * TICK


class Ignoring(Kernel):
    """What children of a process that ignores SIGCHLD used is kept as far as it was seen."""

    may_ignore = True

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        self.publish()
        assert self.total <= sum(self.used.values())

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.end_everything()
            assert sum(self.used.values()) - self.lost <= self.total <= sum(self.used.values())


class Mixed(Kernel):
    """With moves and children together, doubt is about what crosses groups on its way up.

    That is what a process used that was reaped by a parent not of its group, or when either has
    ever moved: the time from its last sample on goes to the parent's group, and all of it may be
    in both when parent and child end between two samples. Nothing is ever missing.
    """

    may_move = True

    def wait(self, process: Process) -> None:
        parent = self.processes.get(process.ppid)
        if parent is not None and (process.moved or parent.moved or process.group != parent.group):
            self.doubt += process.total
        super().wait(process)

    @invariant()
    def little_is_counted_twice(self) -> None:
        self.publish()
        assert self.total <= sum(self.used.values()) + self.doubt

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.end_everything()
            assert 0 <= self.total - sum(self.used.values()) <= self.doubt


class Moving(Kernel):
    """With two groups and everything reaped by the spawner, each gets its own to within a tick.

    A process that moves leaves what it used behind; of its children's time, only whole ticks.
    """

    may_move = True

    @rule()
    def fork(self) -> None:
        """Without children of children: those go through their parents."""

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        self.publish()
        assert self.total <= sum(self.used.values())

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.end_everything()
            assert self.total == sum(self.used.values())


TestOneGroup = OneGroup.TestCase
TestIgnoring = Ignoring.TestCase
TestMixed = Mixed.TestCase
TestMoving = Moving.TestCase
for _case in (TestOneGroup, TestIgnoring, TestMixed, TestMoving):
    _case.settings = settings(max_examples=150)
del _case
