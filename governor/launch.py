"""Starting a governor: its runtime directory and its supervisor process."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import stat
import sys

from governor.errors import GovernorError
from governor.supervisor.terms import Terms

AGENT_TIMEOUT = 10.0
AGENT_TIMEOUT_LEAST, AGENT_TIMEOUT_MOST = 0.1, 86400.0
"""Seconds of silence after which an agent is taken for hung."""
NONCE_MAX = 2**23 - 1
DIRECTORY_MAX = 107 - len("/clients")
"""Bytes in the path of a directory, so that a socket in it can be addressed (unix(7))."""

_USUAL = (None, AGENT_TIMEOUT, None, "")
"""Directory, agent's time, lock and state of a governor that nobody has said more about."""

_begun: list[Launched] = []
"""The supervisor that was begun and not asked for yet, if there is one."""


class Launched:
    """A running supervisor. It ends when ``owner`` is closed, at the latest with this process."""

    def __init__(self, directory: str, pid: int, nonce: int, owner: socket.socket) -> None:
        self.directory = directory
        self.pid = pid
        self.nonce = nonce
        self.owner = owner

    @property
    def gone(self) -> int:
        """A descriptor that is readable when the supervisor has ended."""
        return self.owner.fileno()

    def close(self) -> None:
        """Let go of the supervisor and wait until it has ended."""
        self.owner.close()
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0

    def forget(self) -> None:
        """In a fork of the owner: the supervisor is not ours to wait for."""
        self.pid = 0


def launch(
    fork: bool,
    directory: str | None = None,
    agent_timeout: float = AGENT_TIMEOUT,
    lock: int | None = None,
    state: str = "",
) -> Launched:
    """Start a supervisor and wait until clients may connect.

    ``fork``: fork this process, which is quick but only safe while it has one thread and
    no ZeroMQ sockets; otherwise a fresh interpreter is started. ``directory``: one that is
    there for its sockets, and is removed at the end; a new one of its own otherwise.
    ``agent_timeout``: seconds of silence after which an agent or spawner is replaced. ``lock``:
    a descriptor that is to be open until nothing is left. ``state``: the directory
    in which everything is recorded and found again; the supervisor outlives this process then.
    Raises GovernorError when the supervisor does not come up.
    """
    if _begun and fork and (directory, agent_timeout, lock, state) == _USUAL:
        launched = _begun.pop()
    else:
        launched = _start(fork, directory, agent_timeout, lock, state)
    heard = launched.owner.recv(65536)
    number, _, words = os.fsdecode(heard).partition(" ")
    if number == "ready":
        nonce, _, launched.directory = words.partition(" ")
        launched.nonce = int(nonce)
    else:
        launched.close()
        raise GovernorError(
            int(number or errno.EIO),
            words or "the supervisor did not start; see above for the reason",
        )
    return launched


def begin() -> None:
    """Fork a supervisor on the usual terms, which `launch` with ``fork`` gets when it is called.

    Until then the two share the machine: this process finds out what is to be done. What both
    need is imported before they part.
    """
    from governor import transport, units  # noqa: F401
    from governor.wire import client  # noqa: F401
    from workers import channel  # noqa: F401

    _begun.append(_start(True, *_USUAL))


def abandon() -> None:
    """End the supervisor that was begun, if nobody has asked for it."""
    while _begun:
        _begun.pop().close()


def _start(
    fork: bool, directory: str | None, agent_timeout: float, lock: int | None, state: str
) -> Launched:
    """A supervisor that has still to say whether it is there; see `launch`."""
    open_standard_streams()
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    nonce = int.from_bytes(os.urandom(3), "little") % NONCE_MAX + 1
    terms = Terms(directory or "", nonce, agent_timeout, lock, state)
    pid = _fork(terms, here, there) if fork else _exec(terms, there)
    there.close()
    return Launched(terms.directory, pid, nonce, here)


def open_standard_streams() -> None:
    """Open /dev/null where standard input, output or error is closed.

    Otherwise a socket of ours would get the number, and a job would get our socket.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def make_directory(nonce: int, owner: int) -> str:
    """A new directory of mode 0700 for sockets, in XDG_RUNTIME_DIR or else in TMPDIR or /tmp.

    Its name has the number and the process of the governor's owner.
    Passes over a place that is not there, not writable or another user's, or whose path is too
    long for a socket's address (unix(7)); GovernorError with the last reason when none is left.
    """
    failure = OSError(errno.ENOENT, "no place for it")
    bases = (os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp")
    for base in filter(None, bases):
        directory = os.path.join(os.path.abspath(base), f"governor-{owner}-{nonce:06x}")
        if not is_safe(base):
            failure = OSError(errno.EACCES, f"another user may rename what is in {base}")
            continue
        if len(os.fsencode(directory)) > DIRECTORY_MAX:
            failure = OSError(errno.ENAMETOOLONG, f"{directory} is too long a path")
            continue
        try:
            os.mkdir(directory, 0o700)
        except OSError as error:
            failure = error
        else:
            return directory
    raise GovernorError(
        failure.errno or errno.EIO,
        f"no directory for sockets in any of {', '.join(filter(None, bases))}: {failure}; "
        f"name a place of your own in XDG_RUNTIME_DIR",
    )


def is_safe(base: str) -> bool:
    """Whether nobody else but root can put something in the place of our directory there.

    Such a place is what XDG_RUNTIME_DIR names for root after su(1): the user's own.
    """
    try:
        found = os.stat(base)
    except OSError:
        return True  # making a directory there says why not
    if found.st_uid not in (0, os.geteuid()):
        return False
    return bool(found.st_mode & stat.S_ISVTX) or not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _fork(terms: Terms, here: socket.socket, there: socket.socket) -> int:
    pid = os.fork()
    if pid:
        # Both sides do it: whichever comes first, no Ctrl-C gets in between.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return pid
    status = 1
    try:
        os.setpgid(0, 0)
        here.close()
        status = _serve(terms, there)
    except BaseException:
        import traceback

        if not _is_abandoned(there):
            traceback.print_exc()
    finally:
        os._exit(status)


def _is_abandoned(owner: socket.socket) -> bool:
    """Whether the owner has gone, as by Ctrl-C while we started: no failure, nobody to tell."""
    try:
        return owner.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except OSError:
        return False


def _exec(terms: Terms, there: socket.socket) -> int:
    os.set_inheritable(there.fileno(), True)
    held = None
    if terms.lock is not None:
        held = os.dup(terms.lock)
        os.set_inheritable(held, True)
    arguments = [str(there.fileno()), *terms._replace(lock=held).arguments()]
    # posix_spawn: forking a process with threads, or a large one, is what must not happen here.
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", "from governor import launch; launch.main()", *arguments],
            env,
            setpgroup=0,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE],
        )
    finally:
        if held is not None:
            os.close(held)


def main() -> None:
    """The fresh interpreter's entry; `_exec` gives it its arguments."""
    descriptor, *arguments = sys.argv[1:]
    terms = Terms.read(arguments)
    owner = socket.socket(fileno=int(descriptor))
    # What else is inheritable in the caller is not for us to keep open, nor for its jobs.
    kept = [owner.fileno()] if terms.lock is None else [owner.fileno(), terms.lock]
    first = 3
    for number in sorted(kept):
        os.set_inheritable(number, False)
        os.closerange(first, number)
        first = number + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
    sys.exit(_serve(terms, owner))


def _serve(terms: Terms, owner: socket.socket) -> int:
    """Become the supervisor. It has a process group of its own: Ctrl-C is not for it."""
    from governor.supervisor import start

    _leave_stdio()
    # Here, not where it is asked for: whoever asks may be killed before we are there to remove it.
    return start.main(terms, owner, lambda: make_directory(terms.nonce, os.getppid()))


def _leave_stdio() -> None:
    """Keep stderr for messages only; a reader of our stdout must see its end with the job."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
