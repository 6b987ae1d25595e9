"""What each trapped call asks for, and how it is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from workers.bills import Demand
from workers.resources import Resource, trapped
from workers.seccomp import NAMESPACES
from workers.syscalls import Table


class Demands:
    """Calls to demands, for a filter that traps these facilities.

    ``quick`` needs no look at the arguments and never says too little. ``exact`` looks.
    ``vague`` has the resources for which ``quick`` is mostly wrong, by call.
    """

    def __init__(
        self, table: Table, traps: Collection[str], unreadable: set[int] | None = None
    ) -> None:
        """``unreadable`` is where processes whose memory may not be read are noted."""
        self._resources = {resource.name: resource for resource in trapped(traps, table)}
        if unreadable is not None:
            for resource in self._resources.values():
                resource.unreadable = unreadable
        self.quick: dict[int, Demand] = {}
        self.vague: dict[int, frozenset[str]] = {}
        for name, resource in self._resources.items():
            for nr, amount in resource.calls.items():
                self.quick[nr] = (*self.quick.get(nr, ()), (name, amount))
                if resource.vague:
                    self.vague[nr] = self.vague.get(nr, frozenset()) | {name}

        amounts = {name: max(r.calls.values()) for name, r in self._resources.items() if r.calls}
        self.most: Demand = tuple(amounts.items())
        """What any one of these calls asks for at most."""

        self.closely: frozenset[int] = frozenset()
        """Calls to look at one by one, since it matters what else they do."""
        if NAMESPACES in traps:
            from workers import namespaces

            self.closely = frozenset(namespaces.conditions(table))

    def exact(self, nr: int, args: Sequence[int], tid: int) -> Demand:
        """What this very call of ``tid`` asks for; empty when it makes nothing new."""
        return self._of_each(nr, lambda resource: resource.exact(nr, args, tid))

    def unasked(self, nr: int, args: Sequence[int], tid: int) -> Demand:
        """What ``tid`` may have got by the way, and is to be charged whatever the limits."""
        return self._of_each(nr, lambda resource: resource.unasked(nr, args, tid))

    def _of_each(self, nr: int, amount: Callable[[Resource], int]) -> Demand:
        amounts = (
            (name, amount(resource))
            for name, resource in self._resources.items()
            if nr in resource.calls
        )
        return tuple((name, amount) for name, amount in amounts if amount)

    def refusal(self, resource: str, nr: int, args: Sequence[int], tid: int) -> tuple[int, int]:
        """The value and the errno that answer a call which the limit of ``resource`` refuses."""
        return self._resources[resource].refusal(nr, args, tid)
