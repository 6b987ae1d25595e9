"""Shares: the rules of ResGroups one by one, and what shares are worth in units."""

from __future__ import annotations

import errno

import pytest

from governor.core.shares import (
    DONT_CARE,
    MAX_DEPTH,
    NOTHING,
    UNCHANGED,
    UNSUPPORTED,
    Amounts,
    Change,
    Shares,
)
from governor.errors import GovernorError
from governor.units import UNLIMITED


def state(shares: Shares | None) -> tuple[int, ...]:
    return (*shares.fields, shares.unused) if shares else ()


def refused(shares: Shares, **values: int) -> str:
    """Make a change that is refused and changes nothing; why it was."""
    family = [shares.parent, shares, *shares.children]
    before = [state(member) for member in family]
    with pytest.raises(GovernorError) as caught:
        shares.change(Change(**values))
    assert caught.value.errno == errno.EINVAL
    assert [state(member) for member in family] == before
    return caught.value.message


@pytest.fixture
def root() -> Shares:
    return Shares()


@pytest.fixture
def child(root: Shares) -> Shares:
    return Shares(root)


# -- the rules ----------------------------------------------------------------------------


def test_a_new_one_cares_for_nothing_and_takes_nothing(root: Shares, child: Shares) -> None:
    assert state(child) == (DONT_CARE, DONT_CARE, 100, 100)
    assert state(root) == (DONT_CARE, DONT_CARE, 100, 100)


def test_a_minimum_is_taken_from_what_the_parent_has_left(root: Shares, child: Shares) -> None:
    child.change(Change(min_shares=30))
    sibling = Shares(root)
    assert "left: 70" in refused(sibling, min_shares=71)
    sibling.change(Change(min_shares=70))
    assert root.unused == 0
    child.change(Change(min_shares=20))
    assert root.unused == 10
    # A raise counts only by what is added.
    child.change(Change(min_shares=30))
    assert "left: 30" in refused(child, min_shares=31)


def test_caring_no_more_gives_the_minimum_back(root: Shares, child: Shares) -> None:
    child.change(Change(min_shares=30))
    child.change(Change(min_shares=DONT_CARE))
    assert (child.min, root.unused) == (DONT_CARE, 100)


def test_leaving_gives_the_minimum_back(root: Shares, child: Shares) -> None:
    child.change(Change(min_shares=30, max_shares=90))
    child.leave()
    assert root.unused == 100
    root.change(Change(child_shares_divisor=1))


def test_a_maximum_is_within_the_parents_divisor(root: Shares, child: Shares) -> None:
    assert "divisor: 100" in refused(child, max_shares=101)
    child.change(Change(max_shares=100))
    root.change(Change(child_shares_divisor=400))
    child.change(Change(max_shares=400))


def test_a_divisor_is_not_below_what_children_have(root: Shares, child: Shares) -> None:
    child.change(Change(min_shares=30, max_shares=60))
    sibling = Shares(root)
    sibling.change(Change(min_shares=40))
    assert "min_shares: 70" in refused(root, child_shares_divisor=69)
    root.change(Change(child_shares_divisor=70))
    assert root.unused == 0
    sibling.change(Change(min_shares=0))
    assert "max_shares of a child: 60" in refused(root, child_shares_divisor=59)
    root.change(Change(child_shares_divisor=60))
    assert root.unused == 30


@pytest.mark.parametrize(
    "values",
    [
        {"min_shares": -4},
        {"max_shares": -4},
        {"min_shares": UNSUPPORTED},
        {"max_shares": UNSUPPORTED},
        {"min_shares": 51, "max_shares": 50},
        {"child_shares_divisor": 0},
        {"child_shares_divisor": DONT_CARE},
        {"child_shares_divisor": UNSUPPORTED},
        {"min_shares": 10, "max_shares": 20, "child_shares_divisor": -7},
    ],
)
def test_values_that_cannot_be(child: Shares, values: dict[str, int]) -> None:
    refused(child, **values)


def test_the_whole_new_triple_is_checked(child: Shares) -> None:
    child.change(Change(min_shares=20, max_shares=30))
    refused(child, max_shares=19)
    refused(child, min_shares=31)
    child.change(Change(min_shares=31, max_shares=40))
    child.change(Change(min_shares=5, max_shares=10))


def test_what_is_not_named_stays(child: Shares) -> None:
    child.change(Change(20, 30, 50))
    child.change(Change(UNCHANGED, UNCHANGED, UNCHANGED))
    child.change(Change(max_shares=25))
    assert state(child) == (20, 25, 50, 50)


def test_what_is_written_to_an_unsupported_field_is_ignored(root: Shares) -> None:
    capped = Shares(root, unsupported={"min_shares"})
    capped.change(Change(min_shares=90, max_shares=50))
    assert state(capped) == (UNSUPPORTED, 50, 100, 100)
    assert root.unused == 100
    capped.change(Change(min_shares=-99))
    assert capped.min == UNSUPPORTED


def test_the_root_asks_nobody(root: Shares) -> None:
    root.change(Change(min_shares=1000, max_shares=2000))
    assert state(root) == (1000, 2000, 100, 100)
    assert root.amounts == NOTHING


def test_below_the_greatest_depth_nobody_has_shares(root: Shares) -> None:
    line = [root]
    for _ in range(MAX_DEPTH + 1):
        line.append(Shares(line[-1]))
    line[MAX_DEPTH].change(Change(min_shares=1))
    assert "depth 5" in refused(line[MAX_DEPTH + 1], min_shares=1)
    # What is read there may be written back.
    line[MAX_DEPTH + 1].change(line[MAX_DEPTH + 1].fields)


# -- what they are worth ------------------------------------------------------------------


def test_without_a_total_they_are_worth_nothing(root: Shares, child: Shares) -> None:
    child.change(Change(min_shares=20, max_shares=50))
    assert (root.amounts, child.amounts) == (NOTHING, NOTHING)
    assert (child.minimum, child.cap, root.reserved) == (0, UNLIMITED, 0)


def test_they_are_parts_of_the_parents_amounts(root: Shares, child: Shares) -> None:
    root.total = 1000
    child.change(Change(min_shares=20, max_shares=50, child_shares_divisor=4))
    grandchild = Shares(child)
    grandchild.change(Change(min_shares=1, max_shares=3))
    assert root.amounts == Amounts(1000, 1000, 800)
    assert child.amounts == Amounts(200, 500, 150)
    assert grandchild.amounts == Amounts(50, 375, 50)
    assert (grandchild.minimum, grandchild.cap, child.reserved) == (50, 375, 50)


def test_they_are_rounded_down_one_by_one(root: Shares) -> None:
    root.total = 10
    children = [Shares(root) for _ in range(3)]
    for each in children:
        each.change(Change(min_shares=33, max_shares=33))
    assert [each.amounts for each in children] == [Amounts(3, 3, 3)] * 3
    # Rounded together, one unit would be kept for nobody.
    assert root.reserved == 9


def test_a_dont_care_passes_down(root: Shares, child: Shares) -> None:
    root.total = 1000
    child.change(Change(max_shares=50))
    grandchild = Shares(child)
    grandchild.change(Change(min_shares=10, max_shares=10))
    assert child.amounts == Amounts(DONT_CARE, 500, DONT_CARE)
    assert grandchild.amounts == Amounts(DONT_CARE, 50, DONT_CARE)
    assert child.reserved == 0


def test_a_divisor_of_the_total_makes_them_absolute(root: Shares, child: Shares) -> None:
    root.total = 1000
    root.change(Change(child_shares_divisor=1000))
    child.change(Change(min_shares=250, max_shares=500))
    assert child.amounts == Amounts(250, 500, 250)


def test_a_change_can_be_taken_back(root: Shares, child: Shares) -> None:
    child.change(Change(min_shares=30, max_shares=40))
    sibling = Shares(root)
    sibling.change(Change(min_shares=20))
    before = [state(member) for member in (root, child, sibling)]
    for change in (Change(50, 60, 200), Change(min_shares=DONT_CARE), Change(max_shares=30)):
        take_back = child.change(change)
        take_back()
        assert [state(member) for member in (root, child, sibling)] == before
