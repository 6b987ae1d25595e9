"""What the machine has: processors and nodes of memory, and which of them are there now.

Read from ``/sys`` and ``/proc`` at every call; other directories stand for another machine.
"""

from __future__ import annotations

import os

from governor.units import parse_cpus

_PRESENT = {"cpus": "cpu/online", "mems": "node/has_memory"}
"""A node without memory is of no use to anybody (cpuset(7), EINVAL)."""
_SINGLE = {"mems": frozenset({0})}
"""What kernels without the files have: CONFIG_NUMA=n means one node."""


class Machine:
    """Reads lists of ``cpus`` and ``mems`` of this machine, or of the one described in ``sys``."""

    def __init__(self, sys: str = "/sys/devices/system", proc: str = "/proc/self/status") -> None:
        self._sys = sys
        self._proc = proc

    def present(self, resource: str) -> frozenset[int]:
        """Those that are online; empty when it cannot be told."""
        try:
            with open(os.path.join(self._sys, _PRESENT[resource])) as file:
                return parse_cpus(file.read())
        except OSError:
            return _SINGLE.get(resource, frozenset())

    def usable(self, resource: str) -> frozenset[int]:
        """Those present that this very process may use."""
        present = self.present(resource)
        if resource == "cpus":
            allowed = frozenset(os.sched_getaffinity(0))
        else:
            allowed = self._allowed_nodes() or present
        return allowed & present or allowed

    def _allowed_nodes(self) -> frozenset[int]:
        try:
            with open(self._proc) as file:
                for line in file:
                    if line.startswith("Mems_allowed_list:"):
                        return parse_cpus(line.partition(":")[2])
        except OSError:
            pass
        return frozenset()
