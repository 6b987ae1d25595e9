"""numpty: limit the pseudo-terminals of a container.

Counted are pairs whose master, an open of ptmx, a process of the container has a descriptor
of. At the limit an open of a path that ends in ``ptmx`` fails with ENOSPC, as it does at
kernel.pty.max, and ``numpty.failcnt`` of the container whose limit was met counts it.

Not promised: the path is looked at before the kernel reads it. An open by another name (a
link called otherwise, /proc/self/fd/N), or of a path that another thread changes meanwhile,
gets past; then ``numpty.held`` shows more than the limit, and the next open is refused. So
the level is never better than partial. All opens are trapped, which costs each of them some
microseconds; under a limit, several times as many.
"""

from __future__ import annotations

from governor.results import PARTIAL
from governor.subsystem import CountedSubsystem


class NumPty(CountedSubsystem):
    """Pseudo-terminals, limited per container."""

    name = "numpty"
    resource = "ptys"
    traps = frozenset({"ptys"})
    facility = "ptys"
    looks_inside = True
    best = PARTIAL
    why = "an open of ptmx by another name is seen only afterwards"
