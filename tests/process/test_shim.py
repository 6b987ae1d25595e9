"""The preload shim against the kernel: what it mends, and that it does no harm."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.capabilities import need
from tests.process.running import program
from workers import public, shim

PIPELINES = Path(__file__).parents[1] / "programs" / "pipelines.sh"

# System calls of x86_64.
FORKS = (56, 57, 58, 435)
FILES = (2, 22, 41, 53, 85, 213, 253, 257, 282, 283, 284, 289, 290, 291, 293, 294, 319)
AFFINITY = (203,)
DELAY_US = 20
"""How long the answerer leaves the window open: signals find it even on an idle machine."""


class Ran(NamedTuple):
    """What a program left behind."""

    exit_code: int
    out: str
    err: str
    notifications: int


@pytest.fixture(autouse=True)
def shim_is_built() -> None:
    need(os.uname().machine == "x86_64", "the test programs name system calls of x86_64")
    need(shim.needed(), "this C library needs no shim")
    need(shim.path() is not None, "the shim is not built: it takes a C compiler at installation")


def environment(*, shimmed: bool = True, **more: str) -> dict[str, str]:
    """The environment of this process, made ready for a job or free of any preload."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "ASAN_OPTIONS")} | more
    return shim.environment(env) if shimmed else env


def trapped(calls: tuple[int, ...], *argv: str, shimmed: bool = True, delay: int = DELAY_US) -> Ran:
    """Run under an answerer that is not governor's and lets every call continue."""
    with tempfile.TemporaryFile() as report:
        done = subprocess.run(
            [
                program("continuer"),
                str(report.fileno()),
                str(delay),
                ",".join(map(str, calls)),
                *argv,
            ],
            env=environment(shimmed=shimmed),
            pass_fds=[report.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        report.seek(0)
        notifications = report.read()
    need(bool(notifications), f"no seccomp notification on this host: {done.stderr.strip()}")
    return Ran(done.returncode, done.stdout, done.stderr, int(notifications))


def plain(argv: list[str], env: dict[str, str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


class TestSignalsDoNotDisturb:
    def test_forks(self) -> None:
        ran = trapped(FORKS, program("eintr_forks"), "3000")
        assert ran.out == "ok 3000 eintr 0 other 0\n"
        assert ran.notifications == 3000, "a fork was trapped twice"

    def test_forks_fail_without_it(self) -> None:
        ran = trapped(FORKS, program("eintr_forks"), "1000", shimmed=False)
        assert " eintr 0 " not in ran.out, "the tests above show nothing"

    def test_vforks(self) -> None:
        ran = trapped(FORKS, program("vfork_signals"), "1000")
        assert ran.out == "ok 1000 eintr 0 other 0\n"
        assert ran.notifications == 1000

    def test_vforks_fail_without_it(self) -> None:
        ran = trapped(FORKS, program("vfork_signals"), "1000", shimmed=False)
        assert " eintr 0 " not in ran.out

    def test_pipelines_of_a_shell(self) -> None:
        ran = trapped(FORKS, "dash", str(PIPELINES), "300", delay=0)
        assert (ran.exit_code, ran.err) == (0, "")
        assert ran.notifications == 900

    def test_calls_that_create_files(self) -> None:
        ran = trapped(FILES + AFFINITY, program("eintr_files"), "200")
        assert ran[:3] == (0, "done\n", "")

    def test_calls_that_create_files_fail_without_it(self) -> None:
        ran = trapped(FILES + AFFINITY, program("eintr_files"), "200", shimmed=False)
        assert len(ran.out.splitlines()) > 10, ran

    def test_many_opens(self) -> None:
        """30,000 of them: 1,000 for each of the 30 kinds."""
        ran = trapped(FILES, program("eintr_files"), "1000", delay=0)
        assert ran[:3] == (0, "done\n", "")


class TestCallsThatMayBeInterrupted:
    @pytest.fixture
    def fifo(self, tmp_path: Path) -> str:
        path = tmp_path / "fifo"
        os.mkfifo(path)
        return str(path)

    @pytest.mark.parametrize("how", [(), ("fopen",)])
    def test_fifo(self, fifo: str, how: tuple[str, ...]) -> None:
        ran = trapped(FILES, program("open_alarm"), fifo, *how)
        assert ran.out == "Interrupted system call\n"

    def test_fifo_behind_a_link(self, fifo: str, tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(fifo)
        ran = trapped(FILES, program("open_alarm"), str(link))
        assert ran.out == "Interrupted system call\n"

    def test_a_waiting_thread_can_be_cancelled(self, fifo: str) -> None:
        done = plain([program("cancel_open"), fifo], environment())
        assert done == (0, "cleaned up\ncancelled\n", "")


class TestForksStayWhatTheyAre:
    def test_masks_errno_and_handlers(self) -> None:
        assert plain([program("fork_masks")], environment()) == (0, "done\n", "")

    def test_denied(self) -> None:
        assert plain([program("fork_denied")], environment()) == (0, "done\n", "")

    def test_vfork_copies_no_page_tables(self) -> None:
        _, out, _ = plain([program("vfork_cost"), "256"], environment())
        assert int(out) < 30, "a vfork costs as much as a fork"


class TestProgramsOfAllKinds:
    """A preload is read by every program of a job, and none may notice."""

    @pytest.mark.parametrize(
        ("flags", "compiler"),
        [
            ((), "cc"),
            (("-static",), "cc"),
            (("-m32",), "cc"),
            (("-m32", "-static"), "cc"),
            ((), "musl-gcc"),
            (("-static",), "musl-gcc"),
            (("-fsanitize=address",), "cc"),
            (("-fsanitize=thread",), "cc"),
            (("-fsanitize=undefined",), "cc"),
        ],
        ids=lambda value: value if isinstance(value, str) else " ".join(value) or "plain",
    )
    def test_nothing_is_printed(self, flags: tuple[str, ...], compiler: str) -> None:
        hello = program("hello", *flags, compiler=compiler)
        assert plain([hello], environment()) == (0, "hello\n", "")

    def test_loads_under_musl(self) -> None:
        """The linker of musl does not put in the platform; this is the library by its own name."""
        masks = program("fork_masks", compiler="musl-gcc")
        env = environment(shimmed=False, LD_PRELOAD=str(shim.path()))
        assert plain([masks], env) == (0, "done\n", "")

    def test_a_preload_of_the_user(self) -> None:
        """Both are loaded, the user's first."""
        user = program("empty_preload", "-shared", "-fPIC")
        env = environment(LD_PRELOAD=user, LD_TRACE_LOADED_OBJECTS="1")
        _, out, err = plain([program("hello")], env)
        assert 0 <= out.find(user) < out.find("shim.so")
        assert err == ""

    def test_a_private_installation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Programs of root's that become another user load a copy, and never complain."""
        need(os.geteuid() == 0, "only root can become another user", root=True)
        look = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat"]
        look.append("/proc/self/maps")
        with tempfile.TemporaryDirectory() as private, tempfile.TemporaryDirectory() as cache:
            os.chmod(cache, 0o700)  # as an umask would have it
            shutil.copytree(Path(str(shim.path())).parents[1], f"{private}/preload")
            monkeypatch.setattr(shim, "_PRELOAD", f"{private}/preload")
            assert "cannot be preloaded" in plain(look, {"LD_PRELOAD": str(shim.path())})[2]
            monkeypatch.setattr(public, "CACHE", cache)
            for _ in range(2):  # made, and found
                code, maps, err = plain(look, environment())
                assert (code, err) == (0, "")
                assert re.search(f"{cache}/[^/]+/[^/]+/shim.so", maps)
            assert len(os.listdir(cache)) == 1
            monkeypatch.setattr(public, "CACHE", "/proc/governor")
            assert f"{private}/preload/" in environment()["LD_PRELOAD"]

    def test_needs_no_library(self) -> None:
        _, out, _ = plain(["readelf", "--dynamic", str(shim.path())], environment(shimmed=False))
        assert re.findall(r"NEEDED.*\[(.*)\]", out) in ([], ["libdl.so.2"])

    def test_every_library_for_32_bit_programs_loads(self) -> None:
        hello = program("hello", "-m32")
        directory = Path(str(shim.path())).parents[1]
        libraries = sorted(directory.glob("i?86/shim.so"))
        assert libraries
        for library in libraries:
            env = environment(shimmed=False, LD_PRELOAD=str(library))
            assert plain([hello], env) == (0, "hello\n", "")
