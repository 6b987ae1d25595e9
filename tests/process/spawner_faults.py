"""Runs jobs under a governor whose spawner is killed at a named step; prints what it saw.

    python -m tests.process.spawner_faults {STEP WHEN NTH} ...

WHEN is before or after the NTH time that the STEP is done; NTH 0: nobody is killed. The last
line says how often the first step was done. The governor is a fork of this process, and so are
its first spawner and that one's workers: that is how they come to have the faults.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import sys
import tempfile
from typing import Any

import governor
from governor.api import Container, Governor
from governor.api.events import follow
from governor.supervisor.job_progress import JobProgress
from governor.wire.spawner import Buried, Reaped, Started, StartWorker, UserTime
from tests.process.helpers import DEADLINE, eventually, exists, program, puppet
from workers import bootstrap, channel, spawner

SPAWNER, WORKER, SUPERVISOR = "spawner", "worker", "supervisor"

STEPS: dict[str, tuple[str, Any, str, type | None]] = {
    "obey": (SPAWNER, spawner.Spawner, "_obey", None),
    "fork": (SPAWNER, os, "fork", None),
    "say started": (SPAWNER, channel, "send", Started),
    "say user time": (SPAWNER, channel, "send", UserTime),
    "announce end": (SPAWNER, channel, "send", Reaped),
    "reap": (SPAWNER, os, "waitpid", None),
    "say buried": (SPAWNER, channel, "send", Buried),
    "begin work": (WORKER, bootstrap, "_read_spec", None),
    "say ready": (WORKER, bootstrap, "_install_filter", None),
    "hear go": (WORKER, bootstrap, "_wait_for_go", None),
    "exec": (WORKER, bootstrap, "_find_and_exec", None),
    "ask": (SUPERVISOR, channel, "send", StartWorker),
    "hear started": (SUPERVISOR, JobProgress, "on_started", None),
    "hear ready": (SUPERVISOR, JobProgress, "_on_ready", None),
    "hear placed": (SUPERVISOR, JobProgress, "on_placed", None),
    "hear end": (SUPERVISOR, JobProgress, "on_reaped", None),
}
"""What is done, by whom, and with which message where the step is a message."""

_shared = memoryview(mmap.mmap(-1, 4096)).cast("q")
_PID = 100
"""Where in shared memory the first spawner's pid is; counts of the steps are at the beginning."""
_role = SUPERVISOR


def _kill() -> None:
    """Kill the first spawner and see it dead."""
    try:
        end = os.pidfd_open(_shared[_PID])
    except ProcessLookupError:
        return
    os.kill(_shared[_PID], signal.SIGKILL)
    select.select([end], [], [])
    os.close(end)


def _plant(index: int, step: str, when: str, nth: int) -> None:
    role, place, name, kind = STEPS[step]
    original = getattr(place, name)

    def faulty(*arguments: Any, **keys: Any) -> Any:
        if role != _role or not _shared[_PID] or (kind and not isinstance(arguments[1], kind)):
            return original(*arguments, **keys)
        count = _shared[index] = _shared[index] + 1
        if count == nth and when == "before":
            _kill()
        result = original(*arguments, **keys)
        if count == nth and not (step == "fork" and result == 0):
            _kill()
        return result

    setattr(place, name, faulty)


def _mark_roles() -> None:
    serve, leave = spawner.Spawner.serve, spawner.Spawner._leave_parent

    def marked(self: spawner.Spawner) -> None:
        global _role
        _role = SPAWNER
        _shared[_PID] = os.getpid()
        serve(self)

    def left(self: spawner.Spawner) -> None:
        global _role
        _role = WORKER
        leave(self)

    setattr(spawner.Spawner, "serve", marked)  # noqa: B010 - mypy lets no method be assigned
    setattr(spawner.Spawner, "_leave_parent", left)  # noqa: B010


def scenario(gov: Governor) -> list[object]:
    """Jobs that run all the time, that come, that end, that leave orphans."""
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    used = gov.mount("cpu", ["cpuacct"]).mkdir("/used")
    box["numtasks.limit"] = 40
    said: list[object] = []
    with puppet(gov, box) as job:
        job.fill(2)
        with tempfile.NamedTemporaryFile() as file:
            said.append(_write_once(gov, box, file.name))
        said += [_leave_orphan(gov, box), _burn(gov, used)]
        box["numtasks.limit"] = 3
        said += [job.is_refused(), box["numtasks.held"], box["numtasks.failcnt"]]
        job.end(2)
        said += [job.is_refused(), box["numtasks.held"]]
        job.end()
    eventually(lambda: box["numtasks.held"] == 0, "the puppet has ended")
    return said


def _write_once(gov: Governor, box: Container, path: str) -> object:
    """Whether each job runs exactly once and says how it has ended."""
    script = 'echo "$1" >>"$2"; exit "$1"'
    jobs = [gov.spawn(["sh", "-c", script, "sh", str(n), path], containers=[box]) for n in range(6)]
    codes = [job.wait(DEADLINE).exit_code for job in jobs]
    with open(path, encoding="ascii") as file:
        return codes, sorted(file.read().split())


def _leave_orphan(gov: Governor, box: Container) -> object:
    """Whether one that has lost its parent is seen to when it ends, and is no zombie."""
    reads, writes = os.pipe()
    command = ["sh", "-c", "setsid sleep 1000 >/dev/null & echo $!"]
    job = gov.spawn(command, containers=[box], stdout=writes)
    os.close(writes)
    code = job.wait(DEADLINE).exit_code
    with open(reads, encoding="ascii") as file:
        pid = int(file.readline())
    held = box["numtasks.held"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not exists(pid), "the orphan is reaped")
    return code, held


def _burn(gov: Governor, used: Container) -> object:
    """Whether the CPU time of a job and of the children it has waited for is known."""
    children, each = 10, 3000
    command = [program("cpu_tree"), "flat", str(children), str(each)]
    with open(os.devnull, "wb") as null:
        result = gov.spawn(command, containers=[used], stdout=null).wait(DEADLINE)
    known = int(used["cpuacct.usage"])
    burnt = children * each * 1000
    return result.exit_code, known >= burnt, abs(known - result.cpu_seconds * 1e9) < 1000


EXPECTED: list[object] = [
    [list(range(6)), [str(n) for n in range(6)]],
    [0, 4],
    [0, True, True],
    *(True, 3, 1, False, 2),
]
"""What the scenario says, whoever died."""


def main(*faults: str) -> None:
    """Run it all and print the answers as JSON, then how often the step was done."""
    _mark_roles()
    for index in range(0, len(faults), 3):
        step, when, nth = faults[index : index + 3]
        _plant(index, step, when, int(nth))
    with governor.Governor(fork=True) as gov:
        said = scenario(gov)
        events = follow(gov.client, 0)[1]
        killed = [event.fields["reason"] for event in events if event.kind == "spawner-restart"]
    print(json.dumps(said))
    print(json.dumps(killed))
    print(_shared[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
