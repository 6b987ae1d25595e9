"""The control filesystem without FUSE: what each operation gives, and the errno of each refusal."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import GovernorError
from governor.fs import texts
from governor.fs.lanes import LANES, Lanes
from governor.fs.mounts import type_at
from governor.fs.operations import Operations
from governor.fs.places import Place
from governor.fs.tree import Tree
from governor.wire import client as wire
from tests.unit.fs_model import FILES, Model

WRITER = 4711
HANDLE = 99


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def fs(model: Model) -> Operations:
    return Operations(Tree(model.ask), lambda: WRITER, lambda: None)


def is_file(fs: Operations, path: str) -> bool:
    return stat.S_ISREG(fs.getattr(path)["st_mode"])


def names(fs: Operations, path: str) -> list[str]:
    return [name for name, _, _ in fs.readdir(path, 0)]


# -- errnos -------------------------------------------------------------------------------


REFUSALS: list[tuple[str, Callable[[Operations], Any], int]] = [
    ("stat of no hierarchy", lambda fs: fs.getattr("/none"), errno.ENOENT),
    ("stat of no container", lambda fs: fs.getattr("/load/none"), errno.ENOENT),
    ("stat below nothing", lambda fs: fs.getattr("/load/none/tasks"), errno.ENOENT),
    ("stat of no UTF-8", lambda fs: fs.getattr("/load/\udcff"), errno.EINVAL),
    ("ls of no container", lambda fs: fs.readdir("/load/none", 0), errno.ENOENT),
    ("test -w of a figure", lambda fs: fs.access("/load/numtasks.held", os.W_OK), errno.EACCES),
    ("test -x of a file", lambda fs: fs.access("/load/tasks", os.X_OK), errno.EACCES),
    ("> figure", lambda fs: fs.open("/load/numtasks.held", os.O_WRONLY), errno.EACCES),
    ("<> figure", lambda fs: fs.open("/load/numtasks.held", os.O_RDWR), errno.EACCES),
    ("read when gone", lambda fs: fs.read("/load/none/tasks", 9, 0, HANDLE), errno.ENODEV),
    ("write when gone", lambda fs: fs.write("/load/none/tasks", b"1", 0, HANDLE), errno.ENODEV),
    ("read when removed", lambda fs: fs.read(None, 9, 0, HANDLE), errno.ENODEV),
    ("write when removed", lambda fs: fs.write(None, b"1", 0, HANDLE), errno.ENODEV),
    ("bad value", lambda fs: fs.write("/load/tasks", b"bad\n", 0, HANDLE), errno.EINVAL),
    ("no text", lambda fs: fs.write("/load/tasks", b"\xff", 0, HANDLE), errno.EINVAL),
    ("long value", lambda fs: fs.write("/load/tasks", b"1" * 4096, 0, HANDLE), errno.E2BIG),
    ("new file", lambda fs: fs.create("/load/new", 0o644), errno.EACCES),
    ("mknod", lambda fs: fs.mknod("/load/new", 0o10644, 0), errno.EPERM),
    ("symlink", lambda fs: fs.symlink("/load/new", "a"), errno.EPERM),
    ("link", lambda fs: fs.link("/load/new", "/load/tasks"), errno.EPERM),
    ("rm", lambda fs: fs.unlink("/load/tasks"), errno.EPERM),
    ("chmod", lambda fs: fs.chmod("/load/tasks", 0o777), errno.EPERM),
    ("chown", lambda fs: fs.chown("/load/tasks", 1, 1), errno.EPERM),
    ("touch", lambda fs: fs.utimens("/load/tasks", None), errno.EPERM),
    ("mkdir of a hierarchy", lambda fs: fs.mkdir("/new", 0o755), errno.EPERM),
    ("mkdir of a container", lambda fs: fs.mkdir("/load/a", 0o755), errno.EEXIST),
    ("mkdir of a file", lambda fs: fs.mkdir("/load/tasks", 0o755), errno.EEXIST),
    ("mkdir below nothing", lambda fs: fs.mkdir("/load/none/x", 0o755), errno.ENOENT),
    ("rmdir of a hierarchy", lambda fs: fs.rmdir("/load"), errno.EPERM),
    ("rmdir with children", lambda fs: fs.rmdir("/load/a"), errno.EBUSY),
    ("rmdir of nothing", lambda fs: fs.rmdir("/load/none"), errno.ENOENT),
    ("mv of a hierarchy", lambda fs: fs.rename("/load", "/new"), errno.EPERM),
    ("mv to the top", lambda fs: fs.rename("/load/a", "/new"), errno.EPERM),
    ("mv of a file", lambda fs: fs.rename("/load/tasks", "/load/t"), errno.ENOTDIR),
    ("mv of nothing", lambda fs: fs.rename("/load/none", "/load/x"), errno.ENOENT),
    ("mv to a parent", lambda fs: fs.rename("/load/a/b", "/load/b"), errno.EIO),
    ("mv to a hierarchy", lambda fs: fs.rename("/load/a", "/cpu/a"), errno.EIO),
    ("mv over a file", lambda fs: fs.rename("/load/a", "/load/tasks"), errno.EEXIST),
]


@pytest.mark.parametrize(
    ("do", "expected"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_a_refusal_has_its_errno_and_changes_nothing(
    fs: Operations, model: Model, do: Callable[[Operations], Any], expected: int
) -> None:
    before = set(model.containers)
    with pytest.raises(OSError, match=r".") as refusal:
        do(fs)
    assert errno.errorcode[refusal.value.errno or 0] == errno.errorcode[expected]
    assert model.containers == before
    assert model.writes == []


def test_a_container_is_not_moved_over_its_sibling(fs: Operations) -> None:
    fs.mkdir("/load/c", 0o755)
    with pytest.raises(FileExistsError):
        fs.rename("/load/c", "/load/a")
    assert {"a", "c"} <= set(names(fs, "/load"))


# -- what there is ------------------------------------------------------------------------


def test_only_mounted_hierarchies_are_shown(fs: Operations) -> None:
    assert names(fs, "/") == [".", "..", "load", "cpu"]


def test_a_directory_lists_its_files_and_its_sub_containers(fs: Operations) -> None:
    assert names(fs, "/load") == [".", "..", *FILES, "a"]
    types = {name: attributes["st_mode"] for name, attributes, _ in fs.readdir("/load", 0)}
    assert types["a"] == stat.S_IFDIR | 0o755
    assert types["numtasks.limit"] == stat.S_IFREG | 0o644
    assert types["numtasks.held"] == stat.S_IFREG | 0o444


@pytest.mark.parametrize("path", ["/", "/load", "/load/a", "/load/a/b"])
def test_containers_are_directories(fs: Operations, path: str) -> None:
    assert fs.getattr(path)["st_mode"] == stat.S_IFDIR | 0o755


def test_files_belong_to_the_user_and_are_of_today(fs: Operations) -> None:
    found = fs.getattr("/load/a/tasks")
    assert (found["st_uid"], found["st_gid"]) == (os.getuid(), os.getgid())
    assert found["st_mtime"] > 1_600_000_000 * 10**9
    assert is_file(fs, "/load/a/tasks")


def test_a_container_with_the_name_of_a_file_goes_first(fs: Operations, model: Model) -> None:
    model.containers.add(("load", "/tasks"))
    assert not is_file(fs, "/load/tasks")
    assert names(fs, "/load").count("tasks") == 1


# -- reading and writing ------------------------------------------------------------------


def test_a_value_is_read_as_a_line(fs: Operations) -> None:
    assert fs.read("/load/numtasks.held", 100, 0, HANDLE) == b"2\n"
    assert fs.read("/load/tasks", 100, 0, HANDLE) == b"17\n42\n"
    assert fs.read("/load/cpuset.cpus", 100, 0, HANDLE) == b""


def test_a_slow_reader_sees_one_moment_until_it_starts_again(fs: Operations, model: Model) -> None:
    first = fs.read("/load/tasks", 4, 0, HANDLE)
    model.values["tasks"] = "99"
    assert first + fs.read("/load/tasks", 4, 4, HANDLE) == b"17\n42\n"
    assert fs.read("/load/tasks", 4, 0, HANDLE) == b"99\n"


def test_every_write_is_a_value(fs: Operations, model: Model) -> None:
    for offset, data in enumerate([b"64\n", b" 65 "]):
        assert fs.write("/load/a/numtasks.limit", data, offset, HANDLE) == len(data)
    expected = [("load", "/a", "numtasks.limit", value) for value in ("64", "65")]
    assert model.writes == expected


def test_zero_written_to_tasks_is_the_writer(fs: Operations, model: Model) -> None:
    fs.write("/load/a/tasks", b"0\n", 0, HANDLE)
    fs.write("/load/a/numtasks.limit", b"0\n", 0, HANDLE)
    assert [value for *_, value in model.writes] == [str(WRITER), "0"]


def test_a_shell_may_truncate(fs: Operations, model: Model) -> None:
    assert fs.truncate("/load/tasks", 0) == 0
    assert model.writes == []


def test_containers_are_made_renamed_and_removed(fs: Operations) -> None:
    fs.mkdir("/load/c", 0o755)
    fs.rename("/load/c", "/load/d")
    assert names(fs, "/load")[-2:] == ["a", "d"]
    fs.rmdir("/load/d")
    assert names(fs, "/load")[-1] == "a"


# -- paths, texts, mounts -----------------------------------------------------------------

NAME = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@given(NAME, st.lists(NAME, min_size=1))
def test_a_path_is_a_hierarchy_and_a_path_in_it(hierarchy: str, path: list[str]) -> None:
    place = Place.of("/" + "/".join([hierarchy, *path]))
    assert place == (hierarchy, "/" + "/".join(path))
    assert place.name == path[-1]
    assert place.parent == Place.of("/" + "/".join([hierarchy, *path[:-1]]))
    assert not place.is_top
    assert not place.is_hierarchy


@given(st.one_of(st.integers(), st.text()))
def test_what_is_read_can_be_written_back(value: int | str) -> None:
    assert texts.to_value(texts.to_bytes(value)[: texts.SIZE_MAX]) == str(value).strip()


@given(st.binary(max_size=50))
def test_bytes_are_a_text_or_nothing(data: bytes) -> None:
    try:
        expected = data.decode().strip()
    except UnicodeDecodeError:
        with pytest.raises(GovernorError) as refusal:
            texts.to_value(data)
        assert refusal.value.errno == errno.EINVAL
    else:
        assert texts.to_value(data) == expected


def test_the_last_mount_at_a_point_counts() -> None:
    mountinfo = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
        "40 22 0:39 / /mnt/my\\040dir rw,nosuid - fuse.sshfs host rw\n"
        "41 22 0:40 / /mnt/my\\040dir rw,nosuid - fuse.governor governor rw,user_id=0\n"
    )
    assert type_at("/mnt/my dir", mountinfo) == "fuse.governor"
    assert type_at("/", mountinfo) == "ext4"
    assert type_at("/mnt", mountinfo) is None


# -- deadlines ----------------------------------------------------------------------------


class Silent:
    """A client that answers when it is told to."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.patience: list[float] = []

    def ask(self, request: Callable[[int], Any], timeout: float) -> str:
        self.patience.append(timeout)
        self.told.wait(60)
        return "answer"


def test_a_request_that_is_not_answered_is_given_up_and_the_next_ones_sooner() -> None:
    client = Silent()
    lanes = Lanes(client, patience=0.02, impatience=0.01)  # type: ignore[arg-type]
    for _ in range(2 * LANES):  # more than there are threads
        with pytest.raises(GovernorError) as refusal:
            lanes.ask(wire.Hierarchies)
        assert refusal.value.errno == errno.ETIMEDOUT
    assert client.patience[:2] == [0.02, 0.01]
    client.told.set()


def test_answers_come_from_few_threads() -> None:
    seen = set()

    class Client:
        def ask(self, request: Callable[[int], Any], timeout: float) -> int:
            seen.add(threading.get_ident())
            return timeout > 1

    lanes = Lanes(Client())  # type: ignore[arg-type]
    askers = [
        threading.Thread(target=lanes.ask, args=(wire.Hierarchies,)) for _ in range(5 * LANES)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(seen) <= LANES
