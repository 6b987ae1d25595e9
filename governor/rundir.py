"""The well-known directory of a running governor: where it is, whose it may be, who is there.

Whoever runs there holds a lock on the directory itself. It is taken before the supervisor is
forked, so supervisor and spawner share it: it is free when the last of them has cleaned up.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import struct
import time

from governor.errors import GovernorError, NotRunning
from governor.launch import DIRECTORY_MAX, is_safe
from governor.transport import AGENTS, CLIENTS, FULL, STDIO
from workers import spawner
from workers.heirloom import HEIRS, is_waiting

LOG = "log"
"""Where a governor without a terminal says what went wrong; kept if there is anything in it."""

_OURS = frozenset(
    {CLIENTS, AGENTS, CLIENTS + FULL, AGENTS + FULL, STDIO, LOG, HEIRS, *spawner.RECORDS}
)
_PATIENCE = 10.0
"""Seconds in which a governor that is starting or ending has done so."""
_LOOK_AGAIN = 0.02
_CREDENTIALS = struct.Struct("3i")
_ELSEWHERE = "choose another place with --dir or GOVERNOR_DIR"


class Connected:
    """A link to a governor that somebody runs; closing it leaves that alone."""

    nonce = 0

    def __init__(self, directory: str, pid: int, gone: int) -> None:
        self.directory = directory
        self.pid = pid
        self.gone = gone

    def wait(self, timeout: float) -> bool:
        """Wait until the governor has ended and cleaned up; False if not in ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(self.gone, select.POLLIN)
        if not poll.poll(timeout * 1000):
            return False
        while _is_locked(self.directory):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_AGAIN)  # flock(2) knows no timeout
        return True

    def close(self) -> None:
        """Let go."""
        if self.pid:
            os.close(self.gone)
            self.pid = 0


def directory(given: str | os.PathLike[str] | None = None) -> str:
    """Where to run or look: ``given``, or else the usual place.

    That is GOVERNOR_DIR, or governor in an XDG_RUNTIME_DIR that nobody else may change, or else
    /run/governor for root and /tmp/governor-UID for others. ENAMETOOLONG: sockets there could
    not be addressed.
    """
    path = os.fspath(given) if given else os.environ.get("GOVERNOR_DIR") or _usual()
    path = os.path.abspath(path)
    if len(os.fsencode(path)) > DIRECTORY_MAX:
        allowed = f"{DIRECTORY_MAX} bytes are allowed; {_ELSEWHERE}"
        raise GovernorError(errno.ENAMETOOLONG, f"{path} is too long a path for sockets: {allowed}")
    return path


def _usual() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and is_safe(runtime):  # su(1) leaves that of another user
        return os.path.join(runtime, "governor")
    user = os.geteuid()
    return f"/tmp/governor-{user}" if user else "/run/governor"


# -- running there -----------------------------------------------------------------


def claim(path: str, state: str = "") -> int:
    """Make ``path`` ours to run a governor in; returns the descriptor that holds the lock.

    What a killed governor left there is ended and removed, unless it had the same ``state``
    directory: then it is gone on with. Which that is, is written down before anything is started
    that outlives its supervisor. EBUSY: one runs there, or jobs of one with another state.
    EACCES: the directory is another user's, or open to others. ENOTEMPTY: it is used for
    something else.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        lock = _lock(path)
        if lock is not None:
            try:
                _clear(path, state)
                if _recorded(path, "state") != state:
                    _write(path, "state", state)
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.rmdir(path)
                os.close(lock)
                raise _refusal(path, error) from None
            except BaseException:
                os.close(lock)
                raise
            return lock
        with contextlib.suppress(NotRunning):
            pid = _listener(path)
            raise GovernorError(errno.EBUSY, f"a governor runs at {path} already: process {pid}")
        if time.monotonic() >= deadline:
            raise GovernorError(errno.EBUSY, f"a governor is starting or ending at {path}")
        time.sleep(_LOOK_AGAIN)  # flock(2) knows no timeout


def record(path: str, pid: int, nonce: int) -> None:
    """Write down who runs there: for people, and for the one who cleans up after a crash.

    ENOSPC, ...: there is no room for it.
    """
    try:
        _write(path, "pid", str(pid))
        _write(path, "nonce", str(nonce))
    except OSError as error:
        raise _refusal(path, error) from None


def _write(path: str, name: str, value: str) -> None:
    file = os.path.join(path, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(file)
    if value:
        with open(file, "x", encoding="utf-8", errors="surrogateescape", opener=_private) as to:
            to.write(f"{value}\n")


def open_log(path: str) -> int:
    """An empty log; returns its descriptor. ENOSPC, ...: there is no room for it."""
    file = os.path.join(path, LOG)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(file)
    try:
        return _private(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
    except OSError as error:
        raise _refusal(path, error) from None


def read_log(path: str) -> str:
    """What the governor that runs there has to complain about, so far."""
    try:
        with open(os.path.join(path, LOG), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def leave(path: str, lock: int) -> None:
    """Remove what has stayed of the directory, except a log that says something."""
    if not is_waiting(path) and not _recorded(path, "nonce"):  # nothing has been started, or left
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(path, "state"))
    file = os.path.join(path, LOG)
    with contextlib.suppress(OSError):
        if not os.stat(file).st_size:
            os.unlink(file)
    with contextlib.suppress(OSError):
        os.rmdir(path)
    os.close(lock)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _lock(path: str) -> int | None:
    """Lock the directory, made if it is not there; None when somebody has it, or it goes."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
    except OSError as error:
        raise _refusal(path, error) from None
    try:
        _check(path, os.lstat(path))
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # its governor has just removed it
        return None
    except OSError as error:
        raise _refusal(path, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A lock on a directory that was removed before we had it is worth nothing.
        if os.path.samestat(os.fstat(lock), os.lstat(path)):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None


def _is_locked(path: str) -> bool:
    """Whether somebody runs there, or is about to have gone."""
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(directory)
    return False


def _refusal(path: str, error: OSError) -> GovernorError:
    number = error.errno or errno.EIO
    words = f"cannot run a governor at {path}: {os.strerror(number)}; {_ELSEWHERE}"
    return GovernorError(number, words)


def _check(path: str, found: os.stat_result) -> None:
    """Refuse whatever somebody else could have a hand in."""
    user = os.geteuid()
    if not stat.S_ISDIR(found.st_mode):
        raise GovernorError(errno.ENOTDIR, f"{path} is no directory; a link is not followed")
    if found.st_uid != user:
        raise GovernorError(
            errno.EACCES,
            f"{path} belongs to user {found.st_uid}, not to you (user {user}); {_ELSEWHERE}",
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise GovernorError(
            errno.EACCES, f"{path} is open to others (mode {mode:o}); it must have mode 700"
        )


def _clear(path: str, state: str) -> None:
    """End and remove what a killed governor left, but not what one with this state is to find."""
    strange = sorted(set(os.listdir(path)) - _OURS)
    if strange:
        raise GovernorError(
            errno.ENOTEMPTY,
            f"{path} is used for something else: {strange[0]!r} is in it; {_ELSEWHERE}",
        )
    nonce, other = _recorded(path, "nonce"), _recorded(path, "state")
    if other and is_waiting(path):
        if other != state:
            raise GovernorError(
                errno.EBUSY,
                f"jobs run at {path} whose state is in {other}: go on with them by "
                f"'{going_on(path, other)}', or choose another directory",
            )
        return
    if nonce.isdigit():
        spawner.end_leftovers(int(nonce))
    for name in _OURS - {LOG}:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(path, name))


def _recorded(path: str, name: str) -> str:
    """What `record` has written; empty when it has not."""
    try:
        file = os.path.join(path, name)
        with open(file, encoding="utf-8", errors="surrogateescape", opener=_private) as written:
            return written.read().rstrip("\n")
    except OSError:
        return ""


# -- being its client --------------------------------------------------------------


def find(path: str) -> Connected:
    """The governor that runs in ``path``, for its own user and for root.

    `NotRunning` when there is none, EACCES when it is another user's.
    """
    try:
        owner = os.lstat(path).st_uid
        if os.geteuid() not in (0, owner):
            raise PermissionError
        pid = _listener(path)
        return Connected(path, pid, os.pidfd_open(pid))
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        raise _not_running(path) from None
    except PermissionError:
        raise GovernorError(
            errno.EACCES, f"{path} is another user's: only that user and root may use a governor"
        ) from None


def _listener(path: str) -> int:
    """The process that listens at the clients' socket, as the kernel remembers it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.path.join(path, CLIENTS))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            if os.path.exists(os.path.join(path, CLIENTS + FULL)):
                raise GovernorError(
                    errno.EAGAIN, f"the governor at {path} has as many clients as it can serve"
                ) from None
            raise _not_running(path) from None
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    if not pid:
        raise GovernorError(errno.ESRCH, f"the governor at {path} is in another PID namespace")
    return pid


def _not_running(path: str) -> NotRunning:
    state = _recorded(path, "state")
    if state and is_waiting(path):
        return NotRunning(
            errno.ENOENT,
            f"no supervisor runs at {path}, but the jobs of the last one go on: "
            f"'{going_on(path, state)}' takes them over",
        )
    last = _last_words(path)
    said = f" (the last one said: {last})" if last else ""
    return NotRunning(
        errno.ENOENT, f"no governor runs at {path}{said}; start one with 'governor up'"
    )


def going_on(path: str, state: str) -> str:
    """The command that goes on with the jobs at ``path``, for people."""
    import shlex

    words = ["governor", "up", "--state", state]
    if path != directory():
        words += ["--dir", path]
    return shlex.join(words)


def _last_words(path: str) -> str:
    """The last line of the log of the governor that ran there."""
    lines = read_log(path).split("\n")
    return next((line for line in reversed(lines) if line), "").removeprefix("governor: ")
