"""numsock: limit the sockets of a container.

Counted are distinct sockets, of any family, that processes of the container have a
descriptor of: a dup, an inherited or a received descriptor of the same socket is no new
one. At the limit socket, socketpair (for two), accept and accept4 fail with ENOBUFS and
``numsock.failcnt`` of the container whose limit was met counts it. A connection that could
not be accepted stays in the queue. An accept that waits holds its socket already.

Not promised: sockets that came with a job, or over another socket, are counted but not
refused; those that wait in a queue to be accepted, or are on their way through another
socket, are not seen, nor are those that rare calls make (SCTP_SOCKOPT_PEELOFF).
io_uring is switched off in the job (ENOSYS), since it makes sockets unseen.
"""

from __future__ import annotations

from governor.subsystem import CountedSubsystem


class NumSock(CountedSubsystem):
    """Sockets, limited per container."""

    name = "numsock"
    resource = "sockets"
    traps = frozenset({"sockets"})
    facility = "sockets"
    looks_inside = True
