from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.programs.facility_support import Parent, as_user, eventually, forked, of_another_user
from workers import membership
from workers.membership import RLIMIT_LOCKS, Tag

TAG = Tag(0x2A51C7, 3, 9)
USERS = ["me", "nobody"]

tags = st.builds(
    Tag,
    st.integers(1, membership.MAX_NONCE),
    st.integers(0, membership.MAX_JOB),
    st.integers(0, membership.MAX_GROUP),
)


_nonces = itertools.count(os.getpid() * 64)


@pytest.fixture
def tag() -> Tag:
    """A tag of a supervisor that no other test has."""
    return TAG._replace(nonce=1 + next(_nonces) % membership.MAX_NONCE)


@settings(database=None)
@given(tags)
def test_a_tag_survives_being_encoded(tag: Tag) -> None:
    value = tag.encode()
    assert 0 < value < 1 << 63
    assert Tag.decode(value) == tag


@pytest.mark.parametrize("value", [resource.RLIM_INFINITY, 0, 1, 1 << 40 - 1])
def test_an_ordinary_limit_is_no_tag(value: int) -> None:
    assert Tag.decode(value) is None


@pytest.mark.parametrize(
    "tag",
    [
        Tag(0, 1, 1),
        Tag(1 << 23, 1, 1),
        Tag(1, -1, 1),
        Tag(1, 1 << 20, 1),
        Tag(1, 1, -1),
        Tag(1, 1, 1 << 20),
    ],
)
def test_a_number_out_of_range_is_refused(tag: Tag) -> None:
    with pytest.raises(ValueError, match=r"must be [01]\.\."):
        tag.encode()


@pytest.mark.parametrize("user", USERS)
def test_a_tag_is_inherited_whatever_a_process_does(user: str, tag: Tag) -> None:
    def body() -> None:
        with forked(lambda parent: generations(parent, tag)) as child:
            pids = [child.hear() for _ in range(3)]
            assert membership.scan(tag.nonce) == dict.fromkeys(pids, tag)
            membership.write(pids[2], tag._replace(group=12))
            assert membership.read(pids[2]) == tag._replace(group=12)
            assert membership.read(pids[0]) == tag
            nobody = 2**22 + 1  # more than any process has
            for number, expected in ((1, True), (2, False)):
                found = membership.are_in(tag.nonce, [nobody, *pids], {12}, number)
                assert found == expected

    as_user(user, body)


def generations(parent: Parent, tag: Tag) -> None:
    """A process, its orphaned grandchild in a session of its own, and one that exec'd."""
    membership.write(os.getpid(), tag)
    parent.say(os.getpid())
    if (middle := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            parent.say(os.getpid())
            parent.wait()
        os._exit(0)
    os.waitpid(middle, 0)
    with subprocess.Popen(
        ["sh", "-c", "exec sh -c 'echo; exec cat'"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        parent.say(program.pid)
        parent.wait()


def test_a_zombie_is_a_member_until_it_is_reaped(tag: Tag) -> None:
    with forked(lambda parent: membership.write(os.getpid(), tag)) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert membership.read(child.pid) == tag
        assert membership.scan(tag.nonce) == {child.pid: tag}
        child.reap()
        assert membership.scan(tag.nonce) == {}
        with pytest.raises(ProcessLookupError):
            membership.read(child.pid)
        with pytest.raises(ProcessLookupError):
            membership.write(child.pid, tag)


def test_an_untagged_process_belongs_to_nobody() -> None:
    with forked(lambda parent: parent.wait()) as child:
        assert membership.read(child.pid) is None


def test_another_supervisors_process_is_not_ours(tag: Tag) -> None:
    with forked(lambda parent: parent.wait()) as child:
        membership.write(child.pid, tag._replace(nonce=tag.nonce + 1))
        assert membership.scan(tag.nonce) == {}


def test_another_users_process_cannot_be_read_nor_tagged(tag: Tag) -> None:
    def body() -> None:
        assert membership.read(stranger) is None
        with pytest.raises(PermissionError):
            membership.write(stranger, tag)

    with of_another_user() as stranger:
        as_user("nobody", body)


def test_a_process_that_limited_itself_cannot_be_tagged(tag: Tag) -> None:
    def limited(parent: Parent) -> None:
        resource.prlimit(0, RLIMIT_LOCKS, (7, 7))
        parent.say("limited")
        parent.wait()

    def body() -> None:
        with forked(limited) as child:
            child.hear()
            with pytest.raises(PermissionError, match=r"cannot be tagged|not permitted"):
                membership.write(child.pid, tag)

    as_user("nobody", body)


def test_a_move_reaches_every_later_child(tag: Tag) -> None:
    """Forks race with moves: each child is of one of the two groups."""

    def forking(parent: Parent) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        membership.write(os.getpid(), tag)
        parent.say("ready")
        while True:
            if os.fork() == 0:
                os._exit(0)

    with forked(forking) as child:
        child.hear()
        seen: set[Tag] = set()

        def both() -> bool:
            for group in (1, 2):
                membership.write(child.pid, tag._replace(group=group))
                seen.update(membership.scan(tag.nonce).values())
            return len(seen) >= 2

        eventually(both)
        assert {one._replace(group=0) for one in seen} == {tag._replace(group=0)}
        assert {one.group for one in seen} <= {tag.group, 1, 2}
