"""Supervisor and agent: who is placed where, what it is charged, what was counted."""

from __future__ import annotations

from typing import Final

from governor.wire.codec import Catalogue
from governor.wire.named import Named

LATENCY_BOUNDS: Final = (
    5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000, 10_000_000, 100_000_000, 1_000_000_000,
)  # fmt: skip
"""Nanoseconds between which `Trapped` sorts how long answers took."""


class Hello(Named):
    """Agent: I am here and listening to you."""

    pid: int


class SetCounter(Named):
    """Supervisor: a counter exists, or its limit has changed. ``limit`` is 2**63-1 for none."""

    id: int
    resource: str
    limit: int


class SetBarrier(Named):
    """Supervisor: ordinary callers are refused at ``barrier``, privileged ones at the limit."""

    id: int
    barrier: int


class SetInterval(Named):
    """Supervisor: the counter is a rate; its limit is for so many seconds, 0 for no rate."""

    id: int
    interval: float


class SetLender(Named):
    """Supervisor: what the counter holds over ``guarantee`` is borrowed from ``lender``.

    The lender is a counter that the agent has been told of; 0 for none.
    """

    id: int
    lender: int
    guarantee: int


class Reset(Named):
    """Supervisor: start ``figure`` again.

    maxheld and minheld start from what is held now, failcnt and admitted from 0, and since,
    the running interval of a rate, with the next charge.
    """

    id: int
    figure: str


class DropCounter(Named):
    """Supervisor: the container of this counter is gone."""

    id: int


class SetPlan(Named):
    """Supervisor: what to do for the processes of a group; see `governor.core.plan.Plan`."""

    group: int
    charges: dict[str, list[int]]
    counts: dict[str, list[int]]
    confined: dict[str, list[int]]


class DropPlan(Named):
    """Supervisor: nobody is in this group any more."""

    group: int


class Place(Named):
    """Supervisor: admit a job's first process to its group; its listener is on the channel.

    ``traps``: the facilities its filter traps; without any there is no listener.
    """

    job: int
    pid: int
    group: int
    traps: list[str]


class Placed(Named):
    """Agent: the process is in its group, or ``counter`` had no room for it (else 0).

    ``errno`` is not 0 when the process could not be tagged, so that it cannot be followed.
    ``cpu`` is what the process had used before, in nanoseconds, ``start`` its start time
    in clock ticks since boot.
    """

    job: int
    counter: int
    errno: int
    cpu: int
    start: int


class MoveAll(Named):
    """Supervisor: put running processes, and their children to come, into other groups, or none.

    ``processes``: a process, the job that is to own it if none does yet, the group it is in (0:
    none), and the one it is to be in, in each row. ``groups``: whoever is found in the first one
    of a row is to be in the second, until nobody is found. ``within``: refused when a counter has
    no room for all of them.
    """

    request: int
    processes: list[list[int]]
    groups: list[list[int]]
    within: bool


class MovedAll(Named):
    """Agent: the answer to `MoveAll`; nobody has moved where ``errno`` is not 0.

    Then ``pid`` could not be moved, or ``counter`` had no room (else 0). ``moved`` are those who
    had not ended, in each row: a process, its job, the group it was in (0: none), what it has used
    with the children it waited for in nanoseconds, the part of that which was user time, its start
    time in clock ticks since boot, and its parent.
    """

    request: int
    errno: int
    pid: int
    counter: int
    moved: list[list[int]]


class Count(Named):
    """Supervisor: recount everything."""

    request: int


class CountSome(Named):
    """Supervisor: recount these counters; the answer is `Figures` without rows."""

    request: int
    counters: list[int]


class Figures(Named):
    """Agent: the answer to `Count` and to `CountSome`.

    ``counters``: id, held, minheld, maxheld, failcnt, admitted, of those that have changed since
    the last time. ``rows``: the fields of `governor.core.usage.Row` up to ``discards``, the job,
    and the last field, ``user``; whoever reads them looks no further than it knows.
    ``unreadable``: groups with a process whose files cannot be looked into.
    """

    request: int
    counters: list[list[int]]
    rows: list[list[int]]
    unreadable: list[int]


class Trapped(Named):
    """Agent, before `Figures`: what it has had to do since it last told of that.

    ``calls``: the number of a system call and how often it was trapped, in each row.
    ``answers``: how long answers took, those of the short way first, then those of calls that
    were looked at closely: nanoseconds together, and how many took up to each of
    `LATENCY_BOUNDS` and no earlier one, or longer. ``recounts``: how often counters were counted
    from the kernel, in ``recounting`` nanoseconds.
    """

    calls: list[list[int]]
    answers: list[list[int]]
    recounts: int
    recounting: int


class Refusals(Named):
    """Agent, before `Resumed`: how many calls each counter has refused, the ones not told of too.

    ``figures`` has a counter and its failcnt in each row. Also said when one has been reset, after
    all refusals before that have been told of.
    """

    figures: list[list[int]]


class JobHit(Named):
    """Agent: a job's processes met a bound ``times`` times since this was last told of it.

    ``bound`` is limit or barrier, for calls refused there, or passed, for a privileged caller
    that went from below the barrier over it. ``held`` is what was held, and ``pid`` the process
    that called, the last time. ``job`` is 0 for processes of no job.
    """

    counter: int
    bound: str
    job: int
    times: int
    held: int
    pid: int


class JobRefusals(Named):
    """Agent, before `Refusals`: how many calls of each job each counter has refused.

    ``figures`` has a job, a counter, the calls and what was held at the last of them in each row,
    until `JobEnded`.
    """

    figures: list[list[int]]


class Tell(Named):
    """Supervisor: tell of every refusal until now, then answer with `Pong`."""

    request: int


class JobEnded(Named):
    """Supervisor: nobody will ask what this job was refused."""

    job: int


class Listening(Named):
    """Supervisor, on the channel: the descriptor that comes along is this job's listener."""

    job: int


class Ping(Named):
    """Supervisor: say when everything before this has been carried out."""

    request: int


class Pong(Named):
    """Agent: the answer to `Ping`."""

    request: int


class Stop(Named):
    """Supervisor: the work is done, end."""


class Entering(Named):
    """Agent: a process is about to enter other namespaces, or its next child is (``child``).

    Its call waits for `Enter` with the same ``ticket``.
    """

    ticket: int
    pid: int
    child: bool


class Enter(Named):
    """Supervisor: the process, or its next child, is to be in this group; 0: where it is."""

    ticket: int
    group: int


class Entered(Named):
    """Agent: the call is over; ``entered`` says whether anybody is in other namespaces now.

    ``cpu`` and ``start`` as in `Placed`, of the process that called.
    """

    ticket: int
    entered: bool
    cpu: int
    start: int


class Adopt(Named):
    """Supervisor: a job that another agent has placed; its listener is on the channel.

    To be listened to from `Resume` on. ``group`` is where the job was placed.
    """

    job: int
    group: int
    traps: list[str]


class Resume(Named):
    """Supervisor: all has been told that another agent knew; go on where it was ended."""

    request: int


class Resumed(Named):
    """Agent: the answer to `Resume`; ``tickets`` are those of calls that are not over yet."""

    request: int
    tickets: list[int]


FROM_AGENT = Catalogue(
    [
        Hello,
        Placed,
        Pong,
        Figures,
        Entering,
        Entered,
        Resumed,
        Refusals,
        Trapped,
        JobHit,
        JobRefusals,
        MovedAll,
    ]
)
ON_CHANNEL = Catalogue([Listening])
TO_AGENT = Catalogue(
    [
        SetCounter,
        SetBarrier,
        SetInterval,
        SetLender,
        Reset,
        DropCounter,
        SetPlan,
        DropPlan,
        Place,
        Count,
        Ping,
        Stop,
        Enter,
        Adopt,
        Resume,
        Tell,
        JobEnded,
        CountSome,
        MoveAll,
    ]
)
