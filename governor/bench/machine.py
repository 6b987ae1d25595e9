"""The state of the machine a result belongs to."""

from __future__ import annotations

import os
import platform
from pathlib import Path

Machine = dict[str, str | int | float | list[float] | None]


def describe() -> Machine:
    """Return what is worth knowing beside a figure; a fact the host does not tell is None."""
    system = os.uname()
    return {
        "kernel": system.release,
        "machine": system.machine,
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "cpus_usable": len(os.sched_getaffinity(0)),
        "frequency_governor": _line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "clock_source": _line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "load": list(os.getloadavg()),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "uid": os.geteuid(),
    }


def busy(machine: Machine) -> bool:
    """Whether, in the last minute, over half of the processors had something to do."""
    load, cpus = machine["load"], machine["cpus_usable"]
    return isinstance(load, list) and isinstance(cpus, int) and load[0] > cpus / 2


def _line(path: str) -> str | None:
    """Return a file's only line, or None when there is no such file."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _cpu_model() -> str | None:
    """Return the processor's name for itself, where /proc/cpuinfo has one."""
    for line in (_line("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return None
