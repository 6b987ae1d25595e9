"""The control filesystem: what programs that know nothing of governor do in it, and its ends."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from governor.api import Container, Governor
from tests.process.helpers import DEADLINE, PYTHONPATH, eventually, exists, puppet, run_job
from tests.process.mounted import DEVICE, Mount, Mounted, mounting, need_extra, need_fuse

pytestmark = pytest.mark.timeout(120)

FUSE_WAITS = "request_wait_answer"
"""Where in the kernel a process is that waits for a FUSE filesystem, as of proc(5)'s wchan."""
WORKERS = 8
MANY = 1000

SHELL = """
set -e
mkdir load/mine
echo 7 > load/mine/numtasks.limit
echo $$ > load/mine/tasks
cat load/mine/tasks | grep -qx $$
cat load/mine/numtasks.limit
mkdir load/mine/inner
mv load/mine/inner load/mine/renamed
rmdir load/mine/renamed
exec "$PYTHON" -c '
import errno, os, signal
made = []
try:
    while True:
        made.append(os.fork())
        if not made[-1]:
            signal.pause()
except OSError as error:
    print(1 + len(made), errno.errorcode[error.errno])
for pid in made:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
'
"""

MYSELF = """
import os, threading
def enter():
    with open("load/box/tasks", "w") as file:
        file.write("0")
thread = threading.Thread(target=enter)
thread.start()
thread.join()
print(os.getpid(), open("load/box/tasks").read().split())
"""


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    with mounting(tmp_path / "fs") as mount:
        yield mount


@pytest.fixture
def load(gov: Governor) -> Container:
    """The root of a hierarchy ``load``, with a container ``box``."""
    root = gov.mount("load", ["numtasks"]).root
    root.mkdir("box")
    return root


@pytest.fixture
def fs(gov: Governor, load: Container, mount: Mount) -> Mounted:
    return mount(gov)


def errno_of(do: Callable[[], object]) -> str:
    """The name of the errno that ``do()`` fails with."""
    with pytest.raises(OSError, match=r".") as failure:
        do()
    return errno.errorcode[failure.value.errno or 0]


def write(path: Path, text: str) -> None:
    """Write as ``echo`` does, in one call."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def output(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- a governed shell ---------------------------------------------------------------------


def test_a_governed_shell_limits_itself_with_mkdir_echo_and_cat(
    gov: Governor, load: Container, fs: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fs.point)
    monkeypatch.setenv("PYTHON", sys.executable)
    result, said = run_job(gov, ["sh", "-c", SHELL])
    assert result.exit_code == 0, said
    assert said == "7\n7 EAGAIN\n"
    assert (fs.point / "load/mine/numtasks.failcnt").read_text() == "1\n"
    assert load.hierarchy["/mine"]["numtasks.maxheld"] == 7


def test_zero_moves_the_process_whose_thread_writes_it(
    gov: Governor, fs: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fs.point)
    result, said = run_job(gov, [sys.executable, "-c", MYSELF])
    assert result.exit_code == 0, said
    pid = said.split()[0]
    assert said == f"{pid} ['{pid}']\n"


def test_a_job_has_no_descriptor_of_the_filesystem(gov: Governor, fs: Mounted) -> None:
    with puppet(gov) as job:
        links = [os.readlink(entry) for entry in Path(f"/proc/{job.pid}/fd").iterdir()]
        assert links
        assert DEVICE not in links


def test_a_process_is_moved_by_its_pid(gov: Governor, load: Container, fs: Mounted) -> None:
    with puppet(gov, load) as job:
        write(fs.point / "load/box/tasks", f"{job.pid}\n")
        assert (fs.point / "load/box/tasks").read_text() == f"{job.pid}\n"
        assert load.hierarchy["/box"].tasks == [job.pid]
        assert errno_of(lambda: (fs.point / "load/box").rmdir()) == "EBUSY"


# -- ordinary programs --------------------------------------------------------------------


@pytest.mark.once
def test_figures_are_read_by_whatever_reads_files(
    load: Container, fs: Mounted, tmp_path: Path
) -> None:
    file = fs.point / "load/box/numtasks.limit"
    write(file, "64\n")
    assert load.hierarchy["/box"]["numtasks.limit"] == 64
    copy = tmp_path / "copy"
    for command in ("cat", "tac", "head", "tail"):
        assert output(command, file) == "64\n"
    output("cp", file, copy)
    assert copy.read_text() == file.read_text() == "64\n"
    assert output("grep", "-rx", "64", fs.point) == f"{file}:64\n"


@pytest.mark.once
def test_find_and_ls_see_the_tree(load: Container, fs: Mounted) -> None:
    load.hierarchy["/box"].mkdir("deep")
    directories = output("find", fs.point, "-type", "d", "-printf", "%P\n").split()
    assert sorted(directories) == ["load", "load/box", "load/box/deep"]
    files = output("find", fs.point / "load/box/deep", "-type", "f", "-printf", "%f\n").split()
    assert set(files) == set(load.hierarchy["/box"].list_files())
    modes = dict(
        line.split()
        for line in output("find", fs.point / "load/box", "-printf", "%f %m\n").splitlines()
    )
    assert (modes["numtasks.limit"], modes["numtasks.held"], modes["box"]) == ("644", "444", "755")
    status = (fs.point / "load").stat()
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())


@pytest.mark.once
def test_what_others_do_shows_at_once(load: Container, fs: Mounted) -> None:
    place = fs.point / "load/other"
    for _ in range(3):
        made = load.mkdir("other")
        assert place.is_dir()
        assert "other" in os.listdir(fs.point / "load")
        made.rmdir()
        assert not place.exists()
        place.mkdir()
        assert [c.path for c in load.children] == ["/box", "/other"]
        place.rmdir()


@pytest.mark.once
def test_hierarchies_come_and_go(gov: Governor, fs: Mounted) -> None:
    assert os.listdir(fs.point) == ["load"]
    gov.mount("cpu", ["cpuacct"])
    assert sorted(os.listdir(fs.point)) == ["cpu", "load"]
    gov.umount("cpu")
    assert os.listdir(fs.point) == ["load"]


# -- errnos -------------------------------------------------------------------------------


def refusals(point: Path) -> dict[str, tuple[Callable[[], object], str]]:
    """What is refused, and how."""
    box = point / "load/box"
    beside = point / "load/beside"
    beside.mkdir()
    gone = subprocess.Popen(["true"])
    gone.wait()
    return {
        "no container": (lambda: (point / "load/none").stat(), "ENOENT"),
        "no file": (lambda: (box / "none").read_text(), "ENOENT"),
        "new file": (lambda: (box / "none").write_text("1"), "EACCES"),
        "read-only": (lambda: write(box / "numtasks.held", "1"), "EACCES"),
        "bad limit": (lambda: write(box / "numtasks.limit", "many\n"), "EINVAL"),
        "bad flag": (lambda: write(box / "notify_on_release", "x\n"), "EINVAL"),
        "no pid": (lambda: write(box / "tasks", "me\n"), "EINVAL"),
        "a word among pids": (lambda: write(box / "tasks", "1 me\n"), "EINVAL"),
        "pid that is gone": (lambda: write(box / "tasks", f"{gone.pid}\n"), "ESRCH"),
        "too long": (lambda: write(box / "tasks", "1" * 5000), "E2BIG"),
        "mkdir twice": (lambda: box.mkdir(), "EEXIST"),
        "mkdir over a file": (lambda: (box / "tasks").mkdir(), "EEXIST"),
        "mkdir of a hierarchy": (lambda: (point / "new").mkdir(), "EPERM"),
        "mkdir of a long name": (lambda: (box / ("n" * 300)).mkdir(), "ENAMETOOLONG"),
        "mkdir of no UTF-8": (lambda: os.mkdir(bytes(box) + b"/\xff"), "EINVAL"),
        "rmdir of a hierarchy": (lambda: (point / "load").rmdir(), "EPERM"),
        "rmdir of a file": (lambda: (box / "tasks").rmdir(), "ENOTDIR"),
        "rm": (lambda: (box / "tasks").unlink(), "EPERM"),
        "mv to another parent": (lambda: os.rename(box, beside / "box"), "EIO"),
        "mv over a sibling": (lambda: os.rename(box, beside), "EEXIST"),
        "mv of a file": (lambda: os.rename(box / "tasks", box / "t"), "ENOTDIR"),
        "mv of a hierarchy": (lambda: os.rename(point / "load", point / "l"), "EPERM"),
        "chmod": (lambda: (box / "tasks").chmod(0o777), "EPERM"),
        "symlink": (lambda: (box / "link").symlink_to("tasks"), "EPERM"),
    }


def test_every_refusal_has_its_errno(load: Container, fs: Mounted) -> None:
    cases = refusals(fs.point)
    found = {name: errno_of(do) for name, (do, _) in cases.items()}
    assert found == {name: expected for name, (_, expected) in cases.items()}
    assert sorted(c.path for c in load.children) == ["/beside", "/box"]


def test_a_file_of_a_removed_container_that_is_open_is_no_device(fs: Mounted) -> None:
    box = fs.point / "load/box"
    with open(box / "numtasks.limit", "r+b", buffering=0) as file:
        box.rmdir()
        assert errno_of(lambda: file.write(b"1")) == "ENODEV"
        assert errno_of(file.read) == "ENODEV"


@pytest.mark.once
def test_every_write_call_is_a_value_of_its_own(load: Container, fs: Mounted) -> None:
    with open(fs.point / "load/box/numtasks.limit", "wb", buffering=0) as file:
        file.write(b"1")
        assert load.hierarchy["/box"]["numtasks.limit"] == 1
        file.write(b"2\n")
    assert load.hierarchy["/box"]["numtasks.limit"] == 2


# -- many at once -------------------------------------------------------------------------


@pytest.mark.once
def test_eight_at_once_do_not_mix(load: Container, fs: Mounted) -> None:
    def work(number: int) -> None:
        place = fs.point / f"load/w{number}"
        for turn in range(20):
            place.mkdir()
            limit = 1000 * number + turn
            write(place / "numtasks.limit", f"{limit}\n")
            assert (place / "numtasks.limit").read_text() == f"{limit}\n"
            assert "numtasks.held" in os.listdir(place)
            assert errno_of(lambda: write(place / "numtasks.limit", "bad")) == "EINVAL"
            place.rmdir()

    with ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(work, number) for number in range(WORKERS)]:
            done.result()
    assert [c.path for c in load.children] == ["/box"]
    sockets = [os.readlink(f) for f in Path(f"/proc/{fs.process.pid}/fd").iterdir()]
    assert len(sockets) < 100


@pytest.mark.once
def test_a_thousand_containers_are_listed(load: Container, fs: Mounted) -> None:
    names = {f"c{number}" for number in range(MANY)}
    for name in names:
        (fs.point / "load" / name).mkdir()
    assert {c.path[1:] for c in load.children} == names | {"box"}
    assert names <= set(os.listdir(fs.point / "load"))
    lines = output("ls", "-l", fs.point / "load").splitlines()
    assert {line.split()[-1] for line in lines if line.startswith("d")} == names | {"box"}


# -- a supervisor that is stopped or dead -------------------------------------------------


def reading(path: Path) -> subprocess.Popen[str]:
    """A ``cat`` that has begun to wait for the supervisor."""
    process = subprocess.Popen(
        ["cat", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wchan = Path(f"/proc/{process.pid}/wchan")
    eventually(lambda: wchan.read_text() == FUSE_WAITS or process.poll() is not None, "cat waits")
    assert process.poll() is None
    return process


@pytest.mark.once
def test_a_stopped_supervisor_is_an_error_until_it_goes_on(gov: Governor, fs: Mounted) -> None:
    file = fs.point / "load/box/numtasks.limit"
    supervisor = gov.status().pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        first = reading(file)
        more = [reading(file) for _ in range(3)]
        for process in (first, *more):
            _, said = process.communicate(timeout=DEADLINE)
            assert os.strerror(errno.ETIMEDOUT) in said
    finally:
        os.kill(supervisor, signal.SIGCONT)
    # Until it has answered once, each request has half a second.
    eventually(lambda: not is_too_slow(file), "it answers again")
    assert file.read_text() == "max\n"


def is_too_slow(file: Path) -> bool:
    """Whether the supervisor has not answered in time."""
    try:
        file.read_bytes()
    except OSError as error:
        if error.errno != errno.ETIMEDOUT:
            raise
        return True
    return False


def test_a_killed_supervisor_is_an_error_and_the_end_of_the_mount(
    gov: Governor, fs: Mounted
) -> None:
    supervisor = gov.status().pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        process = reading(fs.point / "load/box/tasks")
    finally:
        os.kill(supervisor, signal.SIGKILL)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    # The last one is of a request that had not been begun when the mount ended.
    failures = (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED)
    assert any(os.strerror(number) in said for number in failures), said
    assert fs.wait() == 0
    assert not fs.is_mounted()


@pytest.mark.once
def test_it_ends_with_the_governor_though_a_shell_is_in_it(gov: Governor, fs: Mounted) -> None:
    with subprocess.Popen(["cat"], cwd=fs.point / "load", stdin=subprocess.PIPE) as shell:
        gov.close()
        assert fs.wait() == 0
        assert not fs.is_mounted()
        assert os.listdir(fs.point) == []
        assert shell.stdin is not None
        shell.stdin.close()


@pytest.mark.once
def test_it_ends_with_the_governor_though_a_job_is_at_work_in_it(
    gov: Governor, load: Container, fs: Mounted
) -> None:
    script = f"while :; do cat {fs.point}/load/box/tasks; mkdir {fs.point}/load/x; done"
    with open(os.devnull, "wb") as null:
        gov.spawn(["sh", "-c", script], containers=[load], stdout=null, stderr=null)
    eventually(lambda: (fs.point / "load/x").is_dir(), "the job has begun")
    gov.close()
    assert fs.wait() == 0
    assert not fs.is_mounted()


# -- the end of the mount -----------------------------------------------------------------


def by(number: int) -> Callable[[Mounted], None]:
    return lambda fs: fs.send(number)


def with_program(*command: str) -> Callable[[Mounted], None]:
    def end(fs: Mounted) -> None:
        output(*command, fs.point)

    return end


ENDS = {
    "Ctrl-C": by(signal.SIGINT),
    "TERM": by(signal.SIGTERM),
    "HUP": by(signal.SIGHUP),
    "fusermount3": with_program("fusermount3", "-u"),
    "umount": with_program("umount"),
}


@pytest.mark.parametrize("end", list(ENDS))
def test_every_end_leaves_no_mount_and_no_process(gov: Governor, fs: Mounted, end: str) -> None:
    if end == "umount" and os.geteuid():
        pytest.skip("umount is for root; others have fusermount3 -u")
    assert fs.is_mounted()
    ENDS[end](fs)
    assert fs.wait() == 0
    assert fs.hear() == ""
    assert not fs.is_mounted()
    assert not exists(fs.process.pid)
    assert os.listdir(fs.point) == []
    assert gov.status().jobs == 0  # the governor goes on


def test_a_killed_filesystem_is_mounted_anew(gov: Governor, fs: Mounted, mount: Mount) -> None:
    fs.send(signal.SIGKILL)
    fs.wait()
    assert fs.is_mounted()
    assert errno_of(lambda: os.listdir(fs.point)) == "ENOTCONN"
    again = mount(gov)
    assert os.listdir(again.point) == ["load"]
    again.send(signal.SIGTERM)
    assert again.wait() == 0
    assert not again.is_mounted()


@pytest.mark.once
def test_detached_it_is_there_when_the_command_returns(
    gov: Governor, load: Container, tmp_path: Path
) -> None:
    need_fuse()
    point = tmp_path / "fs"
    point.mkdir()
    done = command(gov, "--detach", str(point))
    assert (done.returncode, done.stdout) == (0, f"{point} is mounted\n"), done.stderr
    assert os.listdir(point) == ["load"]
    (end,) = map(os.pidfd_open, commands_with(point))
    output("fusermount3", "-u", point)
    assert os.listdir(point) == []
    assert select.select([end], [], [], DEADLINE)[0]
    os.close(end)


def commands_with(argument: Path) -> list[int]:
    """The processes that have this argument."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if bytes(argument) in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
    return found


# -- mistakes -----------------------------------------------------------------------------


def command(
    gov: Governor, *arguments: str, python: tuple[str, ...] = ("-m", "governor")
) -> subprocess.CompletedProcess[str]:
    """Run ``governor fs`` until it returns."""
    return subprocess.run(
        [sys.executable, *python, "fs", "--dir", gov.status().directory, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )


def complaint(gov: Governor, point: Path, *python: str) -> str:
    """What ``governor fs`` says when it refuses, which is one line."""
    done = command(gov, str(point), python=python or ("-m", "governor"))
    assert done.returncode == 1
    assert done.stderr.startswith("governor: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize(
    ("what", "name"), [("missing", "ENOENT"), ("a file", "ENOTDIR"), ("full", "ENOTEMPTY")]
)
def test_only_an_empty_directory_is_taken(
    gov: Governor, tmp_path: Path, what: str, name: str
) -> None:
    need_fuse()
    (tmp_path / "a file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/of it").touch()
    said = complaint(gov, tmp_path / what)
    assert f"[{name}]" in said
    assert what in said


def test_a_second_one_on_top_is_refused(gov: Governor, fs: Mounted) -> None:
    assert "[EBUSY]" in complaint(gov, fs.point)


@pytest.mark.once
def test_what_is_missing_is_said_with_how_to_install_it(gov: Governor, tmp_path: Path) -> None:
    hide = "import sys; sys.modules['mfusepy'] = None; from governor.cli import entry; entry()"
    assert "pip install 'governor[fs]'" in complaint(gov, tmp_path, "-c", hide)


@pytest.mark.once
def test_without_libfuse_it_is_said_what_to_install(
    gov: Governor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_extra()
    monkeypatch.setenv("FUSE_LIBRARY_NAME", "no-such-library")
    assert "apt-get install fuse3" in complaint(gov, tmp_path)


def test_a_closed_device_is_said_with_how_to_open_it(gov: Governor, tmp_path: Path) -> None:
    if not os.path.exists(DEVICE) or os.access(DEVICE, os.R_OK | os.W_OK):
        pytest.skip(f"{DEVICE} is open to this user, or not there")
    need_extra()
    assert "chmod 666 /dev/fuse" in complaint(gov, tmp_path)
