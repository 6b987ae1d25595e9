"""What this host lets us do, found out by doing it, in an experiment for each question."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator, Set

from governor.errors import GovernorError
from governor.subsystem.machine import Machine
from workers import affinity, cpu, experiment, files, membership, memory, seccomp
from workers.experiment import Finding, Findings, Probe, words
from workers.syscalls import table

_ANSWER = errno.EXDEV
"""An errno that sched_setaffinity never has by itself."""


def examine() -> Findings:
    """Run all probes, which takes a fraction of a second; a finding for every name."""
    findings: Findings = {}
    for probe in PROBES:
        findings.update(experiment.run(probe))
    return findings


# -- traps -------------------------------------------------------------------------------------


def _be_trapped(stream: socket.socket) -> None:
    """Install a filter, hand over its listener, and make two calls that are trapped."""
    try:
        listener = seccomp.install(seccomp.build(frozenset({seccomp.AFFINITY}), table()))
    except (OSError, GovernorError) as error:
        stream.sendall(json.dumps([error.errno, words(error)]).encode())
        return
    socket.send_fds(stream, [b"[0, null]"], [listener])
    os.close(listener)
    cpus = os.sched_getaffinity(0)
    stream.sendall(bytes([_try_affinity(cpus), _try_affinity(cpus)]))


def _try_affinity(cpus: Set[int]) -> int:
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        return error.errno or 0
    return 0


def _trap(pid: int, stream: socket.socket) -> Iterator[tuple[str, Finding]]:
    """Refuse the worker's first call, and read the memory of the second."""
    text, descriptors, _, _ = socket.recv_fds(stream, 4096, 1)
    if not text:
        raise GovernorError(errno.EPERM, "the host ended the process that installed the filter")
    if descriptors:
        yield from _use_listener(descriptors[0], stream)
        return
    code, reason = json.loads(text)
    yield "seccomp_notification", Finding(False, reason)
    untold = "it takes a listener to tell"
    if code == errno.EBUSY:
        governed = membership.read(os.getpid()) is not None
        seen = "this process belongs to a governed job" if governed else ""
        yield "no_other_listener", Finding(False, seen)
    else:
        yield "no_other_listener", Finding(None, untold)
    for name in ("synchronous_wake_up", "memory"):
        yield name, Finding(None, untold)


def _use_listener(listener: int, stream: socket.socket) -> Iterator[tuple[str, Finding]]:
    yield "no_other_listener", Finding(True)
    yield "synchronous_wake_up", Finding(seccomp.set_sync(listener, True))
    _respond(listener, _receive(listener), _ANSWER)
    second = _receive(listener)
    memory = _memory(second)
    _respond(listener, second, 0)
    trapped = stream.recv(2) == bytes([_ANSWER, 0])
    yield "seccomp_notification", Finding(trapped, "" if trapped else "the answer did not arrive")
    yield "memory", memory


def _receive(listener: int) -> seccomp.Notification:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    if not poll.poll(experiment.PATIENCE * 1000):
        raise GovernorError(errno.ETIMEDOUT, "the trapped call did not arrive")
    request = bytearray(seccomp.REQUEST.size)
    try:
        fcntl.ioctl(listener, seccomp.RECV, request)
    except FileNotFoundError:
        raise GovernorError(errno.ENOENT, "something else refuses the call before") from None
    return seccomp.Notification.unpack(request)


def _respond(listener: int, call: seccomp.Notification, error: int) -> None:
    fcntl.ioctl(listener, seccomp.SEND, seccomp.RESPONSE.pack(call.id, 0, -error, 0))


def _memory(call: seccomp.Notification) -> Finding:
    """Read the first word of the mask that a thread wants to set."""
    try:
        with open(f"/proc/{call.tid}/mem", "rb", buffering=0) as file:
            os.pread(file.fileno(), 8, call.args[2])
    except OSError as error:
        return Finding(False, f"{words(error)}{_yama()}")
    return Finding(True)


def _yama() -> str:
    """What forbids reading a sibling's memory on hosts that have this module."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as file:
            return f"; kernel.yama.ptrace_scope is {file.read().strip()}"
    except OSError:
        return ""


# -- a process that is looked at -----------------------------------------------------------------


def _wait(stream: socket.socket) -> None:
    """Be there until the stream ends."""
    stream.recv(1)


def _look(name: str, look: Callable[[int], Finding]) -> Probe:
    """A probe of another process of the same user."""

    def agent(pid: int, stream: socket.socket) -> Iterator[tuple[str, Finding]]:
        yield name, look(pid)

    return Probe((name,), agent, _wait)


def _tag(pid: int) -> Finding:
    before = membership.read(pid)
    wanted = membership.Tag(membership.MAX_NONCE, 1, 1)
    membership.write(pid, wanted)
    if membership.read(pid) == wanted:
        return Finding(True)
    nested = "another governor keeps its own tag there" if before else "it does not stay"
    return Finding(False, nested)


def _processes(pid: int) -> Finding:
    """A process that /proc lists and prlimit(2) may ask, as `membership.scan` does it."""
    os.stat(f"/proc/{pid}/task")
    hidden = next((o for o in _mount_options("/proc") if o.startswith("hidepid=")), "")
    return Finding(str(pid) in os.listdir("/proc"), hidden)


def _open_files(pid: int) -> Finding:
    """kcmp(2) of the two processes' tables of descriptors, which are different ones."""
    same = files.kcmp(pid, pid, files.KCMP_FILES)
    other = files.kcmp(pid, os.getpid(), files.KCMP_FILES)
    return Finding(same == 0 and other > 0, "" if same >= 0 else "refused")


def _descriptor_count(pid: int) -> Finding:
    path = f"/proc/{pid}/fd"
    before, named, after = os.stat(path).st_size, len(os.listdir(path)), os.stat(path).st_size
    while before != after:  # it may still be closing what it does not need
        before, named, after = after, len(os.listdir(path)), os.stat(path).st_size
    return Finding(after == named)


def _clock(pid: int) -> Finding:
    return Finding(cpu.process_ns(pid) is not None and cpu.sample(pid) is not None)


def _affinity(pid: int) -> Finding:
    wanted = frozenset({min(os.sched_getaffinity(pid))})
    affinity.confine([pid], wanted)
    return Finding(os.sched_getaffinity(pid) == wanted)


def _memory_policy(pid: int) -> Finding:
    """Bind the memory of this process, and move that of another, to the nodes they use anyway."""
    nodes = Machine().usable("mems")
    several = f"{len(nodes)} nodes" if len(nodes) > 1 else "one node, so there is nothing to choose"
    try:
        memory.bind(nodes)
        memory.migrate(pid, nodes, nodes)
    except OSError as error:
        return Finding(len(nodes) == 1, f"{several}: {words(error)}")
    return Finding(True, several)


# -- the process itself --------------------------------------------------------------------------


def _adopt(pid: int, stream: socket.socket) -> Iterator[tuple[str, Finding]]:
    """Become the parent of a grandchild whose own parent has ended.

    It waits for the worker, which always ends, whatever becomes of us.
    """
    from workers.spawner import become_subreaper

    become_subreaper()
    results, output = os.pipe()
    child = os.fork()
    if child == 0:
        grandchild = os.fork()
        if grandchild == 0:
            _wait(stream)
            os._exit(0)
        os.write(output, struct.pack("i", grandchild))
        os._exit(0)
    (orphan,) = struct.unpack("i", os.read(results, 4))
    os.waitpid(child, 0)
    os.kill(orphan, signal.SIGKILL)
    try:
        os.waitpid(orphan, 0)
    except ChildProcessError:
        yield "subreaper", Finding(False, "orphans go to init")
    else:
        yield "subreaper", Finding(True)


def _use_memory_file(pid: int, stream: socket.socket) -> Iterator[tuple[str, Finding]]:
    """Keep a job's specification in a file without a name."""
    os.close(os.memfd_create("governor-probe", os.MFD_CLOEXEC))
    yield "memfd", Finding(True)


def _find_cgroups(pid: int, stream: socket.socket) -> Iterator[tuple[str, Finding]]:
    """A hierarchy of cgroup v1 in which we could make a group."""
    with open("/proc/self/mounts") as file:
        rows = [line.split() for line in file]
    mounted = {row[1] for row in rows if row[2] == "cgroup"}
    writable = sorted(path for path in mounted if os.access(path, os.W_OK))
    seen = f"{', '.join(writable)}" if writable else "mounted, not writable" if mounted else ""
    yield "cgroup_v1", Finding(bool(writable), seen)


def _mount_options(path: str) -> list[str]:
    with open("/proc/self/mounts") as file:
        rows = [line.split() for line in file]
    return next((row[3].split(",") for row in reversed(rows) if row[1] == path), [])


PROBES = (
    Probe(
        ("seccomp_notification", "no_other_listener", "synchronous_wake_up", "memory"),
        _trap,
        _be_trapped,
    ),
    _look("tag", _tag),
    _look("process_list", _processes),
    _look("kcmp", _open_files),
    _look("descriptor_count", _descriptor_count),
    _look("cpu_clock", _clock),
    _look("affinity", _affinity),
    _look("memory_policy", _memory_policy),
    Probe(("subreaper",), _adopt, _wait),
    Probe(("memfd",), _use_memory_file, _wait),
    Probe(("cgroup_v1",), _find_cgroups, _wait),
)
