"""Forked children for the tests of the OS facilities: as another user, or under a filter."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import pwd
import select
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

from tests.capabilities import need
from workers import resources, seccomp
from workers.syscalls import table

PROGRAMS = Path(__file__).parent
DEADLINE = 60.0
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
LIBC = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    LIBC.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)


def set_dumpable(on: bool) -> None:
    prctl(_PR_SET_DUMPABLE, int(on))


def die_with(parent: int) -> None:
    """Be killed when the parent, of this pid, ends. A fork or a change of user forgets it."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def raw(number: int, *args: int) -> int:
    """A system call past the C library: its value, or minus its errno."""
    ctypes.set_errno(0)
    padded = [ctypes.c_long(arg) for arg in (*args, *[0] * (6 - len(args)))]
    value = int(LIBC.syscall(ctypes.c_long(number), *padded))
    return value if value >= 0 else -ctypes.get_errno()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds: for states of other processes that no event announces."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "the awaited state did not come"
        os.sched_yield()


class Child:
    """A forked child and the stream that connects us."""

    def __init__(self, pid: int, stream: socket.socket) -> None:
        self.pid = pid
        self._stream = stream
        self._lines = stream.makefile("rb")

    def hear(self, start: bytes = b"") -> Any:
        """What the child said next; ``start`` of it was received already."""
        line = start + self._lines.readline()
        assert line, "the child ended without a word"
        said = json.loads(line)
        if isinstance(said, dict) and "traceback" in said:
            raise AssertionError(f"in the child:\n{said['traceback']}")
        return said

    def say(self) -> None:
        """Let the child go on from its ``Parent.wait``."""
        self._stream.sendall(b"g")

    def reap(self) -> None:
        os.waitpid(self.pid, 0)

    def close(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        self._lines.close()
        self._stream.close()


class Parent:
    """The child's end of the stream."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream

    def say(self, what: object) -> None:
        self.stream.sendall(json.dumps(what).encode() + b"\n")

    def wait(self) -> None:
        if not self.stream.recv(1):
            os._exit(1)


@contextmanager
def forked(body: Callable[[Parent], object]) -> Iterator[Child]:
    """Run ``body`` in a child, which dies with us; what it raises, ``hear`` raises."""
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE)
    tester = os.getpid()
    pid = os.fork()
    if pid == 0:
        _child(body, tester, ours, theirs)
    theirs.close()
    child = Child(pid, ours)
    try:
        yield child
    finally:
        child.close()


def _child(
    body: Callable[[Parent], object], tester: int, ours: socket.socket, theirs: socket.socket
) -> None:
    die_with(tester)
    ours.close()
    parent = Parent(theirs)
    try:
        body(parent)
    except BaseException:
        parent.say({"traceback": traceback.format_exc()})
        os._exit(1)
    os._exit(0)


def as_user(name: str, body: Callable[[], object]) -> None:
    """Run the body of a test in a child as this user ("me": as we are).

    Only root can become another user; anybody else is an ordinary user already.
    """

    def run(parent: Parent) -> None:
        if name != "me" and os.geteuid() == 0:
            resources.trapped(resources.NAMES, table())  # nobody else may be able to import them
            entry = pwd.getpwnam(name)
            os.setgroups([])
            os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
            os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
            # A change of user makes a process unreadable, as long as it does not exec.
            set_dumpable(True)
            die_with(os.getppid())
        body()
        parent.say("done")

    with forked(run) as child:
        assert child.hear() == "done"


@contextmanager
def of_another_user() -> Iterator[int]:
    """A process that belongs to neither nobody nor, unless we are root, to us."""
    if os.geteuid() != 0:
        yield 1
        return
    with forked(lambda parent: parent.wait()) as child:
        yield child.pid


Answer = Callable[[int, seccomp.Notification], int | None]
"""(listener, call) -> errno to fail with, 0 to go on, None: answered already."""


def carry_on(listener: int, call: seccomp.Notification) -> int:
    return 0


def respond(listener: int, id: int, code: int) -> None:
    """Answer a notification: go on, or fail with this errno."""
    flags = 0 if code else seccomp.CONTINUE
    fcntl.ioctl(listener, seccomp.SEND, seccomp.RESPONSE.pack(id, 0, -code, flags))


def receive(listener: int) -> seccomp.Notification:
    request = bytearray(seccomp.REQUEST.size)
    fcntl.ioctl(listener, seccomp.RECV, request)
    return seccomp.Notification.unpack(request)


@contextmanager
def filtered(traps: set[str], body: Callable[[Parent], object]) -> Iterator[tuple[Child, int]]:
    """A child whose ``body`` runs under a filter, and the listener that it gave us."""

    def run(parent: Parent) -> None:
        listener = seccomp.install(seccomp.build(traps, table()))
        socket.send_fds(parent.stream, [b"l"], [listener])
        parent.wait()
        os.close(listener)
        body(parent)

    ours: list[int] = []
    with forked(run) as child:
        start, ours, _, _ = socket.recv_fds(child._stream, 1, 1)
        try:
            assert ours, child.hear(start)
            child.say()
            yield child, ours[0]
        finally:
            for fd in ours:
                os.close(fd)


def governed(
    traps: set[str], body: Callable[[], object], answer: Answer = carry_on
) -> tuple[Any, list[seccomp.Notification]]:
    """What ``body`` returned under the filter, and the calls of it that were trapped."""
    calls: list[seccomp.Notification] = []
    with filtered(traps, lambda parent: parent.say(body())) as (child, listener):
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(child._stream, select.POLLIN)
        while True:
            ready = dict(poll.poll(DEADLINE * 1000))
            assert ready, "neither a call nor a result"
            if ready.get(listener, 0) & select.POLLIN:
                calls.append(_serve(listener, answer))
            elif child._stream.fileno() in ready:
                return child.hear(), calls


def _serve(listener: int, answer: Answer) -> seccomp.Notification:
    call = receive(listener)
    code = answer(listener, call)
    if code is not None:
        try:
            respond(listener, call.id, code)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
    return call


def compiled(name: str, where: Path) -> str:
    """Compile a C program of this directory."""
    compiler = which("cc")
    need(compiler is not None, "no C compiler")
    assert compiler is not None
    program = where / name
    source = PROGRAMS / f"{name}.c"
    subprocess.run([compiler, "-O1", "-pthread", "-o", program, source], check=True)
    return str(program)
