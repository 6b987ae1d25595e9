"""What is mounted where, and getting rid of a mount whose process was killed."""

from __future__ import annotations

import errno
import os
import re

from governor.errors import GovernorError
from governor.launch import is_safe

TYPE = "governor"
MOUNTINFO = "/proc/self/mountinfo"
_MNT_DETACH = 2
_ESCAPED = re.compile(r"\\([0-7]{3})")


def type_at(point: str, mountinfo: str) -> str | None:
    """The type of what is mounted at ``point``, None when nothing is; proc(5) has the format."""
    found = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) > 4 and _unescape(fields[4]) == point:
            found = after.split(" ")[0]
    return found


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)


def prepare(directory: str) -> str:
    """The absolute path of an empty directory; a dead mount of ours there is taken away first.

    ENOENT, ENOTDIR, ENOTEMPTY: not an empty directory. EBUSY: a control filesystem that is
    alive. ENOTCONN: somebody else's dead mount. EACCES: root's, where another user could put
    something else in its place, so that we would cover that.
    """
    # Only the parent is resolved: to look at a dead mount is refused.
    parent, name = os.path.split(os.path.abspath(directory))
    point = os.path.join(os.path.realpath(parent), name)
    if _is_dead(point):
        _take_away(point)
    try:
        names = os.listdir(point)
    except OSError as error:
        raise GovernorError(error.errno or 0, f"{directory}: {error.strerror}") from None
    if _type(point) == f"fuse.{TYPE}":
        raise GovernorError(errno.EBUSY, f"{directory} is a control filesystem already")
    _check_ways(os.path.realpath(point))
    if names:
        raise GovernorError(errno.ENOTEMPTY, f"{directory} is not empty; name a new directory")
    return os.path.realpath(point)


def _check_ways(point: str) -> None:
    """Of an ordinary user fusermount3(1) sees to that."""
    if os.geteuid() != 0:
        return
    way = os.path.dirname(point)
    if not is_safe(way):
        raise GovernorError(errno.EACCES, f"another user may rename what is in {way}")
    if way != "/":
        _check_ways(way)


def _is_dead(point: str) -> bool:
    try:
        os.stat(point)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def _type(point: str) -> str | None:
    with open(MOUNTINFO, errors="surrogateescape") as file:
        return type_at(point, file.read())


def _take_away(point: str) -> None:
    if _type(point) != f"fuse.{TYPE}":
        raise GovernorError(
            errno.ENOTCONN, f"{point} is a dead mount; try 'fusermount3 -u {point}'"
        )
    if not detach(point):
        raise GovernorError(
            errno.EBUSY, f"{point} is a dead mount; 'fusermount3 -uz {point}' does not take it away"
        )


def detach(point: str) -> bool:
    """Unmount lazily: at once for new users, for others when they are done."""
    if os.geteuid() == 0:
        import ctypes

        return not ctypes.CDLL(None).umount2(os.fsencode(point), _MNT_DETACH)
    import subprocess

    try:
        done = subprocess.run(
            ["fusermount3", "-u", "-z", "--", point], capture_output=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0
