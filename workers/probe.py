"""What this host lets us do, found out by doing it.

Every probe runs in processes of its own, so that whatever the host answers (a refusal, a signal,
silence) is a finding and happens to nobody else. As in a governed job, there are two of them: one
stands for the worker and one, no relative of it but a sibling, for the agent, since some hosts
let a process inspect its descendants only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Set
from typing import BinaryIO, NamedTuple, NoReturn

from governor.errors import GovernorError
from governor.subsystem.machine import Machine
from workers import affinity, cpu, files, membership, memory, seccomp
from workers.syscalls import table

PATIENCE = 5.0
"""Seconds that a probe may take; one that takes longer has not worked."""

_ANSWER = errno.EXDEV
"""An errno that sched_setaffinity never has by itself."""

_FAILED = ""
"""The name under which an agent's stand-in says why it could not go on."""


class Finding(NamedTuple):
    """Whether something works here (None: it cannot be told), and what was seen."""

    ok: bool | None
    seen: str = ""


Findings = dict[str, Finding]
Agent = Callable[[int, socket.socket], Iterator[tuple[str, Finding]]]
"""What the agent's stand-in does: (pid of the worker's, stream to it) -> findings by name."""


class Probe(NamedTuple):
    """An experiment: the names of all it finds out, and what its two processes do."""

    names: tuple[str, ...]
    agent: Agent
    worker: Callable[[socket.socket], None]


def examine() -> Findings:
    """Run all probes, which takes a fraction of a second; a finding for every name."""
    findings: Findings = {}
    for probe in PROBES:
        findings.update(run(probe))
    return findings


def run(probe: Probe) -> Findings:
    """Run one probe. The first thing its processes did not get to is found not to work.

    What was to come after it cannot be told, and neither can anything without processes.
    """
    try:
        findings, reason = _experiment(probe)
    except OSError as error:
        nothing = Finding(None, f"no process for the probe: {_words(error)}")
        return dict.fromkeys(probe.names, nothing)
    rest = [name for name in probe.names if name not in findings]
    findings.update(dict.fromkeys(rest, Finding(None, reason)))
    findings.update(dict.fromkeys(rest[:1], Finding(False, reason)))
    return findings


def _experiment(probe: Probe) -> tuple[Findings, str]:
    """Run a probe's processes; what they found, and what kept them from finding more."""
    theirs, ours = socket.socketpair()
    pids: list[int] = []
    try:
        with theirs, ours:
            pids.append(_fork(lambda: probe.worker(theirs), ours))
            results, output = os.pipe()
            with open(results, "rb", buffering=0) as stream:
                with open(output, "wb", buffering=0) as end:
                    pids.append(_fork(lambda: _report(probe.agent(pids[0], ours), end), theirs))
                theirs.close()
                ours.close()
                findings = _read(stream)
        reason = _end(pids.pop())
    finally:
        for pid in pids:
            _end(pid)
    failure = findings.pop(_FAILED, None)
    return findings, failure.seen if failure else reason


# -- processes ---------------------------------------------------------------------------------


def _fork(body: Callable[[], None], others: socket.socket) -> int:
    """Run ``body`` in a child without ``others``, which has to end for its owner to notice."""
    pid = os.fork()
    if pid:
        return pid
    _be_child(body, others)


def _be_child(body: Callable[[], None], others: socket.socket) -> NoReturn:
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(2 * int(PATIENCE))  # should our parent be killed
        others.close()
        body()
    finally:
        os._exit(0)


def _report(findings: Iterator[tuple[str, Finding]], output: BinaryIO) -> None:
    """Write each finding as soon as there is one: the next step may be the last."""
    try:
        for name, finding in findings:
            output.write(json.dumps([name, *finding]).encode() + b"\n")
    except Exception as error:
        output.write(json.dumps([_FAILED, False, _words(error)]).encode() + b"\n")


def _read(results: BinaryIO) -> Findings:
    """All findings, until there will be no more or patience ends."""
    text = b""
    deadline = time.monotonic() + PATIENCE
    poll = select.poll()
    poll.register(results, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        chunk = results.read(65536)
        if not chunk:
            break
        text += chunk
    rows = [json.loads(line) for line in text.splitlines()]
    return {name: Finding(ok, seen) for name, ok, seen in rows}


def _end(pid: int) -> str:
    """End a process of ours; returns what kept it from telling more."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        return "no answer"
    number = os.WTERMSIG(status)
    if number == signal.SIGKILL:
        return f"no answer within {PATIENCE:g} s"
    return f"the host ended the process with {signal.Signals(number).name}"


def _words(error: Exception) -> str:
    """An exception in a few words."""
    if isinstance(error, GovernorError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


# -- traps -------------------------------------------------------------------------------------


def _be_trapped(stream: socket.socket) -> None:
    """Install a filter, hand over its listener, and make two calls that are trapped."""
    try:
        listener = seccomp.install(seccomp.build(frozenset({seccomp.AFFINITY}), table()))
    except (OSError, GovernorError) as error:
        stream.sendall(json.dumps([error.errno, _words(error)]).encode())
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
    if not poll.poll(PATIENCE * 1000):
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
        return Finding(False, f"{_words(error)}{_yama()}")
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
        return Finding(len(nodes) == 1, f"{several}: {_words(error)}")
    return Finding(True, several)


# -- the process itself --------------------------------------------------------------------------


def _adopt(pid: int, stream: socket.socket) -> Iterator[tuple[str, Finding]]:
    """Become the parent of a grandchild whose own parent has ended."""
    from workers.spawner import become_subreaper

    become_subreaper()
    results, output = os.pipe()
    child = os.fork()
    if child == 0:
        grandchild = os.fork()
        if grandchild == 0:
            signal.pause()
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
