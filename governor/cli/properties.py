"""``governor run -p NAME=VALUE``: what systemd calls a limit, and what governor makes of it.

One table, `PROPERTIES`: the command line, the manual page, completion and the page of the documents
are made from it or tested against it. A name with a dot is no property of systemd's but a control
file of the job's own container.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from governor.cli import systemd
from governor.units import UNLIMITED, format_cpus

RLIMIT: Final = "RLIMIT_"
"""How the target of a property begins that is a limit of each process, as of getrlimit(2)."""


class Property(NamedTuple):
    """A property. ``difference`` completes "does", for people who know the one of systemd.

    ``target``: a control file, a limit of getrlimit(2), or an option of ``governor run`` by its
    name in the namespace.
    """

    name: str
    parse: Callable[[str], Any]
    target: str
    meaning: str
    does: str
    difference: str


def _tasks(text: str) -> int:
    part = systemd.percent(text)
    if part is None:
        return _count(systemd.parse_some(text))
    most = min(_read(f"/proc/sys/kernel/{name}") for name in ("pid_max", "threads-max"))
    return max(1, int(part * most))


def _memory(text: str) -> int:
    page = os.sysconf("SC_PAGESIZE")
    part = systemd.percent(text)
    if part is not None:
        return max(1, int(part * os.sysconf("SC_PHYS_PAGES")))
    size = systemd.parse_size(text)
    if size is not None and size < page:
        raise ValueError(f"{text!r} is less than a page of memory, which has {page} bytes")
    return _count(size and size // page)


def _count(number: int | None) -> int:
    return UNLIMITED if number is None else number


def _read(path: str) -> int:
    with open(path) as file:
        return int(file.read())


def _cpus(text: str) -> str:
    return systemd.parse_list(text, "CPUs")


def _nodes(text: str) -> str:
    return systemd.parse_list(text, "memory nodes")


def _grace(text: str) -> float:
    seconds = systemd.parse_some_span(text)
    if seconds is None:
        raise ValueError("infinity: governor ends what it is to end; give a time such as 90s")
    return seconds


def _directory(text: str) -> str | None:
    """``~`` is the home directory; after ``-`` it need not be there. None: where we are."""
    path = os.path.expanduser(text.removeprefix("-"))
    if not path.startswith("/"):
        raise ValueError(f"{text!r} is no absolute path, nor ~")
    if os.path.isdir(path):
        return path
    if text.startswith("-"):
        return None
    raise ValueError(f"{path!r} is not a directory")


def _variables(text: str) -> dict[str, str]:
    from shlex import split

    words = split(text)
    for word in words:
        if not word.partition("=")[1] or word.startswith("="):
            raise ValueError(f"{word!r} is not VARIABLE=VALUE")
    return dict(word.split("=", 1) for word in words)


def _of_each(name: str, unit: str, what: str, more: str = "the same") -> Property:
    """A limit of each process, set as systemd sets it."""
    return Property(
        f"Limit{name}",
        lambda text: systemd.parse_rlimit(text, unit),
        f"{RLIMIT}{name}",
        what,
        f"`RLIMIT_{name}` of each process",
        more,
    )


_TABLE = (
    Property(
        "TasksMax",
        _tasks,
        "numtasks.limit",
        "tasks of the unit",
        "`numtasks.limit`: forks and threads over it fail with EAGAIN",
        "the same; a percentage is of the lower of `kernel.pid_max` and `kernel.threads-max`",
    ),
    Property(
        "AllowedCPUs",
        _cpus,
        "cpuset.cpus",
        "CPUs the unit runs on",
        "`cpuset.cpus`: applies to every thread, and cannot be left",
        "CPUs that are not there are refused; of several assignments the last one counts",
    ),
    Property(
        "AllowedMemoryNodes",
        _nodes,
        "cpuset.mems",
        "NUMA nodes its memory is from",
        "`cpuset.mems`: bound when the command starts",
        "a process may bind itself to other nodes",
    ),
    Property(
        "MemoryMax",
        _memory,
        "physpages.limit",
        "memory of the unit; over it the OOM killer ends processes",
        "`physpages.limit`, and `physpages.action` is `kill`: the largest process is killed",
        "memory is looked at ten times a second, and may be over the limit until then; the "
        "page cache, the kernel's memory and swap are not counted",
    ),
    Property(
        "RuntimeMaxSec",
        systemd.parse_some_span,
        "timeout",
        "ended after this time",
        "`--timeout`",
        "the exit status is 124",
    ),
    Property(
        "TimeoutStopSec",
        _grace,
        "grace",
        "from TERM to KILL",
        "`--grace`",
        "`infinity` and 0 are refused; 2s unless given, not 90s",
    ),
    Property(
        "WorkingDirectory",
        _directory,
        "cwd",
        "directory it runs in",
        "the command starts there",
        "the same; an absolute path or `~`, which after `-` need not be there",
    ),
    Property(
        "Environment",
        _variables,
        "env",
        "variables, `A=1 B=\"two words\"`",
        "added to the environment of `governor run`",
        "a unit begins with an empty environment",
    ),
    _of_each(
        "NOFILE", "count", "descriptors of a process",
        "the same; a limit on the open files of all processes together is `numfiles.limit`",
    ),
    _of_each(
        "NPROC", "count", "processes of the user",
        "the same; it counts all the user's processes, and does not hold root: use TasksMax",
    ),
    _of_each("AS", "bytes", "address space of a process"),
    _of_each(
        "DATA", "bytes", "private writable memory of a process",
        "the same; for all processes together, in pages: `privvmpages.limit`",
    ),
    _of_each("STACK", "bytes", "stack of a process"),
    _of_each("CORE", "bytes", "size of a core file"),
    _of_each("FSIZE", "bytes", "size of a file that is written"),
    _of_each("MEMLOCK", "bytes", "locked memory of a process"),
    _of_each("CPU", "seconds", "CPU time of a process"),
    _of_each("SIGPENDING", "count", "queued signals of the user"),
    _of_each("MSGQUEUE", "bytes", "POSIX message queues of the user"),
    _of_each("RTPRIO", "count", "real-time priority"),
    _of_each("RTTIME", "microseconds", "CPU time of a real-time thread without a pause"),
)  # fmt: skip

PROPERTIES: Final[Mapping[str, Property]] = {one.name: one for one in _TABLE}

ALSO: Final = {"MemoryMax": ("physpages.action", "kill")}
"""A control file that a property writes as well, unless it is given itself."""

_NO_CPU = "governor takes no time from a program; give it CPUs of its own with AllowedCPUs"
_NO_MEMORY = "memory is looked at, not held back; MemoryMax is there"
_NO_IO = "input and output are not governed"
_NO_NET = "networks are not governed"
_PROGRAM = "put it before the command"

REFUSED: Final[Mapping[str, str]] = {
    "CPUQuota": _NO_CPU,
    "CPUQuotaPeriodSec": _NO_CPU,
    "CPUWeight": _NO_CPU,
    "CPUShares": _NO_CPU,
    "CPUAffinity": "what it sets may be undone by the program; AllowedCPUs may not",
    "NUMAPolicy": "use AllowedMemoryNodes",
    "NUMAMask": "use AllowedMemoryNodes",
    "MemoryHigh": _NO_MEMORY,
    "MemoryLow": _NO_MEMORY,
    "MemoryMin": _NO_MEMORY,
    "MemorySwapMax": _NO_MEMORY,
    "MemoryLimit": "it has become MemoryMax",
    "IOWeight": _NO_IO,
    "IOReadBandwidthMax": _NO_IO,
    "IOWriteBandwidthMax": _NO_IO,
    "IOSchedulingClass": f"{_PROGRAM}: ionice -c CLASS CMD",
    "IPAddressAllow": _NO_NET,
    "IPAddressDeny": _NO_NET,
    "PrivateNetwork": _NO_NET,
    "DevicePolicy": "devices are not governed",
    "LimitRSS": "Linux does not heed it; use MemoryMax",
    "LimitLOCKS": "Linux does not heed it; use numflock.limit",
    "LimitNICE": "it allows, and limits nothing",
    "Nice": f"{_PROGRAM}: nice -n N CMD",
    "OOMScoreAdjust": f"{_PROGRAM}: choom -n N -- CMD",
    "CPUSchedulingPolicy": f"{_PROGRAM}: chrt CMD",
    "UMask": "set it in the shell: umask 027; governor run -- CMD",
    "User": "governor needs no root; become the user first, as with runuser or sudo",
    "Group": "governor needs no root; become the group first, as with setpriv or sg",
    "EnvironmentFile": "use Environment",
    "StandardInput": "streams are passed through; redirect them in the shell",
    "StandardOutput": "streams are passed through; redirect them in the shell",
    "StandardError": "streams are passed through; redirect them in the shell",
    "ExecStart": "the command is given on the command line: governor run -- CMD",
    "Type": "the command is waited for, always",
    "Restart": "a command runs once; governor batch runs jobs again",
    "KillMode": "all processes of the command are ended, always",
    "KillSignal": "it is TERM, always",
    "Slice": "use --in NAME:/PATH",
    "Delegate": "a job can make no containers of its own",
    "TasksAccounting": "tasks are counted where they are limited; --report shows them",
    "CPUAccounting": "CPU time is counted, always; --report shows it",
    "MemoryAccounting": "memory is counted where it is limited; --report shows it",
}
"""Properties of systemd that governor cannot do, why, and what to use instead."""


def parse(text: str, brief: bool = False) -> tuple[Property, Any]:
    """The property and the value in ``NAME=VALUE``; None for an empty one, which takes it back.

    ``brief``: which names there are need not be said. Raises ValueError: no such property, one that
    governor cannot do, a value that is not allowed.
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name:
        raise ValueError(f"{text!r} is not NAME=VALUE, such as TasksMax=64")
    if "." in name:
        return _control_file(name, value)
    if name in REFUSED:
        raise ValueError(f"governor has no {name}: {REFUSED[name]}")
    if name not in PROPERTIES:
        from governor.cli.nearest import nearest

        known = f"{', '.join(sorted(PROPERTIES))}, and control files such as numfiles.limit"
        near = nearest(name, [*PROPERTIES, *REFUSED])
        raise ValueError(f"no property {name!r}{near}" + ("" if brief else f"; there are {known}"))
    found = PROPERTIES[name]
    try:
        return found, found.parse(value) if value else None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _control_file(name: str, value: str) -> tuple[Property, Any]:
    """A control file of the job's container, as a property that is not of systemd's."""
    from governor import registry
    from governor.cli.nearest import nearest
    from governor.errors import GovernorError

    try:
        files = registry.load(name.partition(".")[0]).populate()
    except GovernorError as error:
        raise ValueError(f"{name}: {error.message}") from None
    writable = sorted(known for known, file in files.items() if file.writable)
    parse = files[name].parse if name in writable else None
    if parse is None:
        why = "is read-only" if name in files else f"is no control file{nearest(name, writable)}"
        raise ValueError(f"{name} {why}; can be written: {', '.join(writable) or 'none'}")
    if value:
        try:
            parse(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return Property(name, str, name, "", "", ""), value or None


def files() -> list[str]:
    """The control files that can be written, of all subsystems."""
    from governor import registry

    return [
        name
        for subsystem in registry.names()
        for name, file in registry.load(subsystem).populate().items()
        if file.writable
    ]


def usual_values(name: str) -> list[str]:
    """Values that a property may have anywhere, for who does not know what to write."""
    if name == "AllowedCPUs":
        return [format_cpus(os.sched_getaffinity(0))]
    return [] if name in ("WorkingDirectory", "Environment", "AllowedMemoryNodes") else ["infinity"]
