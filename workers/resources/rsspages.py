"""Memory that is resident, in pages: shared pages count once for every process."""

from __future__ import annotations

from governor.memory import resident
from workers.resources import physpages


class Counted(physpages.Counted):
    """As `physpages`, had in microseconds per process however large it is."""

    name = "rsspages"
    measure = staticmethod(resident)
