"""Files to write that a user has named, without being led astray by other users.

A path is walked name by name. A link is followed when it is root's or one's own; an ordinary user
also follows one that the owner of its directory has put there, as with the sysctl
``fs.protected_symlinks`` (proc_sys_fs(5)), which is not on everywhere. What is found at the end is
opened relative to its directory, so that nothing can be put in its place in between.
"""

from __future__ import annotations

import errno
import os
import stat

LINKS_MAX = 40
"""Links in one path, path_resolution(7)."""
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Destination:
    """``name`` in the directory ``parent`` (a descriptor, close it). ``name`` may not exist.

    ``path`` is what to open instead where there is no such thing: behind a link of /proc, as
    /dev/stderr is. ``parent`` is -1 then.
    """

    def __init__(self, path: str) -> None:
        """Raises OSError: EACCES for a link that is not followed, and what openat(2) says."""
        self.path = ""
        self.name = "."
        self.parent = os.open("/" if path.startswith("/") else ".", os.O_PATH | os.O_CLOEXEC)
        try:
            self._walk(path)
        except BaseException:
            self.close()
            raise

    def _walk(self, path: str) -> None:
        left = [name for name in path.split("/") if name]
        links = 0
        directory = path.endswith("/")
        while left:
            name = left.pop(0)
            try:
                found = os.open(name, _LOOK, dir_fd=self.parent)
            except FileNotFoundError:
                if left or directory:
                    raise
                self.name = name
                return
            try:
                target = self._target(found, name)
                if self.parent < 0:
                    self.path = "/".join([self.path, *left])
                    return
                if target is not None:
                    links += 1
                    if links > LINKS_MAX:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    left[:0] = [part for part in target.split("/") if part]
                    if target.startswith("/"):
                        self._enter(os.open("/", os.O_PATH | os.O_CLOEXEC))
                elif left:
                    self._enter(os.dup(found))
                else:
                    self.name = name
            finally:
                os.close(found)

    def _target(self, found: int, name: str) -> str | None:
        """Where a link leads to, None for what is no link."""
        link = os.fstat(found)
        if not stat.S_ISLNK(link.st_mode):
            return None
        place = os.fstat(self.parent)
        if place.st_dev == os.stat("/proc/self").st_dev:
            self.path = f"{os.readlink(f'/proc/self/fd/{self.parent}')}/{name}"
            self.close()
            return None
        user = os.geteuid()
        if link.st_uid not in (0, user) and (user == 0 or link.st_uid != place.st_uid):
            raise OSError(errno.EACCES, f"a link of user {link.st_uid} is not followed")
        return os.readlink("", dir_fd=found)

    def _enter(self, directory: int) -> None:
        os.close(self.parent)
        self.parent = directory

    def open(self, flags: int, mode: int = 0o666) -> int:
        """Open it; ``flags`` as for open(2).

        EACCES also for a file that is not one's own in a directory where everybody may put one,
        as with ``fs.protected_regular`` and ``fs.protected_fifos``.
        """
        if self.parent < 0:
            return os.open(self.path, flags | os.O_CLOEXEC, mode)
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._check_owner()
            return os.open(self.name, flags & ~os.O_CREAT, dir_fd=self.parent)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
        return os.open(self.name, flags | os.O_EXCL, mode, dir_fd=self.parent)

    def _check_owner(self) -> None:
        found = os.stat(self.name, dir_fd=self.parent, follow_symlinks=False)
        place = os.fstat(self.parent)
        is_open = bool(place.st_mode & stat.S_IWOTH) and bool(place.st_mode & stat.S_ISVTX)
        if is_open and found.st_uid not in (0, os.geteuid(), place.st_uid):
            raise OSError(errno.EACCES, f"it is a file of user {found.st_uid} in a common place")

    @property
    def is_special(self) -> bool:
        """Whether it is there and no file: a device, a pipe, a directory."""
        if self.parent < 0:
            return not stat.S_ISREG(os.stat(self.path).st_mode)
        try:
            found = os.stat(self.name, dir_fd=self.parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return not stat.S_ISREG(found.st_mode)

    def close(self) -> None:
        """Let go of the directory."""
        if self.parent >= 0:
            os.close(self.parent)
            self.parent = -1
