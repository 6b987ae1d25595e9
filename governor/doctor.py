"""What this host can do for governor, and how far each subsystem's limits hold on it.

Capabilities are probed by using them (`workers.probe`). A subsystem's level follows from what it
traps and from the facility it names, so those of other packages are diagnosed as well.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from governor import __version__, launch, registry
from governor.errors import GovernorError
from governor.results import ENFORCED, LEVELS, OBSERVED, PARTIAL
from governor.subsystem import Subsystem
from governor.unseen import UNSEEN
from workers import probe, shim
from workers.experiment import Finding

OK: Final = "ok"
MISSING: Final = "missing"
ABSENT: Final = "absent"
"""State of something that governor itself does not use."""
UNKNOWN: Final = "unknown"

NONE: Final = "none"
"""Level of a subsystem that cannot even observe here."""


class Capability(NamedTuple):
    """Something a host may offer: what it is for, what follows without it, what to do then."""

    name: str
    use: str
    without: str
    advice: str


class Condition(NamedTuple):
    """A capability as it is on this host: its ``state``, and what was ``seen`` of it."""

    capability: Capability
    state: str
    seen: str


class Standing(NamedTuple):
    """The level that a subsystem has on this host, and why."""

    name: str
    level: str
    why: str
    best: str = ENFORCED
    """The level it would have on a host that lacks nothing."""


class Diagnosis(NamedTuple):
    """All there is to say about a host. ``user`` is the one it was examined as."""

    version: str
    kernel: str
    machine: str
    user: str
    conditions: list[Condition]
    standings: list[Standing]

    @property
    def weak(self) -> list[str]:
        """The subsystems that would be better enforced elsewhere."""
        return [standing.name for standing in self.standings if standing.level != standing.best]


CAPABILITIES: Final = (
    Capability(
        "seccomp_notification",
        "calls that meet a limit are refused",
        "nothing can be refused: limits are only watched",
        "it takes Linux 5.19, a seccomp profile that permits seccomp(2), and no other listener",
    ),
    Capability(
        "no_other_listener",
        "a process has room for one listener only",
        "another governor, container runtime or sandbox traps calls here already",
        "run governor outside of it",
    ),
    Capability(
        "synchronous_wake_up",
        "a trapped call is answered in microseconds",
        "a trapped call takes about four times as long; nothing else changes",
        "it takes Linux 6.6",
    ),
    Capability(
        "shim",
        "signals do not disturb calls that are trapped",
        "some programs fail under limits that they never meet",
        "",
    ),
    Capability(
        "tag",
        "every process carries its container along",
        "no process can be told to belong to a container",
        "leave RLIMIT_LOCKS alone (ulimit -x unlimited), and permit prlimit(2) on one's own"
        " processes; inside a governed job there is no way",
    ),
    Capability(
        "process_list",
        "processes are found in /proc",
        "no process can be found",
        "mount /proc in the pid namespace that governor runs in, without hidepid=4",
    ),
    Capability(
        "kcmp",
        "an open file counts once, however many hold it",
        "each descriptor counts as a file, so that calls are refused too early",
        "it takes a kernel with CONFIG_KCMP, and a seccomp profile that permits kcmp(2)",
    ),
    Capability(
        "descriptor_count",
        "descriptors are counted without listing them",
        "counting open files takes longer",
        "it takes Linux 6.2",
    ),
    Capability(
        "affinity",
        "running processes are confined to CPUs",
        "processes cannot be kept on their CPUs",
        "permit sched_setaffinity(2) on one's own processes",
    ),
    Capability(
        "memory_policy",
        "jobs are bound to nodes of memory",
        "jobs cannot be kept on their nodes of memory, and are not started where they would be",
        "it takes CONFIG_NUMA, and a seccomp profile that permits set_mempolicy(2)",
    ),
    Capability(
        "memory",
        "what a call points to is read: a choice of CPUs, a path, a lock",
        "a job that chooses its own CPUs is refused (EPERM), no terminal and no lock of fcntl is",
        "set kernel.yama.ptrace_scope to 0, or give governor CAP_SYS_PTRACE",
    ),
    Capability(
        "cpu_clock",
        "CPU time is read to the nanosecond",
        "CPU time cannot be measured",
        "permit clock_gettime(2) on clocks of processes, and reading /proc/PID/stat",
    ),
    Capability(
        "subreaper",
        "orphans come back and are accounted for",
        "the CPU time of orphans is lost after their last sample",
        "permit prctl(PR_SET_CHILD_SUBREAPER)",
    ),
    Capability(
        "memfd",
        "jobs are described in files without a name",
        "no job can be started",
        "permit memfd_create(2)",
    ),
    Capability(
        "runtime_directory",
        "governor's processes meet at sockets",
        "governor cannot start",
        "set XDG_RUNTIME_DIR or TMPDIR to a directory that you may write to, with a short name",
    ),
    Capability(
        "cgroup_v1",
        "the benchmark compares with it; nothing else does",
        "the benchmark has one column less",
        "",
    ),
)

_BASICS: Final = ("runtime_directory", "memfd", "process_list", "tag")
_NEEDED: Final[Mapping[str | None, tuple[str, ...]]] = {
    "affinity": ("affinity",),
    "mempolicy": ("memory_policy",),
    "cpu": ("cpu_clock",),
}
_WEAKENING: Final[Mapping[str | None, tuple[str, ...]]] = {
    "affinity": ("memory_policy",),
    "files": ("kcmp",),
    "cpu": ("subreaper",),
    "ptys": ("memory", "kcmp"),
    "locks": ("memory", "kcmp"),
}
"""Facility -> what it cannot do without, and what its figures are wrong without."""

_TRAPS: Final = "seccomp_notification"
_NOT_USED: Final = "cgroup_v1"


def examine() -> Diagnosis:
    """Examine this host, as this user."""
    findings = {
        **probe.examine(),
        "shim": _shim(),
        "runtime_directory": _runtime_directory(),
    }
    conditions = [_condition(capability, findings) for capability in CAPABILITIES]
    host = os.uname()
    kernel = f"{host.sysname} {host.release}"
    standings = [_standing(name, findings) for name in registry.names()]
    return Diagnosis(__version__, kernel, host.machine, _user(), conditions, standings)


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the diagnosis as values for JSON."""
    conditions = [
        {**condition.capability._asdict(), "state": condition.state, "seen": condition.seen}
        for condition in diagnosis.conditions
    ]
    return {
        "version": diagnosis.version,
        "kernel": diagnosis.kernel,
        "machine": diagnosis.machine,
        "user": diagnosis.user,
        "capabilities": conditions,
        "subsystems": [standing._asdict() for standing in diagnosis.standings],
        "unseen": [resource._asdict() for resource in UNSEEN],
    }


def standing(subsystem: Subsystem, findings: Mapping[str, Finding]) -> Standing:
    """The level a subsystem gets where this was found, and the first reason why not a better one.

    ``none``: governor, or the facility, does not work at all. ``observed``: calls cannot be
    trapped. ``partial``: they can, but what is counted is not right.
    """
    for name in (*_BASICS, *_NEEDED.get(subsystem.facility, ())):
        if not findings[name].ok:
            return Standing(subsystem.name, NONE, _blame(name, findings), subsystem.best)
    level, why = _on_this_host(subsystem, findings)
    if LEVELS.index(subsystem.best) >= LEVELS.index(level) and subsystem.best != ENFORCED:
        level, why = subsystem.best, subsystem.why
    return Standing(subsystem.name, level, why, subsystem.best)


def _on_this_host(subsystem: Subsystem, findings: Mapping[str, Finding]) -> tuple[str, str]:
    """The level as far as it depends on the host, and why."""
    if subsystem.traps and not findings[_TRAPS].ok:
        return OBSERVED, _blame(_TRAPS, findings)
    for name in _WEAKENING.get(subsystem.facility, ()):
        if not findings[name].ok:
            return PARTIAL, _blame(name, findings)
    if subsystem.traps:
        return ENFORCED, f"traps calls for {_list(subsystem.traps)}"
    return ENFORCED, "needs to trap no calls"


def _standing(name: str, findings: Mapping[str, Finding]) -> Standing:
    try:
        subsystem = registry.load(name)
    except Exception as error:  # another package's code: whatever it raises is the answer
        return Standing(name, NONE, f"cannot be loaded: {error}")
    return standing(subsystem, findings)


def _blame(name: str, findings: Mapping[str, Finding]) -> str:
    """Why a capability lowers a level."""
    capability = next(c for c in CAPABILITIES if c.name == name)
    condition = _condition(capability, findings)
    return f"{spoken(name)} is {condition.state}: {capability.without}"


def spoken(name: str) -> str:
    """A capability's name for people."""
    return name.replace("_", " ")


def _list(words: frozenset[str]) -> str:
    return " and ".join(sorted(words))


def _condition(capability: Capability, findings: Mapping[str, Finding]) -> Condition:
    ok, seen = findings[capability.name]
    lacking = ABSENT if capability.name == _NOT_USED else MISSING
    state = UNKNOWN if ok is None else OK if ok else lacking
    return Condition(capability, state, seen)


def _shim() -> Finding:
    state, words = shim.state()
    return Finding(state != "missing", words)


def _runtime_directory() -> Finding:
    """Make a directory as a governor does, and a socket in it."""
    from governor.transport import AGENTS, CLIENTS, STDIO
    from workers.spawner import remove_directory

    try:
        directory = launch.make_directory(launch.NONCE_MAX, os.getpid())
    except GovernorError as error:
        return Finding(False, error.message)
    try:
        with socket.socket(socket.AF_UNIX) as endpoint:
            endpoint.bind(os.path.join(directory, max(AGENTS, CLIENTS, STDIO, key=len)))
    except OSError as error:
        return Finding(False, f"no socket in {directory}: {error.strerror or error}")
    finally:
        remove_directory(directory)
    return Finding(True, os.path.dirname(directory))


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
