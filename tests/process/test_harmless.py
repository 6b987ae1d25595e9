"""A job is not harmed: under limits it never meets it does what it does without governor."""

from __future__ import annotations

import errno
import os
import pty
import re
import select
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from governor.api import Container, Governor
from tests.capabilities import need
from tests.process.running import DEADLINE, PROJECT, Ran, Runner, World, failcnt, plain, program
from tests.process.running import world as make_world
from workers import shim

PIPELINES = PROJECT / "tests" / "programs" / "pipelines.sh"
_MODULES = [str(PROJECT), *(os.path.abspath(path) for path in sys.path)]
_GOVERNOR = f"import sys; sys.path[:] = {_MODULES}; from governor.cli import entry; entry()"
GOVERNED = [
    *(sys.executable, "-P", "-c", _GOVERNOR),
    *("run", "--max-tasks", "2000", "--max-files", "20000"),
    *("--hierarchy", "cpu=cpuset,cpuacct", "--"),
]
"""A command behind this has every subsystem bound."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


@pytest.fixture(autouse=True)
def signals_do_not_disturb() -> None:
    need(not shim.needed() or shim.path() is not None, "this C library needs the shim, not built")


def same(
    world: World, argv: Sequence[str | Path], times: int = 10, cwd: Path | None = None
) -> None:
    """The program does ``times`` the same under limits as it does once without, two at a time."""
    expected = plain(argv, cwd=cwd)
    containers = world.roomy()
    for _ in range(0, times, 2):
        pair = [world.start(argv, containers, cwd=cwd) for _ in range(min(2, times))]
        for started in pair:
            assert started.finish() == expected
    load = containers[0]
    assert failcnt(load, "numtasks") == failcnt(load, "numfiles") == 0
    assert expected.out or expected.err or expected.exit_code, "nothing to compare"


def sh(text: str) -> list[str]:
    return ["sh", "-c", textwrap.dedent(text)]


def having(*programs: str) -> None:
    for name in programs:
        need(shutil.which(name) is not None, f"no {name} on this host")


def same_by_command(argv: Sequence[str], wrap: Sequence[str] = (), cwd: Path | None = None) -> Ran:
    """The same for ``governor run``, which takes everything over from who calls it."""
    governed = plain([*wrap, *GOVERNED, *argv], cwd=cwd)
    expected = plain([*wrap, *argv], cwd=cwd)
    assert governed == expected
    return expected


@pytest.mark.once
class TestShells:
    def test_pipelines_of_dash(self, world: World) -> None:
        having("dash")
        same(world, ["dash", "-c", f". {PIPELINES}; echo $i", "-", "200"], times=6)

    @pytest.mark.parametrize("shell", ["dash", "bash"])
    def test_all_a_shell_does(self, world: World, shell: str, tmp_path: Path) -> None:
        having(shell)
        text = """
            x=$(echo a | tr a b); echo "$x"
            (exit 3); echo $?
            for i in 1 2 3 4 5; do (sleep 0; exit $i) & wait $! || echo "$?"; done
            cat <<END | sort -r | head -n 2
            one
            two
            three
            END
            trap 'echo trapped' USR1; kill -USR1 $$
            trap 'echo bye' EXIT
            { echo out; echo err >&2; } 2>&1 | sort
            { sh -c 'kill -9 $$'; } 2>/dev/null; echo $?
            yes | head -n 1000 | wc -l
            ulimit -n; ulimit -u; umask; pwd
            exec 9>&1; echo nine >&9; exec 9>&-
            exit 7
        """
        same(world, [shell, "-c", textwrap.dedent(text)], cwd=tmp_path)

    def test_bash_arrays_of_jobs(self, world: World) -> None:
        having("bash")
        text = "for i in {1..40}; do (exit $((i % 7))) & p+=($!); done; "
        text += "for q in ${p[@]}; do wait $q; printf %s $?; done; diff <(seq 9) <(seq 2 9)"
        same(world, ["bash", "-c", text])

    def test_ulimit_of_locks(self, world: World) -> None:
        """The limit that carries the membership: setting it works and changes nothing."""
        having("bash")
        text = "ulimit -x 5; echo $?; ulimit -a | grep -v locks; ulimit -Hx"
        containers = world.roomy()
        ran = world.run(["bash", "-c", text], containers)
        assert ran == plain(["bash", "-c", text])._replace(out=ran.out)
        assert ran.out.splitlines()[0] == "0"
        assert ran.out.splitlines()[1:-1] == plain(["bash", "-c", text]).out.splitlines()[1:-1]


@pytest.mark.once
class TestToolsAndLanguages:
    def test_make(self, world: World, tmp_path: Path) -> None:
        """A C project of 40 files, built by eight compilers at once."""
        having("make", "cc")
        names = [f"part{number}" for number in range(40)]
        for number, name in enumerate(names):
            (tmp_path / f"{name}.c").write_text(f"int {name}(void) {{ return {number}; }}\n")
        calls = " + ".join(f"{name}()" for name in names)
        declared = "".join(f"int {name}(void);\n" for name in names)
        (tmp_path / "main.c").write_text(
            f'#include <stdio.h>\n{declared}int main(void) {{ printf("%d\\n", {calls}); }}\n'
        )
        (tmp_path / "Makefile").write_text(
            "OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))\n"
            "all: program\n\t@./program\n"
            "program: $(OBJECTS)\n\t@cc -o $@ $^\n"
            "%.o: %.c\n\t@cc -c -o $@ $<\n"
            "clean:\n\t@rm -f *.o program\n"
        )
        build = sh("make -s clean && make -s -j8 2>&1")
        assert plain(build, cwd=tmp_path) == (0, "780\n", "")
        containers = world.roomy()
        for _ in range(3):
            assert world.run(build, containers, cwd=tmp_path) == (0, "780\n", "")

    def test_python(self, world: World) -> None:
        text = """
            import concurrent.futures, multiprocessing, os, subprocess, sys, threading
            if __name__ == "__main__":
                seen = []
                threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(50)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
                print(sorted(seen))
                for n in range(10):
                    print(subprocess.run(["sh", "-c", f"echo {n}; exit {n}"]), flush=True)
                with multiprocessing.get_context("fork").Pool(4) as pool:
                    print(pool.map(abs, range(-20, 0)))
                with concurrent.futures.ThreadPoolExecutor(8) as pool:
                    print(list(pool.map(len, ["a", "bb"])))
                print(subprocess.check_output("echo a | cat | cat", shell=True))
        """
        same(world, [sys.executable, "-c", textwrap.dedent(text)], times=6)

    def test_multiprocessing_by_other_ways(self, world: World, tmp_path: Path) -> None:
        script = tmp_path / "ways.py"
        script.write_text(
            textwrap.dedent(
                """
                import multiprocessing
                if __name__ == "__main__":
                    for way in "spawn", "forkserver":
                        context = multiprocessing.get_context(way)
                        with context.Pool(2) as pool:
                            print(way, pool.map(abs, [-1, -2]))
                """
            )
        )
        same(world, [sys.executable, script], times=2)

    def test_git(self, world: World, tmp_path: Path) -> None:
        having("git")
        text = f"""
            set -e
            export HOME={tmp_path} GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_DATE=@0 GIT_COMMITTER_DATE=@0
            export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a
            work=$(mktemp -d {tmp_path}/XXXXXX); cd "$work"
            git init -q -b main one; cd one
            for i in 1 2 3; do seq $i 1000 >file$i; git add .; git commit -q -m $i; done
            git gc -q; git clone -q . ../two; cd ../two
            git log --oneline; git fsck --full; git status --short; rm -rf "$work"
        """
        same(world, sh(text), times=4)

    def test_perl(self, world: World) -> None:
        having("perl")
        text = (
            "$| = 1; $SIG{CHLD} = sub { $got++ while waitpid(-1, 1) > 0 };"
            "for (1..100) { defined(my $p = fork) or die $!; exit 0 unless $p }"
            "select(undef, undef, undef, 0.01) until $got == 100; print qq{$got\\n};"
            "print `echo a; false`, $?, qq{\\n}; open F, '-|', 'seq 3'; print <F>;"
        )
        same(world, ["perl", "-e", text])

    def test_archives(self, world: World, tmp_path: Path) -> None:
        having("tar", "gzip", "sha256sum")
        for number in range(100):
            (tmp_path / f"file{number}").write_text(f"{number}\n" * 500)
        text = "tar --sort=name --mtime=@0 -c . | gzip -n | tee >(sha256sum) | gzip -d | tar t"
        having("bash")
        same(world, ["bash", "-c", f"{text} | sort | sha256sum; wait"], cwd=tmp_path)

    def test_node(self, world: World) -> None:
        having("node")
        text = (
            "const {execFileSync, spawn} = require('child_process'); const fs = require('fs');"
            "console.log(execFileSync('echo', ['hello']).toString());"
            "const read = new Promise(done => fs.readFile('/etc/passwd', done));"
            "read.then(() => console.log('read'));"
            "spawn('sh', ['-c', 'exit 3']).on('exit', code => setTimeout("
            "() => read.then(() => console.log('exit', code)), 50));"
        )
        same(world, ["node", "-e", text], times=2)

    def test_static_program(self, world: World) -> None:
        same(world, [program("hello", "-static")])


@pytest.mark.once
class TestSignals:
    def test_a_program_interrupted_all_the_time(self, world: World) -> None:
        ran = world.run([program("harm_signals", "-pthread"), "2000"], world.roomy())
        assert ran == (0, "interrupted\n", "")

    def test_charged_once(self, world: World) -> None:
        """The limit is exactly what it needs, so that a second charge for a call would show."""
        container = world.new(world.load, numtasks_limit=1 + 200, numfiles_limit=3 + 300)
        ran = world.run([program("harm_ramp"), "200", "300"], [container])
        assert ran == (0, "EAGAIN\nEMFILE\n", "")
        assert failcnt(container, "numtasks") == failcnt(container, "numfiles") == 1

    def test_children_nobody_waits_for(self, world: World) -> None:
        text = (
            "import os, signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "for n in range(200):\n    if os.fork() == 0: os._exit(n % 5)\n"
            "try:\n    os.wait()\nexcept ChildProcessError: print('all gone')"
        )
        same(world, [sys.executable, "-S", "-c", text])

    def test_broken_pipe(self, world: World) -> None:
        """SIGPIPE ends a writer without a message, which Python by itself would prevent."""
        having("bash")
        same(world, ["bash", "-c", "yes | head -n 3; echo ${PIPESTATUS[0]}"])

    def test_dispositions_and_mask(self) -> None:
        """What the caller ignores or blocks is ignored and blocked, all else as by default."""
        show = ["grep", "-E", "^(SigBlk|SigIgn|SigCgt|ShdPnd)", "/proc/self/status"]
        same_by_command(show)
        same_by_command(show, ["sh", "-c", 'trap "" HUP QUIT USR1; exec "$@"', "-"])
        masked = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, "
        masked += (
            "[signal.SIGUSR2, signal.SIGWINCH]); signal.signal(signal.SIGPIPE, signal.SIG_DFL); "
        )
        masked += (
            "signal.signal(signal.SIGXFSZ, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
        )
        same_by_command(show, [sys.executable, "-c", masked])

    @pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_ignored_by_the_caller(self, ignored: int) -> None:
        name = signal.Signals(ignored).name.removeprefix("SIG")
        show = ["grep", "SigIgn", "/proc/self/status"]
        ran = same_by_command(show, ["sh", "-c", f'trap "" {name}; exec "$@"', "-"])
        assert int(ran.out.split()[1], 16) & 1 << (ignored - 1)


class TestSurroundings:
    def test_nice_umask_and_limits(self) -> None:
        having("bash")
        wrap = [
            "bash",
            "-c",
            'umask 027; ulimit -S -c 0; ulimit -S -n 300; exec nice -n 5 "$@"',
            "-",
        ]
        same_by_command(["bash", "-c", "umask; nice; ulimit -Sn; ulimit -Hn; ulimit -c"], wrap)

    def test_directory(self, tmp_path: Path) -> None:
        ran = same_by_command(["pwd"], cwd=tmp_path)
        assert ran.out == f"{tmp_path}\n"

    def test_deleted_directory(self, tmp_path: Path) -> None:
        directory = tmp_path / "gone"
        wrap = [
            "sh",
            "-c",
            f'mkdir -p {directory}; cd {directory}; rmdir {directory}; exec "$@"',
            "-",
        ]
        same_by_command(["readlink", "/proc/self/cwd"], wrap)

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_a_closed_stream_is_empty(self, number: int, tmp_path: Path) -> None:
        """Not another file, which the program would then take for its standard stream."""
        result = tmp_path / "result"
        wrap = ["sh", "-c", f'exec "$@" {number}>&-', "-"]
        show = ["sh", "-c", f"(readlink /proc/$$/fd/{number} >{result}); exit 5"]
        assert plain([*wrap, *GOVERNED, *show]) == (5, "", "")
        assert result.read_text() == "/dev/null\n"

    def test_environment(self) -> None:
        """One variable of a megabyte in all, and names and values that are not UTF-8."""
        same_by_command(
            ["env"], ["env", "-i", "PATH=/bin:/usr/bin", "X=\udcff", "GOVERNOR_SHIM=off"]
        )
        big = {f"BIG{n}": "x" * 100_000 for n in range(9)}
        wrap = ["env", *(f"{name}={value}" for name, value in big.items())]
        same_by_command(["sh", "-c", "env | grep ^BIG | cksum"], wrap)

    def test_arguments(self, world: World) -> None:
        argument = "y" * 120_000
        ran = world.run(["sh", "-c", 'echo $# ${#1} "$2"', "-", *[argument] * 8], world.roomy())
        assert ran.out == f"8 120000 {argument}\n"
        assert world.run(["printf", "%s|", "", " ", "*", "\n"]).out == "| |*|\n|"

    def test_descriptors_of_a_command(self) -> None:
        """Like nice(1) or env(1), ``governor run`` passes on what is open and inheritable."""
        wrap = ["sh", "-c", 'exec 5</etc/passwd; exec "$@"', "-"]
        same_by_command(["head", "-n", "1", "/dev/fd/5"], wrap)

    def test_descriptors_of_a_program(self, world: World) -> None:
        """A job of the API gets its three streams, whatever else is open here."""
        with open("/etc/passwd") as file:
            os.set_inheritable(file.fileno(), True)
            with make_world() as other:
                ran = other.run(["sh", "-c", "ls /proc/self/fd"], other.roomy())
        assert ran.out.split() == ["0", "1", "2", "3"], "3 is that of ls itself"

    def test_status(self, world: World) -> None:
        """Nothing about the process is odd but that it has a filter."""
        fields = "Seccomp|NoNewPrivs|CapEff|CapPrm|Groups|Uid|Gid|TracerPid|NSpid"
        keep = r"NoNewPrivs|CapEff|Groups|Uid|Gid|TracerPid"
        ran = world.run(["grep", "-E", fields, "/proc/self/status"], world.roomy())
        status = dict(line.split(":\t", 1) for line in ran.out.splitlines())
        assert status["Seccomp"] == "2"
        assert int(status["Seccomp_filters"]) >= 1
        if os.geteuid() == 0:
            assert status["NoNewPrivs"] == "0", "set-user-ID programs go on working"
        expected = plain(["grep", "-E", keep, "/proc/self/status"]).out
        ours = [line for line in ran.out.splitlines() if re.match(keep, line)]
        if os.geteuid() == 0:
            assert ours == expected.splitlines()


class TestPrivilegesAndFilters:
    def test_change_of_user(self, world: World) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can become another user")
        having("su", "setpriv")
        same(world, ["su", "nobody", "-s", "/bin/sh", "-c", "id -un; echo a | cat"], times=4)
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        same(world, [*drop, "sh", "-c", "id -u; echo b | cat"], times=4)

    def test_a_filter_of_its_own(self, world: World) -> None:
        """It works beside ours; a listener cannot, for the kernel allows one per process."""
        ran = world.run([program("harm_seccomp")], world.roomy())
        assert ran == (0, "filter 0\ngetppid EXDEV\nlistener EBUSY\n", "")


@pytest.fixture(scope="class")
def everything() -> Iterator[tuple[Runner, list[Container]]]:
    """All subsystems, those that count twice, with limits and barriers above one another."""
    with Governor() as gov:
        every = gov.mount("every", ["all"])
        again = gov.mount("again", [f"{kind}@again" for kind in ROOM])
        every.root["numtasks.total"] = ROOM["numtasks"]
        every.root["numtasks.forkrate"] = 1_000_000
        outer = [hierarchy.mkdir("/box") for hierarchy in (every, again)]
        inner = [container.mkdir("inner") for container in outer]
        outer[0]["numtasks.shares"] = "min_shares=50,max_shares=90"
        for container in (*outer, *inner):
            for kind, room in ROOM.items():
                container[f"{kind}.limit"] = room
                container[f"{kind}.barrier"] = room - 1
        runner = Runner(gov)
        yield runner, inner
        runner.close()


ROOM = {
    "numtasks": 3000,
    "numfiles": 30_000,
    "numsock": 5000,
    "numpty": 100,
    "numflock": 1000,
    "privvmpages": 60_000_000,
    "physpages": 30_000_000,
    "rsspages": 60_000_000,
}
"""Limits that nothing here meets."""
DATABASE = """
    d=$(mktemp -d)
    for i in 1 2 3; do
        sqlite3 -cmd ".timeout 60000" $d/db \
            "create table if not exists t (x); insert into t values (1);" >/dev/null &
    done; wait
    sqlite3 $d/db "select sum(x) from t"; rm -r $d
"""


class TestEverythingAtOnce:
    @pytest.mark.parametrize(
        ("flags", "compiler"), [((), "cc"), (("-static",), "cc"), (("-static",), "musl-gcc")]
    )
    def test_a_program(
        self,
        everything: tuple[Runner, list[Container]],
        flags: tuple[str, ...],
        compiler: str,
    ) -> None:
        self.same([program("harm_mix", "-pthread", *flags, compiler=compiler)], everything)

    @pytest.mark.parametrize(
        ("needed", "text"),
        [
            ("dash", f"dash -c '. {PIPELINES}; echo $i' - 60"),
            ("cc", "echo 'int main(void){return 7;}' | cc -x c -o /dev/null - && echo compiled"),
            ("script", "script -qec 'tty >/dev/null && echo tty; exit 4' /dev/null; echo $?"),
            ("unshare", "unshare -Urpf sh -c 'echo $$ $(id -u)'; unshare -U true; echo $?"),
            ("strace", "strace -qqf -o /dev/null sh -c '(echo a | cat); exit 3'; echo $?"),
            ("sqlite3", DATABASE),
        ],
    )
    def test_a_command(
        self, everything: tuple[Runner, list[Container]], needed: str, text: str
    ) -> None:
        having(needed)
        self.same(sh(text), everything)

    def same(self, argv: Sequence[str | Path], everything: tuple[Runner, list[Container]]) -> None:
        runner, containers = everything
        expected = plain(argv)
        assert expected.out
        for started in [runner.start(argv, containers) for _ in range(2)]:
            assert started.finish() == expected
        assert not any(failcnt(container, kind) for container in containers for kind in ROOM)


class TestTerminal:
    def test_job_control_of_bash(self) -> None:
        """Stop, continue in the background, bring to the foreground, interrupt."""
        having("bash")
        assert talk_to_bash([]) == talk_to_bash(GOVERNED)


def talk_to_bash(wrap: list[str]) -> list[str]:
    """A conversation with an interactive bash on a terminal of its own; what it answered."""
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {"PATH": os.environ["PATH"], "PS1": "READY ", "TERM": "dumb"}
        environment["HOME"] = "/nonexistent"
        command = [*wrap, "bash", "--norc", "--noprofile", "--noediting", "-i"]
        os.execvpe(command[0], command, environment)
    text = b""
    try:
        text = hear(terminal, b"READY ")
        for said, until in CONVERSATION:
            os.write(terminal, said)
            text += hear(terminal, until)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        pid = 0
    finally:
        os.close(terminal)
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    lines = re.sub(rb"\[(\d)\] \d+", rb"[\1] pid", text).replace(b"READY ", b"").splitlines()
    return [line.decode().strip() for line in lines if line.strip()] + [str(code)]


CONVERSATION = (
    (b"stty -echo\n", b"READY "),
    (b"cat\n", b""),
    (b"hello\n", b"hello\r\n"),
    (b"\x1a", b"READY "),
    (b"jobs\n", b"READY "),
    (b"fg\n", b"cat\r\n"),
    (b"again\n", b"again\r\n"),
    (b"\x03", b"READY "),
    (b"echo $?\n", b"READY "),
    (b"sleep 1000 & kill %1; wait %1; echo $?\n", b"143\r\n"),
    (b"tty >/dev/null && echo terminal; ps -o tpgid= -p $$ >/dev/null; echo $?\n", b"READY "),
    (b"exit 5\n", b"exit\r\n"),
)


def hear(terminal: int, until: bytes) -> bytes:
    """Read until this is seen."""
    text = b""
    end = time.monotonic() + DEADLINE
    while until not in text:
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        assert ready, f"waited for {until!r}, got {text!r}"
        try:
            text += os.read(terminal, 4096)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            break
    return text
