"""numfiles: limit the open files of a container.

Counted are distinct open files (the kernel's ``struct file``) that processes of the
container hold: a dup, an inherited or a received descriptor of the same file is no new
one. At the limit every call that would make another file (open, socket, pipe for two,
eventfd, ...) fails with EMFILE and ``numfiles.failcnt`` of the container whose limit was
met counts it.

Not promised: a descriptor received from outside over a socket is counted but not
refused; files without a descriptor (mapped, or on their way through a socket) are not
seen, and those made by rare ioctls at the next recount only. io_uring is switched off in
the job (ENOSYS), since it opens files unseen. With guaranteed minimums, a file that two
containers share counts in both.
"""

from __future__ import annotations

from governor.subsystem.shared import SharedSubsystem


class NumFiles(SharedSubsystem):
    """Open files, limited per container."""

    name = "numfiles"
    resource = "files"
    traps = frozenset({"files"})
    facility = "files"
    looks_inside = True
