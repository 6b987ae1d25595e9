"""Running processes that change their groups: many at once, all of them or none."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from governor.wire import agent as wire
from workers import cpu, membership, tasks
from workers.accounts import Accounts
from workers.bills import Verdict
from workers.census import Census
from workers.confinement import Confinement
from workers.docket import Docket
from workers.membership import Tag
from workers.passages import Passages
from workers.tasks import Reservation

PATIENCE = 1.0
"""Seconds in which forks under way have to end; nobody waits for a process that never runs."""

_GENERATIONS = 100
"""So often at most is looked for children of those that are put back, who may fork themselves."""


class Move(NamedTuple):
    """A process whose tag changes; ``old`` is None when it comes from outside."""

    pid: int
    old: Tag | None
    new: Tag

    @property
    def source(self) -> int | None:
        """The group it was in."""
        return None if self.old is None else self.old.group


class _Refused(Exception):
    """Nobody moves: because of a process, or since a counter has no room."""

    def __init__(self, errno: int, pid: int = 0, counter: int = 0) -> None:
        super().__init__(errno, pid, counter)
        self.errno, self.pid, self.counter = errno, pid, counter


class _UnderWay:
    """An order that is being carried out: who has moved, and who may yet bring a child."""

    def __init__(self, order: wire.MoveAll) -> None:
        self.order = order
        self.groups = {source: group for source, group in order.groups}
        self.done: list[Move] = []
        self.used: dict[int, cpu.Sample | None] = {}
        """What each of them had used when it had just moved."""
        self.forks: dict[int, Reservation] = {}
        """Of threads whose forks are not trapped: what they were doing when they moved."""
        self.begun = False
        """Whether those who are named have moved."""
        self.born_since = cpu.ticks_now()
        """A process that began earlier has not been forked meanwhile."""
        self._deadline = time.monotonic() + PATIENCE

    @property
    def overdue(self) -> bool:
        """Whether it has taken long enough."""
        return time.monotonic() >= self._deadline

    def rows(self) -> list[list[int]]:
        """What the supervisor is told of those who have moved, as `wire.agent.MovedAll` has it."""
        return [_row(move, self.used[move.pid]) for move in self.done]


class Moves:
    """Carries out one order at a time.

    ``follow(job)`` is called before a process of it gets another tag; ``traps_forks(job)`` tells
    whether its forks are trapped, so that all that may be under way are reserved.
    """

    def __init__(
        self,
        nonce: int,
        census: Census,
        accounts: Accounts,
        confinement: Confinement,
        docket: Docket,
        follow: Callable[[int], None],
        traps_forks: Callable[[int], bool],
        fork_calls: Iterable[int],
    ) -> None:
        self._nonce = nonce
        self._census = census
        self._accounts = accounts
        self._passages = Passages(accounts)
        self._confinement = confinement
        self._docket = docket
        self._follow = follow
        self._traps_forks = traps_forks
        self._fork_calls = frozenset(fork_calls)
        self._under_way: _UnderWay | None = None
        self.groups: set[int] = set()
        """Those that the last order has moved somebody from (0: from outside), or to."""

    def __bool__(self) -> bool:
        """Whether an order has to be gone on with in a moment."""
        return self._under_way is not None

    def begin(self, order: wire.MoveAll) -> wire.MovedAll | None:
        """Move everybody, each by one write, which takes its children to come along.

        None: forks are under way that may take room, or whose children are not there yet; see
        `again`.
        """
        self._under_way = _UnderWay(order)
        return self.again()

    def again(self) -> wire.MovedAll | None:
        """Look for those who have been born meanwhile; the answer when nobody else will be.

        A child takes its parent's tag early in a fork, and appears late.
        """
        work = self._under_way
        assert work is not None
        try:
            if not work.begun:
                moves = self._named(work.order)
                if not self._have_room(moves, work):
                    return None
                work.begun = True
                self._switch(moves, work)
            while work.groups:
                forking = self._is_forking(work)  # before the look: then their children are seen
                late = self._late(work.groups)
                self._switch(late, work)
                if work.overdue and late:
                    raise _Refused(errno.EAGAIN, late[0].pid)
                if not late and (work.overdue or not forking):
                    break
                if forking:
                    return None
        except _Refused as refused:
            return self._put_back(work, refused)
        self._under_way = None
        self.groups = {id for move in work.done for id in (move.source or 0, move.new.group)}
        return wire.MovedAll(work.order.request, 0, 0, 0, work.rows())

    # -- who -----------------------------------------------------------------------

    def _named(self, order: wire.MoveAll) -> list[Move]:
        """Those who are to move and have not ended.

        Those from outside come first: what could not be tagged is mostly one of them, and is
        refused before anybody else has moved.
        """
        moves = []
        for pid, job, _, group in order.processes:
            try:
                old = membership.read(pid)
                if old is None:
                    moves.append(Move(pid, None, Tag(self._nonce, job, group)))
                elif old.nonce == self._nonce:
                    moves.append(Move(pid, old, Tag(self._nonce, old.job, group)))
                else:
                    raise _Refused(errno.EBUSY, pid)
            except ProcessLookupError:
                continue
            except OSError as error:
                raise _Refused(error.errno or errno.EPERM, pid) from None
        return sorted(moves, key=lambda move: move.old is not None)

    def _have_room(self, moves: Iterable[Move], work: _UnderWay) -> bool:
        """Whether there is room for them, or none is asked for; False: that will be seen."""
        if not work.order.within:
            return True
        verdict, counter = self._passages.judge(
            (move.pid, move.source, move.new.group) for move in moves
        )
        if counter is not None and (verdict is Verdict.REFUSE or work.overdue):
            raise _Refused(errno.EAGAIN, counter=counter.id)
        return verdict is Verdict.ADMIT

    def _late(self, groups: dict[int, int]) -> list[Move]:
        """Whoever is in one of these groups, with the one to be in."""
        return [
            Move(pid, tag, tag._replace(group=groups[tag.group]))
            for pid, tag in self._census.members().items()
            if tag.group in groups
        ]

    def _is_forking(self, work: _UnderWay) -> bool:
        """Whether a fork is under way that was let through in one of the groups."""
        work.forks = {
            tid: reservation
            for tid, reservation in work.forks.items()
            if not tasks.settled(reservation, self._fork_calls)
        }
        return bool(work.forks) or self._accounts.reservations.is_forking(work.groups.keys())

    # -- the switch ----------------------------------------------------------------

    def _switch(self, moves: list[Move], work: _UnderWay) -> None:
        """Tag them all; who has ended meanwhile is left out. Then what they hold follows.

        Where another governor lets no tag be written, as a call that does nothing, it does so
        for all that this process writes: looking at the first one is enough.
        """
        jobs = {move.new.job for move in moves}
        for job in jobs:
            self._follow(job)
        first = len(work.done)
        for move in moves:
            try:
                membership.write(move.pid, move.new)
                work.done.append(move)
                if len(work.done) == first + 1 and membership.read(move.pid) != move.new:
                    raise _Refused(errno.EBUSY, move.pid)
            except ProcessLookupError:
                continue
            except OSError as error:
                raise _Refused(error.errno or errno.EPERM, move.pid) from None
        moved = [(move.pid, move.source, move.new.group) for move in work.done[first:]]
        self._confinement.moved(moved)
        used = {pid: cpu.sample(pid) for pid, _, _ in moved}
        work.used.update(used)
        self._passages.charge(moved, {pid: s.threads if s else 0 for pid, s in used.items()})
        if self._docket:
            for pid, _, group in moved:
                self._docket.moved(self._census.threads(pid), group)
        if work.groups:
            untrapped = {job for job in jobs if not self._traps_forks(job)}
            self._note_forks(work, [move.pid for move in moves if move.new.job in untrapped])

    def _note_forks(self, work: _UnderWay, pids: Iterable[int]) -> None:
        for pid in pids:
            for tid in self._census.threads(pid):
                work.forks[tid] = tasks.reserve(tid)

    def _put_back(self, work: _UnderWay, refused: _Refused) -> wire.MovedAll:
        """Nobody has moved: neither now, nor by an agent that was ended over the same order."""
        self._under_way = None
        self.groups = set()
        restored = {move.pid: move.old for move in work.done}
        for pid, _, source, group in work.order.processes:
            tag = membership.read_ours(pid, self._nonce)
            if pid not in restored and tag is not None and tag.group == group != source:
                restored[pid] = tag._replace(group=source) if source else None
        for pid, old in restored.items():
            try:
                if old is None:
                    membership.clear(pid)
                else:
                    membership.write(pid, old)
            except OSError:  # it has ended, or nobody can do anything for it
                continue
        self._put_back_children(work)
        if restored:
            self._confinement.moved([(p, None, old.group) for p, old in restored.items() if old])
            self._accounts.recount()
        request = work.order.request
        return wire.MovedAll(request, refused.errno, refused.pid, refused.counter, [])

    def _put_back_children(self, work: _UnderWay) -> None:
        """Whoever was born of those that had moved goes where these are again."""
        origins = {move.new: move.old for move in work.done}
        for _ in range(_GENERATIONS if origins else 0):
            members = self._census.members()
            tagged = {pid: cpu.sample(pid) for pid, tag in members.items() if tag in origins}
            born = {
                pid: sample.ppid
                for pid, sample in tagged.items()
                if sample is not None and sample.start >= work.born_since
            }
            elders = tagged.keys() - born.keys()  # who was there before keeps its children
            strays = [pid for pid, parent in born.items() if parent not in elders]
            for pid in strays:
                old = origins[members[pid]]
                with suppress(OSError):
                    membership.clear(pid) if old is None else membership.write(pid, old)
            if not strays:
                break


def _row(move: Move, used: cpu.Sample | None) -> list[int]:
    row = [move.pid, move.new.job, move.source or 0]
    if used is None:
        return [*row, 0, 0, 0, 0]
    return [*row, used.own_ns + used.children_ns, used.user_ns, used.start, used.ppid]
