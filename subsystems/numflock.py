"""numflock: limit the file locks of a container.

Counted are locks of fcntl (F_SETLK, F_OFD_SETLK and their waiting forms) and of flock that
processes of the container hold, and those they wait for. At the limit a call after which
there would be more locks fails with ENOLCK, and ``numflock.failcnt`` of the container whose
limit was met counts it. Changing a lock's type, making it longer and unlocking are never
refused, except where that cuts a lock in two: fcntl(2) gives ENOLCK for that, too.

Not promised: a lock placed relative to the file's position or end counts as one more, even
where it replaces one, and where it cuts one in two the count is one short until the next
recount; so it is with a lock over one made through another open of the same file. Leases
are no locks. A lock of a file that nobody has a descriptor of (mapped, or on its way
through a socket) is not seen.
"""

from __future__ import annotations

from governor.subsystem import CountedSubsystem


class NumFlock(CountedSubsystem):
    """File locks, limited per container."""

    name = "numflock"
    resource = "locks"
    traps = frozenset({"locks"})
    facility = "locks"
    looks_inside = True
