"""Shares in control files, and the counters and pools that follow from them."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import registry
from governor.core.container import Container
from governor.core.forest import Forest
from governor.core.plan import compile_plan
from governor.core.shares import DONT_CARE, Change
from governor.errors import GovernorError
from governor.results import Value
from governor.subsystem.shared import SharedCounter, SharedSubsystem, parse_positive, parse_shares
from governor.units import UNLIMITED


@pytest.fixture
def forest() -> Forest:
    forest = Forest(registry.load)
    forest.mount("load", ["numtasks"])
    for path in ("/a", "/b", "/a/x", "/a/y"):
        forest.mkdir("load", path)
    return forest


def at(forest: Forest, path: str) -> Container:
    return forest.lookup("load", path)


def write(forest: Forest, path: str, file: str, value: Value) -> None:
    forest.write(at(forest, path), f"numtasks.{file}", value)


def read(forest: Forest, path: str, file: str) -> Value:
    container = at(forest, path)
    return forest.control_file(container, f"numtasks.{file}").read(container)


def counter(forest: Forest, path: str) -> SharedCounter:
    state = at(forest, path).states["numtasks"]
    assert isinstance(state, SharedCounter)
    return state


def charges(forest: Forest, path: str) -> list[int]:
    return compile_plan(forest.group([at(forest, path)])).charges.get("tasks", [])


# -- what is written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("min_shares=20,max_shares=50", Change(20, 50)),
        (" child_shares_divisor=1000\n", Change(child_shares_divisor=1000)),
        ("res=numtasks, max_shares=-3,,", Change(max_shares=DONT_CARE)),
        ("min_shares=-1,unused_min_shares=7", Change()),
        ("", Change()),
    ],
)
def test_any_subset_of_the_fields_can_be_written(text: str, change: Change) -> None:
    assert parse_shares(text, "numtasks") == change


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("min_share=1", "allowed are min_shares, max_shares, child_shares_divisor"),
        ("20", "allowed are"),
        ("min_shares", "integer"),
        ("min_shares=", "integer"),
        ("min_shares=1.5", "integer"),
        ("min_shares=1_0", "integer"),
        ("min_shares=\u0663", "integer"),
        ("min_shares=" + "9" * 19, "integer"),
        ("min_shares=1,min_shares=1", "twice"),
        ("res=numfiles,min_shares=1", "res is numtasks"),
    ],
)
def test_what_shares_cannot_be(forest: Forest, text: str, why: str) -> None:
    before = read(forest, "/a", "shares")
    with pytest.raises(GovernorError, match=why) as caught:
        write(forest, "/a", "shares", text)
    assert caught.value.errno == errno.EINVAL
    assert read(forest, "/a", "shares") == before


@given(st.text())
def test_nothing_else_comes_of_a_text(text: str) -> None:
    for parse in (lambda: parse_shares(text, "numtasks"), lambda: parse_positive(text)):
        try:
            parse()
        except ValueError:
            continue


def test_what_is_read_can_be_written_back(forest: Forest) -> None:
    write(forest, "/a", "shares", "min_shares=20,max_shares=50,child_shares_divisor=10")
    write(forest, "/a/x", "shares", "min_shares=3")
    line = "min_shares=20,max_shares=50,child_shares_divisor=10,unused_min_shares=7"
    assert read(forest, "/a", "shares") == line
    write(forest, "/a", "shares", line)
    assert read(forest, "/a", "shares") == line


@pytest.mark.parametrize("total", [0, "0", -5, "", "many"])
def test_totals_start_at_one(forest: Forest, total: Value) -> None:
    for file in ("total", "forkrate", "forkrate_interval"):
        with pytest.raises(GovernorError) as caught:
            write(forest, "/", file, total)
        assert caught.value.errno == errno.EINVAL
    assert (read(forest, "/", "total"), read(forest, "/", "forkrate")) == ("max", "max")
    assert read(forest, "/", "forkrate_interval") == 1


# -- what follows -------------------------------------------------------------------------


def test_without_a_total_nothing_is_limited(forest: Forest) -> None:
    write(forest, "/a", "shares", "min_shares=20,max_shares=50")
    assert charges(forest, "/a/x") == []
    assert read(forest, "/a", "amounts") == "min=-3,max=-3,unused=-3"


def test_a_cap_is_charged_like_a_limit_and_leaves_the_limit_alone(forest: Forest) -> None:
    write(forest, "/", "total", 100)
    write(forest, "/a", "shares", "max_shares=50")
    write(forest, "/a", "limit", 70)
    assert charges(forest, "/a/x") == [counter(forest, "/a").id, counter(forest, "/").id]
    assert (counter(forest, "/a").bound, counter(forest, "/").bound) == (50, 100)
    assert read(forest, "/a", "limit") == 70
    write(forest, "/a", "limit", 30)
    assert counter(forest, "/a").bound == 30


def test_a_guarantee_makes_pools_that_lend_what_is_over_it(forest: Forest) -> None:
    write(forest, "/", "total", 100)
    write(forest, "/a", "shares", "min_shares=40,max_shares=80")
    write(forest, "/a/x", "shares", "min_shares=25")
    for path in ("/", "/a", "/b", "/a/x", "/a/y"):
        assert counter(forest, path).pool is None
        pool = charges(forest, path)
        made = counter(forest, path).pool
        assert made is not None
        assert made.id in pool
    pools = {path: counter(forest, path).pool for path in ("/", "/a", "/b", "/a/x", "/a/y")}
    figures = {p: (pool.limit, pool.guarantee) for p, pool in pools.items() if pool is not None}
    assert figures == {
        "/": (60, 60),
        "/a": (70, 30),
        "/b": (UNLIMITED, 0),
        "/a/x": (UNLIMITED, 10),
        "/a/y": (UNLIMITED, 0),
    }
    lenders = {p: pool.lender for p, pool in pools.items() if pool is not None}
    assert lenders == {p: pools[{"/a": "/", "/b": "/"}.get(p, "/a")] for p in pools} | {"/": None}


def test_pools_go_with_the_last_guarantee(forest: Forest) -> None:
    write(forest, "/", "total", 100)
    write(forest, "/a", "shares", "min_shares=40")
    assert len(charges(forest, "/b")) == 2
    write(forest, "/a", "shares", "min_shares=-3")
    assert charges(forest, "/b") == [counter(forest, "/").id]
    pool = counter(forest, "/b").pool
    assert pool is not None
    assert not pool.pooled


def test_removal_gives_back_and_says_that_plans_are_stale(forest: Forest) -> None:
    write(forest, "/", "total", 100)
    write(forest, "/b", "shares", "min_shares=40")
    subsystem = forest.hierarchies["load"].subsystems["numtasks"]
    assert isinstance(subsystem, SharedSubsystem)
    charges(forest, "/a"), charges(forest, "/b")
    root = counter(forest, "/").pool
    assert root is not None
    assert root.limit == 60
    assert len(root.borrowers) == 2
    subsystem.stale = False
    forest.rmdir("load", "/b")
    assert subsystem.stale
    assert list(root.borrowers) == [counter(forest, "/a").pool]
    assert charges(forest, "/a") == [counter(forest, "/").id]


def test_forks_have_a_rate_in_their_own_container_alone(forest: Forest) -> None:
    assert charges(forest, "/a/x") == []
    write(forest, "/", "forkrate", 100)
    write(forest, "/", "forkrate_interval", "10s")
    plan = compile_plan(forest.group([at(forest, "/a/x")]))
    (id,) = plan.charges["tasks"]
    assert id not in plan.counts["tasks"]
    subsystem = forest.hierarchies["load"].subsystems["numtasks"]
    (rate,) = [c for c in subsystem.counters(at(forest, "/a/x")) if c.id == id]
    assert (rate.limit, rate.interval) == (100, 10)
    write(forest, "/", "forkrate", "max")
    assert charges(forest, "/a/x") == []
