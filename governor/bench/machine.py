"""The state of the machine a result belongs to."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import governor

Machine = dict[str, str | int | float | list[float] | None]


def describe() -> Machine:
    """Return what is worth knowing beside a figure; a fact the host does not tell is None.

    Whether instructions are counted only a program can find out: `benchmark.run` adds it.
    """
    system = os.uname()
    return {
        "kernel": system.release,
        "machine": system.machine,
        "cpu": _field("model name"),
        "cpus": os.cpu_count(),
        "cpus_usable": len(os.sched_getaffinity(0)),
        "frequency_governor": _line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "clock_source": _line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "frequency_mhz": _frequency(),
        "virtual": "hypervisor" in (_field("flags") or "").split(),
        "autogroup": _line("/proc/sys/kernel/sched_autogroup_enabled"),
        "load": list(os.getloadavg()),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "uid": os.geteuid(),
        "governor": governor.__version__,
        "instructions": None,
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


def _field(name: str) -> str | None:
    """Return what /proc/cpuinfo says of the first processor by this name."""
    for line in (_line("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _frequency() -> float | None:
    """Return the first processor's present frequency, where it is told."""
    text = _field("cpu MHz")
    return float(text) if text else None


class Steal:
    """How much of the processors' time a hypervisor gave to others, from now on (proc_stat(5))."""

    def __init__(self) -> None:
        self._before = _ticks()

    def share(self) -> float | None:
        """Return it as a share of all time."""
        before, after = self._before, _ticks()
        if before is None or after is None:
            return None
        spent = [b - a for a, b in zip(before, after, strict=True)]
        return spent[7] / sum(spent) if sum(spent) else 0.0


def _ticks() -> list[int] | None:
    """Return user, nice, system, idle, iowait, irq, softirq and steal time since the start."""
    words = (_line("/proc/stat") or "").split()[1:9]
    return [int(word) for word in words] if len(words) == 8 else None
