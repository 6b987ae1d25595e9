"""rsspages: `physpages`, but every process has all the pages it shares with others.

Costs microseconds per process, whatever its size, where physpages costs milliseconds per
gigabyte. What forks share counts as often as it is mapped.
"""

from __future__ import annotations

from governor.memory import resident
from subsystems.physpages import PhysPages


class RssPages(PhysPages):
    """Resident memory by RSS, watched per container."""

    name = "rsspages"
    resource = "rsspages"
    traps = frozenset({"rsspages"})
    measure = staticmethod(resident)
