"""numsock, numpty and numflock alike: several processes reach exactly the limit, and no more."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from governor.api import Container, Hierarchy
from tests.capabilities import need
from tests.process.helpers import exists
from tests.process.running import World, eventually, failcnt, plain
from tests.process.running import world as make_world

LIBRARY = """
import errno, fcntl, os, socket, struct, sys
TIOCGPTN = 0x80045430
path, kept = sys.argv[1], []

def numsock():
    "An inode number for the oracle."
    kept.append(socket.socket(socket.AF_UNIX))
    return os.fstat(kept[-1].fileno()).st_ino

def numpty():
    "The number of the terminal."
    kept.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
    return struct.unpack("I", fcntl.ioctl(kept[-1], TIOCGPTN, bytes(4)))[0]

def numflock():
    "The byte that is locked; no two locks touch."
    if not kept:
        kept.append(open(path, "r+b"))
    byte = os.getpid() * 1000 + 2 * len(kept)
    fcntl.lockf(kept[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    kept.append(byte)
    return byte

def make(kind):
    "What was made until it was refused, and the errno."
    made = []
    try:
        while True:
            made.append(globals()[kind]())
    except OSError as error:
        return made, error.errno

def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""

MANY = """
children = int(sys.argv[3])
begin, start = os.pipe()
told, tell_parent = os.pipe()
for _ in range(children):
    if os.fork() == 0:
        os.close(start)
        os.read(begin, 1)  # all at once
        made, error = make(sys.argv[2])
        os.write(tell_parent, (" ".join(map(str, [error, *made])) + "\\n").encode())
        os.read(0, 1)
        os._exit(0)
os.close(start)
os.close(tell_parent)
# One after the other: two that write to an unnamed file at once may write to the same place.
for line in open(told):
    tell(line.strip())
for _ in range(children):
    os.wait()
"""


class Kind(NamedTuple):
    subsystem: str
    errno: int


KINDS = [
    Kind("numsock", errno.ENOBUFS),
    Kind("numpty", errno.ENOSPC),
    Kind("numflock", errno.ENOLCK),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.subsystem)


def script(text: str, *arguments: object) -> list[str]:
    return [sys.executable, "-S", "-E", "-u", "-c", LIBRARY + text, *map(str, arguments)]


class Hoard:
    """Processes of one job that have made all they could, and keep it until they are let go."""

    def __init__(
        self, world: World, container: Container, kind: Kind, file: Path, children: int = 4
    ) -> None:
        hold, self._release = os.pipe()
        command = script(MANY, file, kind.subsystem, children)
        self._started = world.start(command, [container], stdin=hold)
        os.close(hold)
        job = self._started.job
        eventually(
            lambda: self._started.said().count("\n") == children or not exists(job.pid),
            "all were refused",
        )
        lines = [line.split() for line in self._started.said().splitlines()]
        self.errors = {int(line[0]) for line in lines}
        self.made = [int(word) for line in lines for word in line[1:]]

    def close(self) -> None:
        os.close(self._release)
        ran = self._started.finish()
        assert (ran.exit_code, ran.err) == (0, "")


class Setting(NamedTuple):
    """A governor with the three in a hierarchy each, and a file to lock."""

    world: World
    hierarchies: dict[str, Hierarchy]
    file: Path

    def new(self, kind: Kind, path: str, limit: int | str = "max") -> Container:
        container = self.hierarchies[kind.subsystem].mkdir(path)
        container[f"{kind.subsystem}.limit"] = limit
        return container

    @contextlib.contextmanager
    def hoard(self, container: Container, kind: Kind, children: int = 4) -> Iterator[Hoard]:
        hoard = Hoard(self.world, container, kind, self.file, children)
        try:
            yield hoard
        finally:
            hoard.close()

    def exist(self, kind: Kind, made: list[int]) -> int:
        """How many of these the kernel tells of, without a look into any process."""
        if kind.subsystem == "numsock":
            rows = Path("/proc/net/unix").read_text().splitlines()[1:]
            return len({int(row.split()[6]) for row in rows} & set(made))
        if kind.subsystem == "numpty":
            return sum(os.path.exists(f"/dev/pts/{number}") for number in set(made))
        return len(kernel_locks(self.file))


def kernel_locks(file: Path) -> list[str]:
    """The locks of a file that are held, as /proc/locks has them."""
    rows = Path("/proc/locks").read_text().splitlines()
    inode = f":{file.stat().st_ino} "
    return [row for row in rows if "->" not in row and inode in row]


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with make_world() as world, tempfile.NamedTemporaryFile() as file:
        names = [kind.subsystem for kind in KINDS]
        yield Setting(
            world, {name: world.gov.mount(name, [name]) for name in names}, Path(file.name)
        )


def held(container: Container, kind: Kind) -> int:
    return int(container[f"{kind.subsystem}.held"])


@every_kind
def test_many_processes_reach_exactly_the_limit(setting: Setting, kind: Kind) -> None:
    container = setting.new(kind, "/many", 25)
    with setting.hoard(container, kind) as hoard:
        assert hoard.errors == {kind.errno}
        assert len(set(hoard.made)) == 25
        assert setting.exist(kind, hoard.made) == 25
        assert held(container, kind) == 25
        assert container[f"{kind.subsystem}.maxheld"] == 25
        assert failcnt(container, kind.subsystem) == 4
    assert held(container, kind) == 0


@every_kind
def test_a_limit_and_that_of_the_container_above_both_hold(setting: Setting, kind: Kind) -> None:
    above = setting.new(kind, "/above", 10)
    one, other = setting.new(kind, "/above/one", 6), setting.new(kind, "/above/other")
    with setting.hoard(one, kind, 2) as first:
        assert (len(first.made), first.errors) == (6, {kind.errno})
        with setting.hoard(other, kind, 3) as second:
            assert (len(second.made), second.errors) == (4, {kind.errno})
            assert held(above, kind) == 10
            assert setting.exist(kind, first.made + second.made) == 10
    assert [failcnt(c, kind.subsystem) for c in (one, other, above)] == [2, 0, 3]


@every_kind
def test_nothing_is_refused_for_what_was_given_back(setting: Setting, kind: Kind) -> None:
    """Under a limit of one each, hundreds one after the other."""
    container = setting.new(kind, "/again", 1)
    body = """
for _ in range(300):
    globals()[sys.argv[2]]()
    thing = kept.pop()
    if sys.argv[2] == "numflock":
        fcntl.lockf(kept[0], fcntl.LOCK_UN)
    elif sys.argv[2] == "numpty":
        os.close(thing)
    else:
        thing.close()
tell("done")
"""
    ran = setting.world.run(script(body, setting.file, kind.subsystem), [container])
    assert ran == (0, "done\n", "")
    assert failcnt(container, kind.subsystem) == 0


@every_kind
def test_a_limit_is_met_when_it_is_lowered(setting: Setting, kind: Kind) -> None:
    container = setting.new(kind, "/lower", 8)
    with setting.hoard(container, kind, 1):
        container[f"{kind.subsystem}.limit"] = 3
        assert held(container, kind) == 8
        with setting.hoard(container, kind, 1) as more:
            assert (more.made, more.errors) == ([], {kind.errno})


@every_kind
def test_its_level(setting: Setting, kind: Kind) -> None:
    """A terminal may be opened by another name; the other two are enforced."""
    container = setting.new(kind, "/level", 100)
    assert setting.world.run(["true"], [container]).exit_code == 0
    best = "partial" if kind.subsystem == "numpty" else "enforced"
    reports = [c for c in setting.world.gov.containers() if kind.subsystem in c.level]
    levels = {report.path: report.level[kind.subsystem] for report in reports}
    assert levels["/level"] == best


PROGRAMS = {
    "pipeline": ["sh", "-c", "seq 1000 | sort -rn | head -3; echo $(ls /dev/null)"],
    "terminal": [
        sys.executable,
        "-c",
        "import pty, sys; sys.exit(pty.spawn(['sh', '-c', 'tty | cut -c1-9; stty size']))",
    ],
    "script": ["script", "-qec", "tty | cut -c1-9; exit 3", os.devnull],
    "flock": [
        "sh",
        "-c",
        'exec 9<"$0"; flock 9 && flock -s 9 && flock -u 9; echo $?',
        sys.executable,
    ],
    "database": [
        sys.executable,
        "-c",
        "import sqlite3, tempfile\n"
        "with tempfile.NamedTemporaryFile() as file:\n"
        "    base = sqlite3.connect(file.name)\n"
        "    base.execute('create table t (a)')\n"
        "    base.executemany('insert into t values (?)', [(n,) for n in range(100)])\n"
        "    base.commit()\n"
        "    print(base.execute('select sum(a) from t').fetchall())\n",
    ],
    "sockets": [
        sys.executable,
        "-c",
        "import asyncio\n"
        "async def main():\n"
        "    async def serve(reader, writer):\n"
        "        writer.write(await reader.readline()); writer.close()\n"
        "    server = await asyncio.start_server(serve, '127.0.0.1', 0)\n"
        "    port = server.sockets[0].getsockname()[1]\n"
        "    async def ask(n):\n"
        "        reader, writer = await asyncio.open_connection('127.0.0.1', port)\n"
        "        writer.write(b'%d\\n' % n)\n"
        "        answer = await reader.read(); writer.close()\n"
        "        return int(answer)\n"
        "    print(sum(await asyncio.gather(*map(ask, range(20)))))\n"
        "asyncio.run(main())\n",
    ],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_below_their_limits_notice_nothing(setting: Setting, name: str) -> None:
    roomy = [setting.new(kind, f"/{name}", 200) for kind in KINDS]
    expected = plain(PROGRAMS[name])
    need(expected.exit_code != 127, f"{PROGRAMS[name][0]} is not there")
    assert setting.world.run(PROGRAMS[name], roomy) == expected
