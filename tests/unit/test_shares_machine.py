"""Shares in any order of changes, against the rules written down naively."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from governor.core.shares import DONT_CARE, MAX_DEPTH, UNCHANGED, Change, Shares
from governor.errors import GovernorError
from governor.units import UNLIMITED

small = st.sampled_from([0, 1, 2, 5, 10, 20, 33, 50, 99, 100, 101, 150, 1000])
symbolic = st.sampled_from([UNCHANGED, -2, DONT_CARE, -4])
values = st.one_of(small, symbolic)
totals = st.sampled_from([1, 3, 10, 64, 999, UNLIMITED])


class Naive:
    """Fields as the seeds keep them, each in its own place."""

    def __init__(self, parent: Naive | None) -> None:
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.fields = Change(DONT_CARE, DONT_CARE, 100)
        self.unused = 100
        self.children: list[Naive] = []

    def allows(self, new: Change) -> bool:
        """The digest's list of breaches, one line each."""
        low, high, divisor = new
        old = self.fields
        return not (
            (low < 0 and low != DONT_CARE)
            or (high < 0 and high != DONT_CARE)
            or (low >= 0 and high >= 0 and low > high)
            or divisor < 1
            or divisor < old.child_shares_divisor - self.unused
            or any(divisor < child.fields.max_shares for child in self.children)
            or (self.depth > MAX_DEPTH and new != old)
            or (
                self.parent is not None
                and (
                    (low >= 0 and low - max(old.min_shares, 0) > self.parent.unused)
                    or (high >= 0 and high > self.parent.fields.child_shares_divisor)
                )
            )
        )


def worth(naive: Naive, total: int) -> tuple[int, int]:
    """Minimum and cap in units, from the root down."""
    if naive.parent is None:
        return (DONT_CARE, DONT_CARE) if total == UNLIMITED else (total, total)
    above = worth(naive.parent, total)
    divisor = naive.parent.fields.child_shares_divisor
    low, high = (
        share * amount // divisor if share >= 0 and amount >= 0 else DONT_CARE
        for share, amount in zip(naive.fields[:2], above, strict=True)
    )
    return low, high


class SharesMachine(RuleBasedStateMachine):
    """A tree that grows, shrinks and changes."""

    @initialize()
    def begin(self) -> None:
        root = Shares()
        self.nodes: dict[Shares, Naive] = {root: Naive(None)}
        self.root = root

    def pick(self, number: int) -> Shares:
        return list(self.nodes)[number % len(self.nodes)]

    @rule(number=st.integers(0, 40))
    def mkdir(self, number: int) -> None:
        parent = self.pick(number)
        naive = Naive(self.nodes[parent])
        self.nodes[parent].children.append(naive)
        self.nodes[Shares(parent)] = naive

    @rule(number=st.integers(0, 40), low=values, high=values, divisor=values)
    def change(self, number: int, low: int, high: int, divisor: int) -> None:
        shares = self.pick(number)
        naive = self.nodes[shares]
        wanted = Change(low, high, divisor)
        new = Change(
            *(
                old if value == UNCHANGED else value
                for old, value in zip(naive.fields, wanted, strict=True)
            )
        )
        allowed = naive.allows(new)
        try:
            shares.change(wanted)
        except GovernorError:
            assert not allowed
            return
        assert allowed
        if naive.parent is not None:
            naive.parent.unused += max(naive.fields.min_shares, 0)
            naive.parent.unused -= max(new.min_shares, 0)
        used = naive.fields.child_shares_divisor - naive.unused
        naive.unused = new.child_shares_divisor - used
        naive.fields = new

    @rule(total=totals)
    def set_total(self, total: int) -> None:
        self.root.total = total

    @precondition(lambda self: len(self.nodes) > 1)
    @rule(number=st.integers(0, 40))
    def rmdir(self, number: int) -> None:
        leaves = [n for n in self.nodes if not n.children and n.parent is not None]
        shares = leaves[number % len(leaves)]
        naive = self.nodes.pop(shares)
        shares.leave()
        assert naive.parent is not None
        naive.parent.children.remove(naive)
        naive.parent.unused += max(naive.fields.min_shares, 0)

    @invariant()
    def same_as_the_naive_ones(self) -> None:
        for shares, naive in self.nodes.items():
            assert (shares.fields, shares.unused) == (naive.fields, naive.unused)
            assert shares.amounts[:2] == worth(naive, self.root.total)

    @invariant()
    def minimums_fit(self) -> None:
        for shares in self.nodes:
            given = sum(max(child.min, 0) for child in shares.children)
            assert shares.unused == shares.divisor - given >= 0
            assert sum(child.minimum for child in shares.children) == shares.reserved
            if shares.amounts.min != DONT_CARE:
                assert shares.reserved <= shares.amounts.min - shares.amounts.unused
                assert all(child.amounts.max <= shares.amounts.max for child in shares.children)


TestShares = SharesMachine.TestCase
