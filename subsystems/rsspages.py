"""rsspages: `physpages` by RSS, where every process has all pages that it shares with others.

A look costs microseconds per process, whatever its size; at physpages it costs milliseconds
per gigabyte. Files and actions are the same.

Not promised: what physpages does not promise. A page counts as often as it is mapped, so
that forks of a large process seem to need much more than they do.
"""

from __future__ import annotations

from governor.memory import resident
from governor.subsystem.watched import WatchedSubsystem


class RssPages(WatchedSubsystem):
    """Resident memory by RSS, watched per container."""

    name = "rsspages"
    resource = "rsspages"
    traps = frozenset({"rsspages"})
    facility = "memory"
    measure = staticmethod(resident)
