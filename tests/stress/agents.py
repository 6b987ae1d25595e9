"""Agents die all the time, under a fork bomb and openers at their limits: nobody can tell.

Run as ``python -m tests.stress.agents SECONDS``; prints a line.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time

import governor
from governor.api import Container, Governor, Job
from tests.process.helpers import DEADLINE, KernelPids, kernel_pids, program

TASKS, FILES = 24, 12
_OPENER = """
import errno, os, sys, time
end = time.monotonic() + float(sys.argv[1])
files, opened, refused, turn = [], 0, 0, 0
while time.monotonic() < end:
    try:
        files.append(os.open("/dev/null", os.O_RDONLY))
        opened += 1
    except OSError as error:
        assert error.errno == errno.EMFILE, error
        refused += 1
        while files:
            os.close(files.pop())
os.write(1, b"%d %d" % (opened, refused))
"""


def storm(seconds: float, seed: int = 1) -> int:
    """Kill the agent every 50 to 200 ms; how many took over. Fails when anybody can tell."""
    with governor.Governor() as gov:
        root = gov.mount("load", ["numtasks", "numfiles"]).root
        bombs, openers = root.mkdir("bombs"), root.mkdir("openers")
        bombs["numtasks.limit"], openers["numfiles.limit"] = TASKS, FILES
        counted = kernel_pids() if os.geteuid() == 0 else contextlib.nullcontext()
        with counted as kernel:
            bomb = _start(gov, bombs, [program("tasks_bomb"), "1000000", "0"], kernel)
            opener = _start(gov, openers, [sys.executable, "-S", "-c", _OPENER, str(seconds)])
            ones = _kill_agents(gov, root, seconds, random.Random(seed))
            assert opener[0].wait(DEADLINE).exit_code == 0
            opened, refused = map(int, _said(opener).split())
            assert opened > 0
            assert refused == openers["numfiles.failcnt"], (refused, openers["numfiles.failcnt"])
            assert kernel is None or kernel.peak <= TASKS
            assert int(bombs["numtasks.failcnt"]) > 0
            assert int(bombs["numtasks.maxheld"]) <= TASKS
            bomb[0].kill()
            bomb[0].wait(DEADLINE)
            _said(bomb)
        assert ones == sorted(ones) == list(range(len(ones))), ones
        return gov.status().agent_restarts


def _start(
    gov: Governor, box: Container, command: list[str], kernel: KernelPids | None = None
) -> tuple[Job, int]:
    reads, writes = os.pipe()
    command = command if kernel is None else kernel.inside(command)
    job = gov.spawn(command, containers=[box], stdout=writes)
    os.close(writes)
    return job, reads


def _said(started: tuple[Job, int]) -> bytes:
    with open(started[1], "rb") as output:
        return output.read()


def _kill_agents(
    gov: Governor, box: Container, seconds: float, moments: random.Random
) -> list[int]:
    """What jobs say that run once each meanwhile: their numbers, each once."""
    from tests.process.test_takeover import agent

    reads, writes = os.pipe()
    end, number, jobs = time.monotonic() + seconds, 0, []
    while time.monotonic() < end:
        time.sleep(moments.uniform(0.05, 0.2))
        os.kill(agent(gov), signal.SIGKILL)
        if number < 200:
            jobs.append(
                gov.spawn(["sh", "-c", f"(echo {number})"], containers=[box], stdout=writes)
            )
            jobs[-1].wait(DEADLINE)
            number += 1
    os.close(writes)
    with open(reads) as output:
        said = [int(line) for line in output]
    assert [job.wait(DEADLINE).exit_code for job in jobs] == [0] * number
    return said


if __name__ == "__main__":
    wanted = float(sys.argv[1])
    print(f"{storm(wanted)} agents took over in {wanted:.0f} s, and nobody could tell")
