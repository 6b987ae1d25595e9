"""Programs run with and without a governor, so that a test can compare the two."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from governor.api import Container, Governor, Hierarchy, Job
from tests.capabilities import need
from tests.process.helpers import DEADLINE as DEADLINE
from tests.process.helpers import eventually as eventually
from tests.programs.build import CannotCompile, compile

PROJECT = Path(__file__).parents[2]


class Ran(NamedTuple):
    """How a program ended, and what it wrote."""

    exit_code: int
    out: str
    err: str


class Started:
    """A job whose output is collected in unnamed files."""

    def __init__(self, world: Runner, job: Job, out: IO[bytes], err: IO[bytes]) -> None:
        self.world = world
        self.job = job
        self._out = out
        self._err = err

    def finish(self) -> Ran:
        """Wait for the end."""
        result = self.job.wait(DEADLINE)
        assert result.unenforced is None, result
        return Ran(result.exit_code, self.said(), _all_of(self._err))

    def said(self) -> str:
        """What it has written to its output so far."""
        return _all_of(self._out)


class Runner:
    """Runs jobs of a governor and collects their output."""

    def __init__(self, gov: Governor) -> None:
        self.gov = gov
        self._files: list[IO[bytes]] = []
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _temporary(self) -> IO[bytes]:
        file = os.fdopen(os.memfd_create("output"), "w+b")
        self._files.append(file)
        return file

    def close(self) -> None:
        for file in self._files:
            file.close()
        os.close(self._null)

    def start(
        self,
        argv: Sequence[str | Path] | Callable[[], object],
        containers: Sequence[Container] = (),
        *,
        stdin: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> Started:
        out, err = self._temporary(), self._temporary()
        job = self.gov.spawn(
            argv,
            containers=containers,
            stdin=self._null if stdin is None else stdin,
            stdout=out,
            stderr=err,
            env=env,
            cwd=cwd,
        )
        return Started(self, job, out, err)

    def run(
        self,
        argv: Sequence[str | Path] | Callable[[], object],
        containers: Sequence[Container] = (),
        *,
        stdin: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> Ran:
        return self.start(argv, containers, stdin=stdin, env=env, cwd=cwd).finish()


class World(Runner):
    """A governor with two hierarchies, and containers in each of them."""

    def __init__(self, gov: Governor) -> None:
        super().__init__(gov)
        self.load = gov.mount("load", ["numtasks", "numfiles"])
        self.cpu = gov.mount("cpu", ["cpuset", "cpuacct"])
        self._made = 0

    def new(self, hierarchy: Hierarchy, **files: int | str) -> Container:
        """A new container; control files are spelt with _ for the dot."""
        self._made += 1
        container = hierarchy.mkdir(f"/c{self._made}")
        for name, value in files.items():
            container[name.replace("_", ".", 1)] = value
        return container

    def roomy(self) -> list[Container]:
        """Two new containers whose limits nothing here meets, so that everything is charged."""
        load = self.new(self.load, numtasks_limit=2000, numfiles_limit=20000)
        return [load, self.new(self.cpu)]


@contextlib.contextmanager
def world() -> Iterator[World]:
    with Governor() as gov:
        made = World(gov)
        try:
            yield made
        finally:
            made.close()


def plain(
    argv: Sequence[str | Path],
    *,
    stdin: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
) -> Ran:
    """Run without a governor."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        capture_output=True,
        env=env,
        cwd=cwd,
        timeout=DEADLINE,
        check=False,
        start_new_session=True,
    )
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return Ran(code, _text(done.stdout), _text(done.stderr))


def program(name: str, *flags: str, compiler: str = "cc") -> str:
    """Compile a program of this suite, or skip on a host that cannot."""
    try:
        return compile(name, *flags, compiler=compiler)
    except CannotCompile as error:
        lines = str(error).splitlines()
        need(False, f"cannot compile {name} {' '.join(flags)} with {compiler}: {lines[0]}")
        raise


def failcnt(container: Container, subsystem: str) -> int:
    return int(container[f"{subsystem}.failcnt"])


def _all_of(file: IO[bytes]) -> str:
    return _text(os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0))


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")
