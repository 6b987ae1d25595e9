"""Running processes that change their groups: many at once, all of them or none.

While the agent is at it no trapped call goes on, so that nobody under a filter forks but those
whose fork had been let through before: their children are looked for until there are none.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import NamedTuple

from governor.wire import agent as wire
from workers import cpu, membership
from workers.accounts import Accounts
from workers.census import Census
from workers.confinement import Confinement
from workers.docket import Docket
from workers.membership import Tag

_LOOKS = 100
"""How often those who were forked meanwhile are looked for. One look more than forks that are
under way at once follow each other would do; processes without a filter fork all the time."""


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


class Moves:
    """Carries out moves. ``follow(job)`` is called before a process of it gets another tag."""

    def __init__(
        self,
        nonce: int,
        census: Census,
        accounts: Accounts,
        confinement: Confinement,
        docket: Docket,
        follow: Callable[[int], None],
    ) -> None:
        self._nonce = nonce
        self._census = census
        self._accounts = accounts
        self._confinement = confinement
        self._docket = docket
        self._follow = follow

    def carry_out(self, order: wire.MoveAll) -> wire.MovedAll:
        """Move everybody: each by one write, which takes its children to come along."""
        done: list[Move] = []
        try:
            moves = self._named(order)
            if order.within:
                self._check_room(moves)
            self._tag_all(moves, done)
            self._sweep({source: group for source, group in order.groups}, done)
        except _Refused as refused:
            self._put_back(order, done)
            return wire.MovedAll(order.request, refused.errno, refused.pid, refused.counter, [])
        moved = [(move.pid, move.source, move.new.group) for move in done]
        self._confinement.moved(moved)
        self._accounts.moved_all(moved)
        if self._docket:
            for pid, _, group in moved:
                self._docket.moved(self._census.threads(pid), group)
        return wire.MovedAll(order.request, 0, 0, 0, [_row(move) for move in done])

    # -- who -----------------------------------------------------------------------

    def _named(self, order: wire.MoveAll) -> list[Move]:
        """Those who are to move and have not ended, those from outside first.

        What they may be told is tried first by telling them what they know: only a process that
        nobody can tag is refused, and then nobody has moved yet.
        """
        moves = []
        for pid, job, _, group in order.processes:
            try:
                old = membership.read(pid)
                if old is not None and old.nonce == self._nonce:
                    membership.write(pid, old)
                    moves.append(Move(pid, old, old._replace(group=group)))
                elif old is None:
                    moves.append(Move(pid, None, Tag(self._nonce, job, group)))
                else:
                    raise _Refused(errno.EBUSY, pid)
            except ProcessLookupError:
                continue
            except OSError as error:
                raise _Refused(error.errno or errno.EPERM, pid) from None
        return sorted(moves, key=lambda move: move.old is not None)

    def _check_room(self, moves: Iterable[Move]) -> None:
        full = self._accounts.full_for((move.pid, move.source, move.new.group) for move in moves)
        if full is not None:
            raise _Refused(errno.EAGAIN, counter=full.id)

    # -- the switch ----------------------------------------------------------------

    def _tag_all(self, moves: Iterable[Move], done: list[Move]) -> None:
        """Tag them all; who has ended meanwhile is left out. ``done`` grows."""
        jobs: set[int] = set()
        for move in moves:
            if move.new.job not in jobs:
                jobs.add(move.new.job)
                self._follow(move.new.job)
            try:
                membership.write(move.pid, move.new)
                done.append(move)
                if membership.read(move.pid) != move.new:
                    raise _Refused(errno.EBUSY, move.pid)
            except ProcessLookupError:
                continue
            except OSError as error:
                raise _Refused(error.errno or errno.EPERM, move.pid) from None

    def _sweep(self, groups: dict[int, int], done: list[Move]) -> None:
        """Move whoever is in one of these groups, until there is nobody."""
        left = 0
        for _ in range(_LOOKS if groups else 0):
            late = [
                Move(pid, tag, tag._replace(group=groups[tag.group]))
                for pid, tag in self._census.members().items()
                if tag.group in groups
            ]
            if not late:
                return
            left = late[0].pid
            self._tag_all(late, done)
        if groups:
            raise _Refused(errno.EAGAIN, left)

    def _put_back(self, order: wire.MoveAll, done: list[Move]) -> None:
        """Nobody has moved: neither now, nor by an agent that was ended over the same order."""
        restored = {move.pid: move.old for move in done}
        for pid, _, source, group in order.processes:
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
        if restored:
            self._accounts.recount()


def _row(move: Move) -> list[int]:
    """What the supervisor is told of it, as `wire.agent.MovedAll` has it."""
    used = cpu.sample(move.pid)
    times = (used.own_ns + used.children_ns, used.user_ns, used.start, used.ppid) if used else ()
    return [move.pid, move.new.job, move.source or 0, *(times or (0, 0, 0, 0))]
