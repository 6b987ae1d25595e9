"""The state directory: whose it may be, and that one governor uses it at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct

from governor.errors import GovernorError

LOCK = "lock"
_FLOCK = struct.Struct("hhqqi")
"""struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length, pid."""


class Place:
    """The directory, locked by this process as long as it lives.

    The lock is one of fcntl(2): no child inherits it, so that it is free when this process has
    ended although its spawner goes on. Everything in the directory is reached by its descriptor,
    and no link in it is followed.
    """

    def __init__(self, path: str) -> None:
        """EBUSY: another governor uses it. EACCES, ENOTDIR: it is not for us."""
        self.path = os.path.abspath(path)
        self.directory = _open_directory(self.path)
        try:
            self._lock = self.open(LOCK, os.O_RDWR | os.O_CREAT)
            _lock(self._lock, self.path)
        except OSError as error:
            os.close(self.directory)
            raise _refusal(self.path, error) from None
        except GovernorError:
            os.close(self._lock)
            os.close(self.directory)
            raise

    def open(self, name: str, flags: int) -> int:
        """A file of the directory, for this user only. OSError."""
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=self.directory)

    def read(self, name: str) -> bytes | None:
        """All of a file; None when there is none. OSError."""
        try:
            descriptor = self.open(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            return file.read()

    def create(self, name: str) -> int:
        """A new, empty file in the place of what may be there. OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.directory)
        return self.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def shut(self, descriptor: int) -> None:
        """Close a file."""
        os.close(descriptor)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of it there. OSError, after which a part of it may be there."""
        rest = memoryview(data)
        while rest:
            count = os.pwrite(descriptor, rest, offset)
            rest, offset = rest[count:], offset + count

    def sync(self, descriptor: int) -> None:
        """Return when what was written outlives the machine. OSError."""
        os.fdatasync(descriptor)

    def cut(self, descriptor: int, size: int) -> None:
        """Forget what is behind ``size`` bytes. OSError."""
        os.ftruncate(descriptor, size)

    def replace(self, old: str, new: str) -> None:
        """Let ``new`` be the file that ``old`` was, at once. OSError: nothing has changed."""
        os.replace(old, new, src_dir_fd=self.directory, dst_dir_fd=self.directory)

    def sync_names(self) -> None:
        """Return when the names of the files outlive the machine. OSError."""
        os.fsync(self.directory)

    def names(self) -> list[str]:
        """What is there."""
        return sorted(os.listdir(self.directory))

    def close(self) -> None:
        """Let others have it."""
        os.close(self._lock)
        os.close(self.directory)


def check(path: str, found: os.stat_result) -> None:
    """Refuse what is no directory, or what others could have a hand in."""
    if not stat.S_ISDIR(found.st_mode):
        raise GovernorError(errno.ENOTDIR, f"{path} is no directory; a link is not followed")
    if found.st_uid != os.geteuid():
        raise GovernorError(
            errno.EACCES,
            f"{path} belongs to user {found.st_uid}, not to you (user {os.geteuid()}); "
            f"choose another state directory",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise GovernorError(
            errno.EACCES,
            f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):o}); it must have "
            f"mode 700",
        )


def _open_directory(path: str) -> int:
    """Open the directory, made if it is not there, where nobody else could have put another."""
    _check_above(os.path.dirname(path))
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        found = os.lstat(path)
        check(path, found)
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _refusal(path, error) from None
    if not os.path.samestat(os.fstat(directory), found):
        os.close(directory)
        raise GovernorError(errno.EACCES, f"{path} was replaced while it was looked at")
    return directory


def _check_above(path: str) -> None:
    """Refuse a place where somebody else could rename ours and put another there; EACCES."""
    try:
        above = os.stat(path)
    except OSError as error:
        number = error.errno or errno.EIO
        raise GovernorError(
            number, f"no state can be kept below {path}: {os.strerror(number)}; make it first"
        ) from None
    others = above.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not above.st_mode & stat.S_ISVTX
    if others or above.st_uid not in (0, os.geteuid()):
        raise GovernorError(
            errno.EACCES, f"another user may rename what is in {path}; choose another directory"
        )


def _lock(descriptor: int, path: str) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        holder = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[4]
        raise GovernorError(
            errno.EBUSY, f"the state in {path} is used by a governor already: process {holder}"
        ) from None


def _refusal(path: str, error: OSError) -> GovernorError:
    number = error.errno or errno.EIO
    return GovernorError(number, f"no state can be kept in {path}: {os.strerror(number)}")
