"""Files that are to be written: no link of another user leads anywhere."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from governor.batch.scratch import _open
from governor.destination import Destination
from governor.errors import GovernorError
from governor.fs import mounts
from governor.report import check_writable, write
from governor.rundir import directory
from tests.unit.test_report import REPORT

OTHER = 65534
WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root plants files of others")


def put(path: str, text: str) -> None:
    descriptor = _open(path, WRITE)
    os.write(descriptor, text.encode())
    os.close(descriptor)


@pytest.fixture
def common(tmp_path: Path) -> Path:
    """A directory such as /tmp."""
    place = tmp_path / "common"
    place.mkdir()
    place.chmod(0o1777)
    return place


def test_what_is_ones_own_is_followed(common: Path) -> None:
    (common / "real").mkdir()
    (common / "absolute").symlink_to(common / "real")
    (common / "relative").symlink_to("absolute/../real/file")
    put(str(common / "absolute" / "other"), "one")
    put(str(common / "relative"), "two")
    put(str(common / "real" / ".." / "real" / "file"), "three")
    assert (common / "real" / "other").read_text() == "one"
    assert (common / "real" / "file").read_text() == "three"


def test_links_that_lead_nowhere(common: Path) -> None:
    (common / "ring").symlink_to("ring")
    (common / "gone").symlink_to("missing/file")
    for name, number in {
        "ring": errno.ELOOP,
        "gone": errno.ENOENT,
        "missing/": errno.ENOENT,
    }.items():
        with pytest.raises(OSError, match=os.strerror(number)):
            Destination(f"{common}/{name}")


def test_descriptors_and_devices(common: Path) -> None:
    reader, writer = os.pipe()
    put(f"/proc/self/fd/{writer}", "said")
    os.close(writer)
    assert os.read(reader, 10) == b"said"
    os.close(reader)
    put("/dev/null", "gone")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/dev/stderr", "/", str(common), str(common / "new")):
        Destination(path).close()
    assert len(os.listdir("/proc/self/fd")) == before


@only_root
@pytest.mark.parametrize("mode", [0o1777, 0o777, 0o755])
def test_links_that_others_have_planted_are_not_followed(tmp_path: Path, mode: int) -> None:
    victim, place = tmp_path / "victim", tmp_path / "place"
    victim.write_text("precious")
    place.mkdir()
    place.chmod(mode)
    if not mode & 2:
        os.chown(place, OTHER, -1)
    for name, target in (("link", victim), ("to", tmp_path), ("new", tmp_path / "made")):
        (place / name).symlink_to(target)
        os.chown(place / name, OTHER, -1, follow_symlinks=False)
    for name in ("link", "to/victim", "new"):
        with pytest.raises(PermissionError, match="is not followed"):
            put(str(place / name), "spoilt")
        with pytest.raises(GovernorError, match="is not followed") as caught:
            write(REPORT, str(place / name))
        assert caught.value.errno == errno.EACCES
        with pytest.raises(GovernorError):
            check_writable(str(place / name))
    assert victim.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["place", "victim"]


@only_root
def test_files_that_others_have_planted_are_not_written_to(common: Path) -> None:
    (common / "file").write_text("")
    os.mkfifo(common / "fifo")
    for name in ("file", "fifo"):
        os.chown(common / name, OTHER, -1)
        with pytest.raises(PermissionError):
            put(str(common / name), "secret")
    write(REPORT, str(common / "file"))  # that is replaced, not written to
    assert (common / "file").stat().st_uid == 0


@only_root
def test_a_runtime_directory_of_another_user_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOVERNOR_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert directory() == str(tmp_path / "governor")
    os.chown(tmp_path, OTHER, -1)
    assert directory() == "/run/governor"


@only_root
def test_root_mounts_nothing_where_another_user_could_move_it(tmp_path: Path) -> None:
    point = tmp_path / "theirs" / "point"
    point.mkdir(parents=True)
    assert mounts.prepare(str(point)) == str(point)
    os.chown(point.parent, OTHER, -1)
    with pytest.raises(GovernorError, match="theirs") as caught:
        mounts.prepare(str(point))
    assert caught.value.errno == errno.EACCES
