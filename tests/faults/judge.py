"""What is left of a combination, looked at from outside: nothing may be, whatever happened."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.run import STRUCK
from tests.faults.story import BOX, GONE, OTHER, STORM, Place
from tests.leftovers import Mark
from tests.process.helpers import PIDS, PYTHONPATH, program

LONGEST = 120.0
"""Seconds after which a story hangs. Alone it takes two."""
_LEAVING = 15.0
"""Seconds in which processes whose governor was killed have to be gone."""
HANGS = "hangs"


PROGRAMS = ("tasks_puppet", "tasks_bomb", "ns_puppet")


@functools.cache
def can_enter() -> bool:
    """Whether this user may make user namespaces here."""
    done = subprocess.run(["unshare", "-U", "true"], capture_output=True, check=False)
    return done.returncode == 0


class Verdict(NamedTuple):
    """What came of a combination: an outcome as in `story`, and whatever was wrong."""

    step: str
    kind: str
    outcome: str
    seconds: float
    told: list[str]
    violations: list[str]


def judge(step: str, kind: str, expected: tuple[str, ...]) -> Verdict:
    """Run a combination and look at what is left."""
    began = time.monotonic()
    mark = Mark()
    with tempfile.TemporaryDirectory(prefix="gov") as scratch, _cgroups() as cgroup:
        done = _run(step, kind, scratch, cgroup, mark)
        said = _said(done)
        violations = list(said["violations"])
        violations += _left(mark)
        violations += _counted(cgroup)
        violations += _ran(Path(scratch), said)
        violations += _complaints(done)
        if kind != "none" and not os.path.exists(f"{scratch}/{STRUCK}"):
            violations.append("the fault has not struck")
        if os.listdir(f"{scratch}/runtime"):
            violations.append(f"left: {os.listdir(f'{scratch}/runtime')}")
    if said["kind"] not in expected:
        violations.append(f"{said['kind']}, not {' or '.join(expected)}")
    took = round(time.monotonic() - began, 1)
    return Verdict(step, kind, said["kind"], took, said["told"], violations)


class _Done(NamedTuple):
    status: int | None
    out: str
    err: str


def _run(step: str, kind: str, scratch: str, cgroup: str, mark: Mark) -> _Done:
    runtime = Path(scratch, "runtime")
    runtime.mkdir(mode=0o700)
    place = Place(scratch, cgroup, *map(program, PROGRAMS))
    if not can_enter():
        place = place._replace(ns="")
    command = [sys.executable, "-m", "tests.faults.run", step, kind, *place]
    env = (
        os.environ | mark.environment | {"XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": PYTHONPATH}
    )
    with open(f"{scratch}/out", "w+") as out, open(f"{scratch}/err", "w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=env)
        try:
            status: int | None = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            status = None
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        return _Done(status, out.read(), err.read())


def _said(done: _Done) -> dict[str, Any]:
    nothing: dict[str, Any] = {"told": [], "violations": [], "ran": [], "perhaps": []}
    if done.status is None:
        return nothing | {"kind": HANGS}
    if done.status == -9:
        return nothing | {"kind": GONE}
    try:
        said: dict[str, Any] = json.loads(done.out)
    except ValueError:
        return nothing | {"kind": f"exit {done.status}", "violations": [done.err[-2000:]]}
    return said


def _left(mark: Mark) -> list[str]:
    """What still runs, given some time: those whose supervisor was killed end by themselves."""
    end = time.monotonic() + _LEAVING
    while (left := mark.processes()) and time.monotonic() < end:
        time.sleep(0.02)
    what = [_describe(pid) for pid in left]
    mark.kill()
    return [f"still there: {', '.join(what)}"] if left else []


def _describe(pid: int) -> str:
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return f"{pid} {command[:60]}"
    return str(pid)


@contextlib.contextmanager
def _cgroups() -> Iterator[str]:
    """Two groups of the kernel's pids controller, where there is one and it is ours."""
    if os.geteuid() != 0 or not (PIDS / "cgroup.procs").exists():
        yield ""
        return
    path = Path(tempfile.mkdtemp(prefix="governor-fault-", dir=PIDS))
    groups = [path / name for name in ("box", "storm")]
    for group in groups:
        group.mkdir()
    try:
        yield str(path)
    finally:
        end = time.monotonic() + _LEAVING
        for group in [*groups, path]:
            while group.exists() and time.monotonic() < end:  # what has ended may not be gone yet
                with contextlib.suppress(OSError):
                    group.rmdir()


def _counted(cgroup: str) -> list[str]:
    wrong = []
    for name, limit in (("box", BOX - 1 + OTHER), ("storm", STORM)):
        peak = Path(cgroup, name, "pids.peak")
        if cgroup and peak.exists() and int(peak.read_text()) > limit:
            wrong.append(f"the kernel has counted {peak.read_text().strip()} in {name}: {limit}")
    return wrong


def _ran(scratch: Path, said: dict[str, Any]) -> list[str]:
    file = scratch / "ran"
    times = Counter(file.read_text().split() if file.exists() else [])
    wrong = [f"job {mark} ran {count} times" for mark, count in times.items() if count > 1]
    return wrong + [f"job {mark} never ran" for mark in said["ran"] if not times[mark]]


def _complaints(done: _Done) -> list[str]:
    """What governor says of itself on stderr is one line; a traceback is a mistake of ours."""
    if "Traceback" in done.err or done.status is None:
        return [done.err[-1500:]]
    return []
