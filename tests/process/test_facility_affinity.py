from __future__ import annotations

import ctypes
import errno
import mmap
import os
import threading
from collections.abc import Callable, Sequence

import pytest

from tests.capabilities import need
from tests.programs.facility_support import (
    Parent,
    as_user,
    forked,
    governed,
    of_another_user,
    raw,
    set_dumpable,
)
from workers import affinity, seccomp
from workers.syscalls import table

USERS = ["me", "nobody"]
NUMBER = table().sched_setaffinity


@pytest.fixture
def cpus() -> list[int]:
    usable = sorted(os.sched_getaffinity(0))
    need(len(usable) > 1, "one CPU only")
    return usable


def yes() -> bool:
    return True


def clamping(cpus: frozenset[int]) -> Callable[[int, seccomp.Notification], None]:
    """Answer as the agent does: the call is carried out by us, never continued."""

    def answer(listener: int, call: seccomp.Notification) -> None:
        import fcntl

        code = affinity.emulate(
            call.tid, call.args, lambda _: cpus, lambda: seccomp.id_valid(listener, call.id)
        )
        response = seccomp.RESPONSE.pack(call.id, 0, -code, 0)
        fcntl.ioctl(listener, seccomp.SEND, response)

    return answer


def test_every_thread_is_confined(cpus: list[int]) -> None:
    def thread(parent: Parent) -> None:
        parent.say("started")
        parent.wait()

    def body(parent: Parent) -> None:
        for _ in range(4):
            threading.Thread(target=thread, args=(parent,), daemon=True).start()
        parent.wait()

    with forked(body) as child, forked(lambda parent: parent.wait()) as gone:
        gone.close()
        for _ in range(4):
            child.hear()
        affinity.confine([child.pid, gone.pid], frozenset(cpus[:1]))
        threads = [int(name) for name in os.listdir(f"/proc/{child.pid}/task")]
        assert len(threads) == 5
        assert [os.sched_getaffinity(tid) for tid in threads] == [{cpus[0]}] * 5


def test_threads_that_are_born_meanwhile_are_confined(cpus: list[int]) -> None:
    def body(parent: Parent) -> None:
        parent.say("ready")
        while True:
            thread = threading.Thread(target=lambda: None)
            thread.start()
            thread.join()

    with forked(body) as child:
        child.hear()
        for some in (cpus[:1], cpus[1:], cpus[:1]):
            affinity.confine([child.pid], frozenset(some))
            assert os.sched_getaffinity(child.pid) == set(some)


def test_it_looks_again_until_no_thread_has_come(
    cpus: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that the first look missed, with the set that its creator had then."""
    with forked(lambda parent: parent.wait()) as first, forked(lambda p: p.wait()) as late:
        looks = iter([{first.pid}, {first.pid, late.pid}, {first.pid, late.pid}])
        monkeypatch.setattr(affinity, "_threads", lambda pid, proc: next(looks))
        affinity.confine([first.pid], frozenset(cpus[:1]))
        assert os.sched_getaffinity(first.pid) == os.sched_getaffinity(late.pid) == {cpus[0]}


def test_a_set_without_a_usable_cpu_is_refused() -> None:
    with forked(lambda parent: parent.wait()) as child, pytest.raises(OSError, match="Invalid"):
        affinity.confine([child.pid], frozenset({1000}))


@pytest.mark.parametrize("user", USERS)
def test_a_jobs_own_choice_is_clamped(user: str, cpus: list[int]) -> None:
    def choose() -> list[list[int]]:
        seen = []
        for choice in (set(cpus), {cpus[0]}, set(range(200))):
            os.sched_setaffinity(0, choice)
            seen.append(sorted(os.sched_getaffinity(0)))
        return seen

    def body() -> None:
        result, calls = governed({"affinity"}, choose, clamping(frozenset(cpus[:1])))
        assert result == [[cpus[0]]] * 3
        assert len(calls) == 3

    as_user(user, body)


def test_a_choice_of_nothing_allowed_is_refused(cpus: list[int]) -> None:
    def choose() -> list[object]:
        before = os.sched_getaffinity(0)
        mask = (ctypes.c_uint64 * 16)(1 << cpus[1])
        code = raw(NUMBER, 0, 128, ctypes.addressof(mask))
        return [code, before == os.sched_getaffinity(0)]

    result, _ = governed({"affinity"}, choose, clamping(frozenset(cpus[:1])))
    assert result == [-errno.EINVAL, True]


def same_as_kernel() -> list[int]:
    """Odd arguments, whose results a job must not be able to tell from the kernel's."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    end = ctypes.addressof(ctypes.c_char.from_buffer(page)) + mmap.PAGESIZE
    page[-8:] = (0xFF).to_bytes(8, "little")
    mask = (ctypes.c_uint64 * 16)(0xFF)
    address = ctypes.addressof(mask)
    return [
        raw(NUMBER, 0, 128, address),
        raw(NUMBER, os.getpid(), 128, address),
        raw(NUMBER, 0, 8, end - 8),
        raw(NUMBER, 0, 1, address),
        raw(NUMBER, 0, 0, address),
        raw(NUMBER, 0, 128, 8),
        raw(NUMBER, -1, 128, address),
        raw(NUMBER, 2**22 - 5, 128, address),
        raw(NUMBER, 1 << 32, 128, address),
    ]


def test_errors_are_the_kernels() -> None:
    with forked(lambda parent: parent.say(same_as_kernel())) as child:
        expected = child.hear()
    everything = frozenset(os.sched_getaffinity(0))
    result, _ = governed({"affinity"}, same_as_kernel, clamping(everything))
    assert result == expected


def test_another_users_process_is_not_a_target() -> None:
    def choose() -> list[int]:
        mask = (ctypes.c_uint64 * 16)(0xFF)
        return [raw(NUMBER, stranger, 128, ctypes.addressof(mask))]

    def body() -> None:
        result, _ = governed({"affinity"}, choose, clamping(frozenset(os.sched_getaffinity(0))))
        assert result == [-errno.EPERM]

    with of_another_user() as stranger:
        as_user("nobody", body)


def test_unreadable_memory_is_a_refusal() -> None:
    def closed(parent: Parent) -> None:
        set_dumpable(False)
        parent.say(os.getpid())
        parent.wait()

    def body() -> None:
        with forked(closed) as child:
            args = [0, 128, 4096]
            assert (
                affinity.emulate(child.hear(), args, lambda _: frozenset({0}), yes) == errno.EPERM
            )

    as_user("nobody", body)


def test_nothing_is_done_for_a_caller_that_has_gone(cpus: list[int]) -> None:
    mask = (ctypes.c_uint64 * 16)(1 << cpus[0])
    args: Sequence[int] = [0, 128, ctypes.addressof(mask)]
    before = os.sched_getaffinity(0)
    code = affinity.emulate(os.getpid(), args, lambda _: frozenset(cpus), lambda: False)
    assert code == errno.ESRCH
    assert os.sched_getaffinity(0) == before
    with forked(lambda parent: None) as child:
        child.reap()
        assert affinity.emulate(child.pid, args, lambda _: frozenset(cpus), yes) == errno.ESRCH


def test_a_target_is_found_in_the_callers_pid_namespace(cpus: list[int]) -> None:
    def inside(parent: Parent) -> None:
        mask = (ctypes.c_uint64 * 16)(1 << cpus[0])
        parent.say([os.getpid(), ctypes.addressof(mask)])
        parent.wait()

    def body(parent: Parent) -> None:
        new_pids, new_user = 0x20000000, 0x10000000
        libc = ctypes.CDLL(None)
        unshared = libc.unshare(new_pids) == 0 or libc.unshare(new_pids | new_user) == 0
        parent.say(unshared)
        if not unshared:
            return
        if (pid := os.fork()) == 0:
            inside(parent)
            os._exit(0)
        parent.say(pid)
        parent.wait()

    with forked(body) as child:
        need(child.hear(), "no pid namespaces here", root=True)
        said = [child.hear(), child.hear()]
        (pid,) = (one for one in said if isinstance(one, int))
        ((inner, address),) = (one for one in said if isinstance(one, list))
        assert inner == 1
        everything = frozenset(cpus)
        assert affinity.emulate(pid, [1, 128, address], lambda _: everything, yes) == 0
        assert os.sched_getaffinity(pid) == {cpus[0]}
        missing = affinity.emulate(pid, [4000, 128, address], lambda _: everything, yes)
        assert missing == errno.ESRCH
