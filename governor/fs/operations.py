"""The operations of the filesystem, as mfusepy calls them: paths in, errnos out.

No base class of mfusepy's: what is not defined here is not there for the kernel either.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
import stat
import time
from collections.abc import Callable
from typing import Concatenate, NoReturn, ParamSpec, TypeVar

from governor.errors import GovernorError
from governor.fs.places import Place
from governor.fs.tree import Node, Tree

P = ParamSpec("P")
R = TypeVar("R")

BLOCK = 4096
NAME_MAX = 255


def _answering(
    method: Callable[Concatenate[Operations, P], R],
) -> Callable[Concatenate[Operations, P], R]:
    """Turn a refusal into the exception that mfusepy takes an errno from."""

    @functools.wraps(method)
    def answered(self: Operations, /, *args: P.args, **keys: P.kwargs) -> R:
        try:
            return method(self, *args, **keys)
        except GovernorError as error:
            raise OSError(error.errno, error.message) from None

    return answered


class Operations:
    """Control files are files, containers directories.

    ``writer()`` gives the pid of the process whose request is being served; ``started()`` is
    called when the kernel has accepted the mount.
    """

    use_ns = True

    def __init__(self, tree: Tree, writer: Callable[[], int], started: Callable[[], None]) -> None:
        self._tree = tree
        self._writer = writer
        self._started = started
        self._numbers = itertools.count(1)
        self._read: dict[int, bytes] = {}
        self._born = time.time_ns()

    def init(self, _path: str) -> None:
        """The kernel is ready to ask."""
        self._started()

    # -- looking -------------------------------------------------------------------

    @_answering
    def getattr(self, path: str, _handle: int | None = None) -> dict[str, int]:
        """What stat(2) gives. Sizes are 0, as in the kernel's own control filesystems.

        Directories have one link, which to find(1) means that their number is not told.
        """
        return {
            "st_mode": mode_of(self._tree.node(Place.of(path))),
            "st_nlink": 1,
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
            "st_blksize": BLOCK,
            **dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), self._born),
        }

    @_answering
    def access(self, path: str, wanted: int) -> int:
        """Root, too, may only do what the mode says: writing a figure makes no sense."""
        mode = mode_of(self._tree.node(Place.of(path)))
        if wanted & ~(mode >> 6) & (os.R_OK | os.W_OK | os.X_OK):
            raise GovernorError(errno.EACCES, f"{path} does not allow that")
        return 0

    @_answering
    def readdir(self, path: str, _handle: int) -> list[tuple[str, dict[str, int], int]]:
        """Names with their types."""
        entries = self._tree.entries(Place.of(path))
        names = [(name, mode_of(node)) for name, node in entries.items()]
        dots = [(".", stat.S_IFDIR), ("..", stat.S_IFDIR)]
        return [(name, {"st_mode": mode}, 0) for name, mode in dots + names]

    def statfs(self, _path: str) -> dict[str, int]:
        """No blocks, so that df(1) leaves it out."""
        return {"f_bsize": BLOCK, "f_frsize": BLOCK, "f_namemax": NAME_MAX}

    # -- control files -------------------------------------------------------------

    @_answering
    def open(self, path: str, flags: int) -> int:
        """A number for the open file."""
        self._tree.open(Place.of(path), to_write=flags & os.O_ACCMODE != os.O_RDONLY)
        return next(self._numbers)

    @_answering
    def read(self, path: str | None, size: int, offset: int, handle: int) -> bytes:
        """Read the value anew at the start of the file; what follows is of the same moment."""
        if offset == 0 or handle not in self._read:
            self._read[handle] = self._tree.read(_still(path))
        return self._read[handle][offset : offset + size]

    @_answering
    def write(self, path: str | None, data: bytes, _offset: int, _handle: int) -> int:
        """Every write(2) is a value of its own, wherever in the file it is."""
        self._tree.write(_still(path), data, self._writer)
        return len(data)

    def truncate(self, _path: str | None, _length: int, _handle: int | None = None) -> int:
        """Do nothing: a shell's ``>`` truncates before it writes."""
        return 0

    def release(self, _path: str | None, handle: int) -> int:
        """The file was closed."""
        self._read.pop(handle, None)
        return 0

    # -- containers ----------------------------------------------------------------

    @_answering
    def mkdir(self, path: str, _mode: int) -> int:
        """Make a container."""
        self._tree.mkdir(Place.of(path))
        return 0

    @_answering
    def rmdir(self, path: str) -> int:
        """Remove a container."""
        self._tree.rmdir(Place.of(path))
        return 0

    @_answering
    def rename(self, old: str, new: str) -> int:
        """Rename a container in place."""
        self._tree.rename(Place.of(old), Place.of(new))
        return 0

    # -- what there is not ---------------------------------------------------------

    def create(self, path: str, _mode: int) -> NoReturn:
        """Control files come and go with their subsystem only."""
        raise OSError(errno.EACCES, f"{path}: control files are not made by hand")

    def _never(self, *_: object) -> NoReturn:
        raise OSError(errno.EPERM, "not in the control filesystem")

    mknod = symlink = link = unlink = chmod = chown = utimens = _never


def _still(path: str | None) -> Place:
    """The place of an open file; ENODEV when libfuse has seen its directory being removed."""
    if path is None:
        raise GovernorError(errno.ENODEV, "the container has been removed")
    return Place.of(path)


def mode_of(node: Node) -> int:
    """Type and permissions. Others never come this far: the mount is the user's own."""
    if node.is_directory:
        return stat.S_IFDIR | 0o755
    return stat.S_IFREG | (0o644 if node.writable else 0o444)
