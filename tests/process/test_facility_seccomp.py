from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from governor.errors import GovernorError
from tests.capabilities import need
from tests.programs.facility_support import (
    DEADLINE,
    LIBC,
    Parent,
    as_user,
    carry_on,
    compiled,
    filtered,
    forked,
    governed,
    raw,
    receive,
    respond,
)
from workers import seccomp
from workers.membership import RLIMIT_LOCKS
from workers.syscalls import CLONE_PIDFD, created, table

USERS = ["me", "nobody"]
CALLS = table()
HIGH_ADDRESS = 64 << 32


def refuse(listener: int, call: seccomp.Notification) -> int:
    return errno.EAGAIN


def try_fork() -> str:
    try:
        pid = os.fork()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    if pid == 0:
        os._exit(7)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def try_thread() -> str:
    thread = threading.Thread(target=lambda: None)
    try:
        thread.start()
    except RuntimeError as error:
        return str(error)
    thread.join()
    return "ran"


@pytest.mark.parametrize("user", USERS)
def test_a_fork_is_answered(user: str) -> None:
    def body() -> None:
        for answer, outcome in ((carry_on, "7"), (refuse, "EAGAIN")):
            result, calls = governed({"tasks"}, try_fork, answer)
            assert result == outcome
            assert [call.nr in CALLS.tasks for call in calls] == [True]

    as_user(user, body)


def test_a_thread_is_answered() -> None:
    result, calls = governed({"tasks"}, try_thread)
    assert result == "ran"
    assert [call.nr in CALLS.tasks for call in calls] == [True]
    result, _ = governed({"tasks"}, try_thread, refuse)
    assert result == "can't start new thread"


def test_other_calls_are_left_alone() -> None:
    def body() -> list[int]:
        for _ in range(100):
            os.getppid()
        os.close(os.dup(0))
        os.sched_setaffinity(0, os.sched_getaffinity(0))
        with open("/dev/null"):
            pass
        return [os.getppid()]

    result, calls = governed({"tasks"}, body)
    assert result == [os.getpid()]
    assert calls == []


def test_affinity_is_trapped_on_demand() -> None:
    def body() -> None:
        os.sched_setaffinity(0, os.sched_getaffinity(0))

    _, calls = governed({"affinity"}, body)
    assert [call.nr for call in calls] == [CALLS.sched_setaffinity]


@pytest.mark.once
def test_a_filter_says_whether_it_looks_out_for_memory() -> None:
    """So that workers make themselves room where they have to, and not otherwise."""
    calls = {table().memory.mmap, table().memory.brk}
    assert seccomp.tests(seccomp.build({"tasks", "privvmpages"}, table()), calls)
    assert not seccomp.tests(seccomp.build({"tasks", "files", "sockets"}, table()), calls)


def test_only_memory_that_counts_is_trapped() -> None:
    """The filter looks at two arguments of mmap and lets the rest pass."""
    size = 12345 * mmap.PAGESIZE
    kinds = [
        (mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE),
        (mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED),
        (mmap.PROT_READ, mmap.MAP_PRIVATE),
        (mmap.PROT_READ, mmap.MAP_SHARED),
    ]

    def body() -> None:
        for protection, flags in kinds:
            with mmap.mmap(-1, size, flags | mmap.MAP_ANONYMOUS, protection) as made:
                if flags == mmap.MAP_PRIVATE:
                    address = ctypes.addressof(ctypes.c_char.from_buffer_copy(b"x"))
                    raw(CALLS.memory.mprotect[0], address & -mmap.PAGESIZE, 0, protection)
                del made

    _, calls = governed({"privvmpages"}, body)
    mapped = [call for call in calls if call.nr == CALLS.memory.mmap and call.args[1] == size]
    assert [call.args[2:4] for call in mapped] == [(3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)]
    protected = [call for call in calls if call.nr in CALLS.memory.mprotect and not call.args[1]]
    assert [call.args[2] for call in protected] == [mmap.PROT_READ | mmap.PROT_WRITE]


def make_pipe() -> None:
    os.pipe()


def make_socketpair() -> None:
    for end in socket.socketpair():
        end.detach()


CREATORS: dict[str, Callable[[], object]] = {
    "open": lambda: os.open("/dev/null", os.O_RDONLY),
    "pipe": make_pipe,
    "socket": lambda: socket.socket().detach(),
    "socketpair": make_socketpair,
    "eventfd": lambda: os.eventfd(0),
    "epoll": lambda: LIBC.epoll_create1(0),
    "memfd": lambda: os.memfd_create("x"),
    "timerfd": lambda: LIBC.timerfd_create(1, 0),
    "inotify": lambda: LIBC.inotify_init1(0),
    "signalfd": lambda: LIBC.signalfd(-1, ctypes.create_string_buffer(128), 0),
    "pidfd": lambda: os.pidfd_open(os.getpid()),
    "dup": lambda: os.dup(0),
}


@pytest.mark.parametrize("kind", CREATORS)
def test_every_new_file_is_announced(kind: str) -> None:
    def body() -> int:
        directory = os.open("/proc/self/fd", os.O_RDONLY)
        before = len(os.listdir(directory))
        CREATORS[kind]()
        return len(os.listdir(directory)) - before

    result, calls = governed({"files"}, body)
    new = 0 if kind == "dup" else result
    assert result > 0
    assert sum(created(CALLS, call.nr, call.args) for call in calls) == 1 + new


def test_changing_a_signalfd_creates_nothing() -> None:
    def body() -> None:
        mask = ctypes.create_string_buffer(128)
        LIBC.signalfd(LIBC.signalfd(-1, mask, 0), mask, 0)

    _, calls = governed({"files"}, body)
    assert [created(CALLS, call.nr, call.args) for call in calls] == [1, 0]


def test_a_clone_that_gives_a_pidfd_creates_a_file() -> None:
    def body() -> int:
        pidfd = ctypes.c_int(-1)
        flags = CLONE_PIDFD | signal.SIGCHLD
        if (pid := raw(CALLS.clone, flags, 0, ctypes.addressof(pidfd))) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        if (pid := raw(CALLS.clone, signal.SIGCHLD)) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return pidfd.value

    result, calls = governed({"files"}, body)
    assert result > 0
    assert [created(CALLS, call.nr, call.args) for call in calls] == [1]


@pytest.mark.parametrize("trap", sorted(seccomp.TRAPS))
def test_io_uring_is_refused(trap: str) -> None:
    def body() -> list[int]:
        return [raw(number) for number in sorted(CALLS.io_uring)]

    result, calls = governed({trap}, body)
    assert result == [-errno.ENOSYS] * 3
    assert calls == []


def test_other_abis_are_refused(tmp_path: Path) -> None:
    need(os.uname().machine == "x86_64", "only x86_64 has other ABIs")
    program = compiled("facility_abi", tmp_path)
    plain = subprocess.run([program], capture_output=True, text=True)
    need(plain.returncode == 0 and "i386 -" not in plain.stdout, "no i386 ABI in this kernel")

    def body() -> str:
        return subprocess.run([program], capture_output=True, text=True).stdout

    result, _ = governed(set(), body)
    assert result == f"i386 {-errno.ENOSYS}\nx32 {-errno.ENOSYS}\n"


def set_by_prlimit() -> int:
    value = (ctypes.c_uint64 * 2)(5, 5)
    return raw(CALLS.prlimit64, 0, RLIMIT_LOCKS, ctypes.addressof(value), 0)


def set_by_prlimit_high_resource() -> int:
    # The kernel takes the resource for 32 bits, whatever is above them.
    value = (ctypes.c_uint64 * 2)(5, 5)
    return raw(CALLS.prlimit64, 0, RLIMIT_LOCKS | 1 << 32, ctypes.addressof(value), 0)


def set_by_prlimit_high_pointer() -> int:
    """The low half of the pointer is zero, as if it were null."""
    LIBC.mmap.restype = ctypes.c_void_p
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10
    address = LIBC.mmap(ctypes.c_void_p(HIGH_ADDRESS), ctypes.c_size_t(4096), 3, flags, -1, 0)
    assert address == HIGH_ADDRESS
    (ctypes.c_uint64 * 2).from_address(HIGH_ADDRESS)[:] = [5, 5]
    return raw(CALLS.prlimit64, 0, RLIMIT_LOCKS, HIGH_ADDRESS, 0)


def set_by_setrlimit() -> int:
    value = (ctypes.c_uint64 * 2)(5, 5)
    return raw(CALLS.setrlimit, RLIMIT_LOCKS, ctypes.addressof(value))


SETTERS = [
    set_by_prlimit,
    set_by_prlimit_high_resource,
    set_by_prlimit_high_pointer,
    set_by_setrlimit,
]


@pytest.mark.parametrize("setter", SETTERS)
@pytest.mark.parametrize("traps", [set(), {"tasks", "files", "affinity"}])
def test_the_tag_can_be_read_but_not_changed(setter: Callable[[], int], traps: set[str]) -> None:
    def body() -> list[object]:
        before = resource.prlimit(0, RLIMIT_LOCKS)
        returned = setter()
        return [returned, list(before), list(resource.prlimit(0, RLIMIT_LOCKS))]

    (returned, before, after), _ = governed(traps, body)
    assert returned == 0
    assert after == before


def test_other_limits_can_be_changed() -> None:
    def body() -> list[int]:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        value = (ctypes.c_uint64 * 2)(100, 100)
        assert raw(CALLS.setrlimit, resource.RLIMIT_NOFILE, ctypes.addressof(value)) == 0
        limits = (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)
        return [resource.getrlimit(limit)[0] for limit in limits]

    assert governed(set(), body)[0] == [0, 100]


def test_a_second_listener_is_refused_with_a_reason() -> None:
    def body() -> str:
        try:
            seccomp.install(seccomp.build({"tasks"}, CALLS))
        except GovernorError as error:
            return f"{error.errno} {error.message}"
        return "installed"

    result, _ = governed(set(), body)
    assert result.startswith(f"{errno.EBUSY} a seccomp listener is already installed")


def test_an_unknown_facility_is_refused() -> None:
    with pytest.raises(ValueError, match="sorrows"):
        seccomp.build({"sorrows"}, CALLS)


def test_the_listener_is_closed_by_exec() -> None:
    def body(parent: Parent) -> None:
        listener = seccomp.install(seccomp.build(set(), CALLS))
        parent.say(os.get_inheritable(listener))

    with forked(body) as child:
        assert child.hear() is False


@pytest.mark.parametrize("user", USERS)
def test_no_new_privileges_only_when_the_kernel_insists(user: str) -> None:
    def flag() -> int:
        text = Path("/proc/self/status").read_text()
        return int(text.split("NoNewPrivs:")[1].split()[0])

    def body() -> None:
        privileged = int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16)
        expected = flag() if privileged >> 21 & 1 else 1
        assert governed(set(), flag)[0] == expected

    as_user(user, body)


def test_an_answered_call_is_no_longer_valid() -> None:
    with filtered({"tasks"}, lambda parent: parent.say(try_fork())) as (child, listener):
        assert select.select([listener], [], [], DEADLINE)[0]
        call = receive(listener)
        assert call.tid == child.pid
        assert seccomp.id_valid(listener, call.id)
        respond(listener, call.id, errno.EAGAIN)
        assert not seccomp.id_valid(listener, call.id)
        assert child.hear() == "EAGAIN"


def test_synchronous_wake_up_is_set_or_reported_missing() -> None:
    with filtered({"tasks"}, lambda parent: parent.say("ran")) as (child, listener):
        assert seccomp.set_sync(listener, True) == seccomp.set_sync(listener, False)
        assert child.hear() == "ran"
