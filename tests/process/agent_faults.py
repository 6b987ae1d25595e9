"""Runs one scenario under a governor whose agents are killed at a named step; prints what it saw.

    python -m tests.process.agent_faults SCENARIO {STEP WHEN NTH} ...

WHEN is before or after the NTH time that any agent does the STEP; NTH 0: nobody is killed. Where it
is busy, the agent does nothing else for ever; where it is fails, the STEP does so NTH times. The
last line says how often the first step was done. The governor is a fork of this process, and so
are its agents: that is how they come to have the faults.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import signal
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import governor
from governor.api import Governor
from governor.supervisor import agent_process
from governor.transport import Peer
from governor.wire.spawner import Started
from tests.process.helpers import Puppet, children, eventually, program, puppet, run_job
from workers import (
    agent,
    channel,
    docket,
    listener,
    membership,
    seccomp,
    spawner,
    succession,
    switchboard,
)
from workers import moves as moving
from workers.accounts import Accounts
from workers.confinement import Confinement
from workers.entries import Entries
from workers.estate import Estate, KeptCounter

STEPS: dict[str, tuple[Any, str]] = {
    "receive": (listener, "ioctl"),
    "wait for calls": (seccomp, "waiting_receive"),
    "answer": (listener, "ioctl"),
    "note charge": (Estate, "charging"),
    "look closely": (listener.Listener, "_look_closer"),
    "keep": (Estate, "add"),
    "forget": (Estate, "free"),
    "note refusal": (Estate, "refusing"),
    "count refusal": (KeptCounter, "refuse"),
    "close refusal": (Estate, "refused"),
    "recount": (Accounts, "recount"),
    "plan": (agent.Agent, "_set_plan"),
    "place": (agent.Agent, "_place"),
    "listen": (switchboard.Switchboard, "listen"),
    "tag": (membership, "write"),
    "move": (agent.Agent, "_move"),
    "go on": (moving.Moves, "again"),
    "count": (agent.Agent, "_count"),
    "tell": (Peer, "send"),
    "tell of hits": (agent.Agent, "_tell_of"),
    "confine": (Confinement, "confine"),
    "adopt": (agent.Agent, "_adopt"),
    "take over": (agent.Agent, "_resume"),
    "reserve": (succession.Succession, "_reserve"),
    "look again": (listener.Listener, "again"),
    "consider": (docket.Docket, "consider"),
    "begin entry": (Entries, "begin"),
    "allow entry": (Entries, "allow"),
}
"""What agents do, where a fault can be."""

_CODES = {"receive": seccomp.RECV, "answer": seccomp.SEND}
_done = memoryview(mmap.mmap(-1, 4096)).cast("q")
_is_agent = False


def _plant(index: int, step: str, when: str, nth: int) -> None:
    place, name = STEPS[step]
    original = getattr(place, name)
    if step == "wait for calls":
        # It is made once for each listener, and done without looking it up again.
        make = original

        def made(*arguments: Any) -> Any:
            wait, *rest = make(*arguments)
            return _faulty(index, step, when, nth, wait), *rest

        setattr(place, name, made)
    else:
        setattr(place, name, _faulty(index, step, when, nth, original))


def _faulty(index: int, step: str, when: str, nth: int, original: Callable[..., Any]) -> Any:
    """The same, but that the agent dies in it."""

    def faulty(*arguments: Any, **keys: Any) -> Any:
        if not _is_agent or (step in _CODES and arguments[1] != _CODES[step]):
            return original(*arguments, **keys)
        count = _done[index] = _done[index] + 1
        if count == nth and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        while count == nth and when == "busy":
            pass
        try:
            return original(*arguments, **keys)
        finally:
            if count == nth:
                os.kill(os.getpid(), signal.SIGKILL)

    return faulty


def _fork_fails(nth: int) -> None:
    """The spawner cannot fork the second agent, nor the next."""
    original = spawner.Spawner._start

    def start(self: spawner.Spawner, job: int, become: Callable[[], None]) -> None:
        if not job:
            _done[0] += 1
            if 1 < _done[0] <= 1 + nth:
                channel.send(self._end, Started(0, 0, errno.EAGAIN))
                return
        original(self, job, become)

    setattr(spawner.Spawner, "_start", start)  # noqa: B010 - mypy lets no method be assigned


def _no_descriptors(nth: int) -> None:
    """The supervisor has no descriptor left for the second agent, nor for the next."""

    def pair() -> Any:
        _done[0] += 1
        if 1 < _done[0] <= 1 + nth:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return channel.pair()

    setattr(agent_process, "channel", SimpleNamespace(**vars(channel) | {"pair": pair}))  # noqa: B010


FAILURES = {"fork agent": _fork_fails, "descriptors": _no_descriptors}
"""What fails around agents."""


def _mark_agents() -> None:
    serve = agent.Agent.serve

    def marked(self: agent.Agent) -> None:
        global _is_agent
        _is_agent = True
        serve(self)

    setattr(agent.Agent, "serve", marked)  # noqa: B010 - mypy lets no method be assigned


def tasks(gov: Governor) -> object:
    """Forks up to a limit, refusals, a new limit, a move, another job."""
    load = gov.mount("load", ["numtasks", "numfiles"])
    cpus = gov.mount("cpu", ["cpuset"])
    box, other = load.mkdir("/box"), load.mkdir("/other")
    box["numtasks.limit"] = 5
    other["numtasks.limit"] = 20
    corner = cpus.mkdir("/corner")
    corner["cpuset.cpus"] = str(min(os.sched_getaffinity(0)))
    path = program("tasks_puppet")
    said: list[object] = []
    jobs = []

    def start(stdin: int, stdout: int) -> None:
        jobs.append(gov.spawn([path], containers=[box, corner], stdin=stdin, stdout=stdout))

    with Puppet(start) as puppet:
        children = [puppet.make(how) for how in "fvs"] + [puppet.make("t")]
        said += [box["numtasks.held"], puppet.is_refused(), puppet.is_refused("t")]
        said.append({len(os.sched_getaffinity(pid)) for pid in children if pid} == {1})
        box["numtasks.limit"] = 6
        said += [puppet.is_refused(), puppet.is_refused(), box["numtasks.held"]]
        puppet.end(3)
        other.attach(puppet.pid)
        said += [puppet.is_refused(), other["numtasks.held"], box["numtasks.held"]]
        result, output = run_job(gov, ["sh", "-c", "(echo said); exit 3"], [other])
        said += [result.exit_code, output]
        said += [box["numtasks.failcnt"], box["numtasks.maxheld"], other["numtasks.failcnt"]]
    result = jobs[0].wait(60)
    said += [result.exit_code, [(*row[:2], row.times) for row in result.refusals]]
    said.append([box["numtasks.held"], other["numtasks.held"]])
    said += [report.level for report in gov.containers() if report.path == "/box"]
    return said


def moves(gov: Governor) -> object:
    """A family moves to and fro, as a whole and with limits that have room for it or not."""
    load = gov.mount("load", ["numtasks"])
    corner = gov.mount("cpu", ["cpuset"]).mkdir("/corner")
    corner["cpuset.cpus"] = str(min(os.sched_getaffinity(0)))
    box, other = load.mkdir("/box"), load.mkdir("/other")
    other["numtasks.limit"] = 10
    with puppet(gov, box) as job:
        pids = [job.pid, *job.fill(9)]
        said: list[object] = [other.attach_all(box, within_limits=True)]
        said += [box["numtasks.held"], other["numtasks.held"], job.is_refused()]
        box.attach(*pids[:5])
        said += [box["numtasks.held"], other["numtasks.held"], job.is_refused()]
        corner.attach(*pids)
        said.append([len(os.sched_getaffinity(pid)) for pid in pids])
        job.make()
        try:
            other.attach_all(box, within_limits=True)
        except governor.GovernorError as error:
            said.append(errno.errorcode[error.errno])
        said += [box.tasks == sorted([*pids[:5], *job_children(job)]), len(other.tasks)]
    return said


def job_children(job: Puppet) -> list[int]:
    """The newest child of a puppet."""
    return children(job.pid)[-1:]


def rate(gov: Governor) -> object:
    """A rate admits so many forks, and no fewer."""
    load = gov.mount("load", ["numtasks"])
    box = load.mkdir("/box")
    load.root["numtasks.forkrate_interval"] = 3600
    load.root["numtasks.forkrate"] = 6
    with puppet(gov, box) as job:
        made = 0
        while not job.is_refused():
            made += 1
        said: list[object] = [made, box["numtasks.held"], job.is_refused()]
        box["numtasks.limit"] = 20
        load.root["numtasks.forkrate"] = 9
        made = 0
        while not job.is_refused():
            made += 1
        return [*said, made]


def streak(gov: Governor) -> object:
    """So many calls of one job alone that the agent waits in its listener."""
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"] = 4
    with puppet(gov, box) as job:
        job.fill(2)
        said: list[object] = [job.do("r")[0], box["numtasks.held"], job.do("r")[0]]
        job.make()
        said += [job.is_refused(), box["numtasks.held"], box["numtasks.failcnt"]]
    return said


def namespaces(gov: Governor) -> object:
    """A child and then its parent in namespaces of their own."""
    servers = gov.mount("servers", ["ns", "numtasks"])
    box = servers.mkdir("/box")
    path = program("ns_puppet")
    with Puppet(lambda i, o: gov.spawn([path], containers=[box], stdin=i, stdout=o)) as puppet:
        child = puppet.make("c")
        said: list[object] = []

        def places() -> list[tuple[bool, bool]]:
            with contextlib.suppress(governor.GovernorError):  # one that is being removed
                return [(child in c.tasks, puppet.pid in c.tasks) for c in box.children]
            return []

        eventually(lambda: places() == [(True, False)], "the child has a container of its own")
        said.append(sorted(box.tasks) == [puppet.pid])
        said.append(puppet.do("u"))
        wanted = [(False, True), (True, False)]
        eventually(lambda: sorted(places()) == wanted, "the caller has one")
        said.append(box.tasks)
    return said


SCENARIOS: dict[str, Callable[[Governor], object]] = {
    "tasks": tasks,
    "moves": moves,
    "rate": rate,
    "streak": streak,
    "namespaces": namespaces,
}


def main(scenario: str, *faults: str) -> None:
    """Run it all and print the answers as JSON, then how often the step was done."""
    _mark_agents()
    for index in range(0, len(faults), 3):
        step, when, nth = faults[index : index + 3]
        if step in FAILURES:
            FAILURES[step](int(nth))
        else:
            _plant(index, step, when, int(nth))
    with governor.Governor(fork=True, agent_timeout=1.0 if "busy" in faults else None) as gov:
        said = SCENARIOS[scenario](gov)
    print(json.dumps(said))
    print(_done[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
