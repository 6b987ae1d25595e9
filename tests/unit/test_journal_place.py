"""The directory of a journal is the user's own, and one governor's at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from governor.errors import GovernorError
from governor.journal.place import LOCK, Place
from tests.capabilities import need

HOLDER = """
import os, sys
from governor.journal.place import Place
place = Place(sys.argv[1])
if os.fork() == 0:  # goes on without its parent, and has no lock
    os.read(0, 1)
    os._exit(0)
print("locked", flush=True)
os.read(0, 1)
os._exit(0)
"""


def refused(path: Path) -> GovernorError:
    with pytest.raises(GovernorError) as caught:
        Place(str(path))
    return caught.value


def test_it_is_made_and_private(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "state"))
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / LOCK).stat().st_mode & 0o777 == 0o600
    place.close()


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        error = refused(path)
        assert error.errno == errno.EBUSY
        assert f"process {holder.pid}" in error.message
        holder.kill()
        holder.wait()
        Place(str(path)).close()  # although a child of its holder lives on


@pytest.mark.parametrize("mode", [0o750, 0o702, 0o777])
def test_one_that_is_open_to_others(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(mode)
    error = refused(path)
    assert (error.errno, f"mode {mode:o}" in error.message) == (errno.EACCES, True)
    assert os.listdir(path) == []


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    assert refused(tmp_path / "link").errno == errno.ENOTDIR
    (tmp_path / "real" / LOCK).symlink_to("/tmp/elsewhere")
    assert refused(tmp_path / "real").errno == errno.ELOOP
    assert not os.path.exists("/tmp/elsewhere")


def test_another_users(tmp_path: Path) -> None:
    need(os.geteuid() == 0, "only root can make a directory that is another user's", root=True)
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)
    assert refused(path).errno == errno.EACCES
    inside = path / "ours"
    error = refused(inside)
    assert (error.errno, "rename" in error.message) == (errno.EACCES, True)
    assert os.listdir(path) == []


def test_a_place_that_everybody_may_write_in(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert refused(tmp_path / "state").errno == errno.EACCES
    tmp_path.chmod(0o1777)
    Place(str(tmp_path / "state")).close()


def test_one_that_cannot_be_made(tmp_path: Path) -> None:
    assert refused(tmp_path / "a" / "b").errno == errno.ENOENT
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file").errno == errno.ENOTDIR
