"""Any shares, any order of forks: minimums are there, caps hold, and nothing goes to waste."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from governor import registry
from governor.core.container import Container
from governor.core.counter import Counter, Entry, charge, flow, without_room
from governor.core.forest import Forest
from governor.core.plan import compile_plan
from governor.errors import GovernorError
from governor.subsystem.shared import SharedCounter

PATHS = ["/", "/a", "/b", "/c", "/a/x", "/a/y", "/a/x/p", "/a/x/q"]
LEAVES = ["/b", "/c", "/a/y", "/a/x/p", "/a/x/q"]

quantities = st.sampled_from([-3, 0, 1, 7, 10, 25, 33, 50, 66, 90, 100])
settings = st.lists(
    st.tuples(st.sampled_from(PATHS[1:]), quantities, quantities, st.sampled_from([3, 7, 100])),
    max_size=12,
)
guarantees = st.lists(st.tuples(st.sampled_from(PATHS[1:]), quantities), max_size=12)
totals = st.integers(1, 60)
orders = st.lists(st.sampled_from(PATHS), max_size=80)


class Tree:
    """A forest of one hierarchy, and an agent's arithmetic on its plans without ends."""

    def __init__(self, total: int, shares: Sequence[tuple[str, str]]) -> None:
        self.forest = Forest(registry.load)
        root = self.forest.mount("load", ["numtasks"]).root
        for path in PATHS[1:]:
            self.forest.mkdir("load", path)
        self.forest.write(root, "numtasks.total", total)
        for path, text in shares:
            with contextlib.suppress(GovernorError):
                self.forest.write(self.at(path), "numtasks.shares", text)
        self.entries = {path: self._entries(path) for path in PATHS}
        self.made = dict.fromkeys(PATHS, 0)

    def at(self, path: str) -> Container:
        return self.forest.lookup("load", path)

    def state(self, path: str) -> SharedCounter:
        state = self.at(path).states["numtasks"]
        assert isinstance(state, SharedCounter)
        return state

    def _entries(self, path: str) -> list[Entry]:
        # All of them, since each brings the pools of its own path up to date.
        for other in PATHS:
            compile_plan(self.forest.group([self.at(other)]))
        subsystem = self.at(path).hierarchy.subsystems["numtasks"]
        known: dict[int, Counter] = {
            counter.id: counter
            for node in self.at("/").descendants()
            for counter in subsystem.counters(node)
        }
        plan = compile_plan(self.forest.group([self.at(path)]))
        return [(known[id], 1) for id in plan.charges["tasks"]]

    def fork(self, path: str) -> bool:
        due = list(flow(self.entries[path]))
        if without_room(due):
            return False
        charge(due)
        self.made[path] += 1
        return True

    def held(self, path: str) -> int:
        below = path.rstrip("/") + "/"
        return sum(made for at, made in self.made.items() if at == path or at.startswith(below))


@given(totals, settings, orders)
def test_minimums_are_there_and_caps_hold(
    total: int, shares: list[tuple[str, int, int, int]], order: list[str]
) -> None:
    tree = Tree(
        total,
        [
            (path, f"min_shares={low},max_shares={high},child_shares_divisor={divisor}")
            for path, low, high, divisor in shares
        ],
    )
    for path in order:
        tree.fork(path)
    for leaf in LEAVES:
        while tree.held(leaf) < tree.state(leaf).shares.minimum:
            assert tree.fork(leaf), leaf
    for path in PATHS:
        while tree.fork(path):
            pass
        assert tree.held(path) <= tree.state(path).shares.cap


@given(totals, guarantees, orders)
def test_all_of_the_total_can_be_used(
    total: int, shares: list[tuple[str, int]], order: list[str]
) -> None:
    tree = Tree(total, [(path, f"min_shares={low}") for path, low in shares])
    for path in order:
        tree.fork(path)
    # From the leaves up: what is guaranteed to a container is for whoever is in there.
    for path in reversed(PATHS):
        while tree.fork(path):
            pass
    assert tree.held("/") == total
