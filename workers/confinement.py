"""Keeping the processes of groups on their CPUs, and their memory on its nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from workers import affinity, membership
from workers.accounts import Accounts
from workers.census import Census
from workers.tasks import Reservation

if TYPE_CHECKING:
    from workers.memory import Mover
    from workers.passages import Moved


class Confinement:
    """Confines members when a set changes, and whoever comes in."""

    def __init__(self, census: Census, accounts: Accounts, nonce: int) -> None:
        self._census = census
        self._accounts = accounts
        self._nonce = nonce
        # Group to the forks that were under way when its processes were confined.
        self._confining: dict[int, dict[int, Reservation]] = {}
        # Made by the first plan that says anything about memory.
        self._mover: Mover | None = None

    def __bool__(self) -> bool:
        """Whether somebody who was in a fork has yet to be confined."""
        return bool(self._confining)

    def cpus_of(self, tid: int) -> frozenset[int] | None:
        """The CPUs that a thread is confined to, None for any; ProcessLookupError when gone."""
        tag = membership.read(tid)
        terms = self._accounts.terms.get(tag.group) if tag and tag.nonce == self._nonce else None
        return terms.cpus if terms else None

    def set_plan(self, group: int, confined: Mapping[str, list[int]], changed: bool) -> None:
        """A group's sets are these; ``changed``: its members go by other CPUs yet."""
        if changed:
            self.confine(group)
        if self._mover is None and "mems" in confined:
            from workers.memory import Mover

            self._mover = Mover(self._members)
        if self._mover is not None:
            self._mover.set_plan(group, confined)

    def drop_plan(self, group: int) -> None:
        """Nobody is in this group any more."""
        if self._mover is not None:
            self._mover.drop_plan(group)

    def moved(self, moves: Collection[Moved]) -> None:
        """Processes have moved, each from a group, or from outside, to another."""
        for group in dict.fromkeys(new for _, _, new in moves):
            self.confine(group)
        if self._mover is not None:
            for pid, old, new in moves:
                self._mover.moved(pid, old, new)

    def resume(self, groups: Iterable[int]) -> None:
        """Another agent may have been confining some of these when it was ended."""
        forks = self._accounts.reservations.forking()
        for group in groups:
            self.confine(group, forks)

    def confine(self, group: int, forks: dict[int, Reservation] | None = None) -> None:
        """Set the affinity of every member; given ``forks``, of those outside the set only.

        A child takes its parent's affinity early in a fork and appears late: whoever was
        in a fork when the set changed may yet bring a child with the old one. So this is
        done `again` until those ``forks`` are over.
        """
        terms = self._accounts.terms.get(group)
        if terms is None or terms.cpus is None:
            self._confining.pop(group, None)
            return
        under_way = self._accounts.reservations.forking()
        if forks is not None:
            under_way = {tid: r for tid, r in forks.items() if under_way.get(tid) is r}
        affinity.confine(self._members(group), terms.cpus, anew=forks is None)
        if under_way:
            self._confining[group] = under_way
        else:
            self._confining.pop(group, None)

    def again(self) -> None:
        """Look for those who have been born meanwhile."""
        for group, forks in list(self._confining.items()):
            self.confine(group, forks)

    def _members(self, group: int) -> list[int]:
        return [pid for pid, tag in self._census.members().items() if tag.group == group]
