"""What a governor is used for while something goes wrong, and what has to be right all the time.

A stage is a few calls during which one protocol or two are at work. What a call is refused with
is noted and the call made again, as a user would: then it must do what it is there for. Whatever
is not as it should be is a violation.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import governor
from governor import rundir
from governor.api import Container, Governor, Job, JobResult
from governor.errors import GovernorError, ProtocolError
from tests.faults.kinds import AGENT_TIMEOUT, Stage
from tests.process.helpers import Puppet, kill_and_see
from workers import undertaker

Answer = TypeVar("Answer")

PATIENCE = 40.0
"""Seconds in which what must come about has come about."""
BOX, OTHER, OTHER_LATER, STORM = 5, 8, 6, 10
"""The limits. What the puppet made in the box stays there when it moves on."""
HEALED, TOLD, ENDED, GONE = "healed", "told", "ended", "gone"
"""Nobody noticed; a caller was told and tried again; the governor ended; the client was killed."""


class Place(NamedTuple):
    """What a story is told with: paths of a directory, of cgroups if any, and of three programs.

    ``ns`` is empty where nobody may make namespaces; ``state``: where the governor records what
    it decides, if it does; ``succeeds``: not empty when the spawner is replaced
    on the way.
    """

    scratch: str
    cgroup: str
    puppet: str
    bomb: str
    ns: str
    state: str = ""
    succeeds: str = ""


class Outcome(NamedTuple):
    """What a story came to. ``ran``: marks of the jobs that say they ran, by what was told."""

    kind: str
    told: list[str]
    violations: list[str]
    ran: list[str]
    perhaps: list[str]


class Ended(Exception):
    """The governor is no more."""


class Story:
    """Goes through all stages."""

    def __init__(self, gov: Governor, stage: Stage, place: Place) -> None:
        self._gov = gov
        self._stage = stage
        self._scratch = Path(place.scratch)
        self._cgroup = place.cgroup
        self._place = place
        self._marks = 0
        self.told: list[str] = []
        self.violations: list[str] = []
        self.ran: list[str] = []
        """Marks of jobs that ended as they should, so that they must have run."""
        self.perhaps: list[str] = []
        """Marks of those that were started, whatever became of them."""

    # -- what is common ------------------------------------------------------------

    def _is_gone(self) -> bool:
        return bool(select.select([self._gov._link.gone], [], [], 0)[0])

    def _must(self, ok: bool, what: str) -> None:
        if not ok:
            self.violations.append(what)

    @contextlib.contextmanager
    def _at(self, *protocols: str) -> Iterator[None]:
        self._stage.set(*protocols)
        try:
            yield
        finally:
            self._stage.set()

    def _try(self, what: str, act: Callable[[], Answer], repeated: int = 0) -> Answer | None:
        """Do something, once more when it is refused; None for a refusal with ``repeated``."""
        for turn in range(2):
            try:
                return act()
            except (GovernorError, TimeoutError, ProtocolError) as error:
                number = getattr(error, "errno", None) or 0
                if turn and number == repeated:
                    return None
                self.told.append(f"{what}: {errno.errorcode.get(number, repr(error))}")
                said = str(error)
            if self._settles_gone(said):
                raise Ended
        self.violations.append(f"{what}: refused again ({self.told[-1]})")
        raise Ended

    def _settles_gone(self, said: str) -> bool:
        """Whether the governor is about to be no more, after it has said that."""
        return (
            "EIO" in self.told[-1]
            and "recorded" not in said
            and bool(select.select([self._gov._link.gone], [], [], PATIENCE)[0])
        )

    def _eventually(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            if self._is_gone():
                raise Ended
            if time.monotonic() > end:
                self.violations.append(f"waited in vain until {what}")
                return
            time.sleep(0.01)

    def _command(self, script: str, *arguments: str, cgroup: str = "") -> tuple[list[str], str]:
        """A job that leaves a mark when it runs, and the mark."""
        self._marks += 1
        mark = f"m{self._marks}"
        enter = f'echo $$ >"{self._cgroup}/{cgroup}/cgroup.procs"; ' if self._cgroup else ""
        say = f"echo {mark} >>{self._scratch}/ran; "
        self.perhaps.append(mark)
        return ["sh", "-c", say + (enter if cgroup else "") + script, "sh", *arguments], mark

    def _result(self, job: Job, what: str) -> JobResult | None:
        return self._try(what, lambda: job.wait(PATIENCE))

    # -- the stages ----------------------------------------------------------------

    def tell(self) -> None:
        """Everything, from the first hierarchy to the end."""
        load = self._gov.mount("load", ["numtasks"])
        cpu = self._gov.mount("cpu", ["cpuset", "memset"])
        self.box, self.other, self.storm = (load.mkdir(name) for name in ("/box", "/o", "/storm"))
        self.gone = load.mkdir("/gone")
        self.corner = cpu.mkdir("/corner")
        self.corner["cpuset.cpus"] = str(min(os.sched_getaffinity(0)))
        self.corner["memset.mems"] = "0"
        for container, limit in ((self.box, BOX), (self.other, OTHER), (self.storm, STORM)):
            container["numtasks.limit"] = limit
        self.gone["numtasks.limit"] = 3
        with self._at("tree"):
            self._try("mkdir", lambda: load.mkdir("/new"), errno.EEXIST)
        self._fail()
        with contextlib.ExitStack() as stack:
            puppet = self._spawn(stack)
            storm = self._begin_storm()
            self._trap(puppet)
            self._attach(puppet)
            self._gather()
            self._limit(puppet)
            self._count(puppet)
            self._take_over(puppet)
            if self._place.succeeds:
                self._succeed(puppet)
            self._end()
            self._end_storm(storm)
            self._enter()
            self._rmdir()
            self._invariants()
            self._shut_down()

    def _fail(self) -> None:
        with self._at("failure"):
            job = self._try("spawn nothing", lambda: self._gov.spawn(["/nonexistent/program"]))
            result = self._result(job, "wait for nothing") if job else None
        if result is not None and result.exit_code != 127:
            self.told.append(f"nothing: exit {result.exit_code}")
            self._must(result.exit_code in (125, 137), f"nothing has ended with {result}")

    def _spawn(self, stack: contextlib.ExitStack) -> Puppet:
        """The puppet, of the second attempt perhaps."""
        for turn in range(2):
            with self._at("spawn", "place"):
                puppet = self._spawn_once(turn)
            if puppet is not None:
                return stack.enter_context(puppet)
        raise Ended

    def _spawn_once(self, turn: int) -> Puppet | None:
        jobs: list[Job] = []
        marks: list[str] = []

        def start(stdin: int, stdout: int) -> None:
            command, mark = self._command('exec "$1"', self._place.puppet, cgroup="box")
            marks.append(mark)
            places = [self.box, self.corner]
            jobs.append(self._gov.spawn(command, containers=places, stdin=stdin, stdout=stdout))

        try:
            puppet = Puppet(start)
        except (GovernorError, ProtocolError) as error:
            self.told.append(f"spawn: {_name_of(error)}")
            if self._settles_gone(str(error)):
                raise Ended from None
            self._must(turn == 0, f"spawn: refused again ({error})")
            # A job that was started nevertheless has lost its standard input.
            self._eventually(self._is_idle, "the refused puppet has ended")
            return None
        except AssertionError:
            if self._is_gone():
                raise Ended from None
            result = self._result(jobs[-1], "wait for the puppet")
            self.told.append(f"spawn: exit {result and result.exit_code}")
            self._must(turn == 0 and result is not None and result.exit_code in (125, 137), "spawn")
            return None
        self.ran.append(marks[-1])
        return puppet

    def _is_idle(self) -> bool:
        """Whether no job runs or is about to."""
        jobs = self._try("jobs", self._gov.jobs) or []
        return all(job.exit_code is not None for job in jobs) and not self._tasks(self.box)

    def _tasks(self, container: Container) -> list[int]:
        return self._try("tasks", lambda: container.tasks) or []

    def _begin_storm(self) -> Job | None:
        """Forks all the time, at its limit."""
        command, mark = self._command(
            'exec "$1" 4 0 >"$2"', self._place.bomb, f"{self._scratch}/storm", cgroup="storm"
        )
        job = self._try("storm", lambda: self._gov.spawn(command, containers=[self.storm]))
        self.ran.append(mark)
        return job

    def _do(self, act: Callable[[], Answer]) -> Answer:
        """Something that a puppet does, which ends with the governor at the latest."""
        try:
            return act()
        except (AssertionError, OSError):
            self._gov_must_be_gone()
            raise Ended from None

    def _gov_must_be_gone(self) -> None:
        if not select.select([self._gov._link.gone], [], [], PATIENCE)[0]:
            self.violations.append("a job has ended before its time")

    def _fill(self, puppet: Puppet, room: int, what: str) -> None:
        """There is room for exactly so many."""
        found = 0
        while found < room + 3 and not self._do(puppet.is_refused):
            found += 1
        self._must(found == room, f"{what}: {found} tasks were let through, not {room}")

    def _trap(self, puppet: Puppet) -> None:
        with self._at("trap"):
            self._fill(puppet, BOX - 1, "filling")
            self._do(puppet.is_refused)
            time.sleep(0.15)  # until what was met is told of
            self._try("held", lambda: self.box["numtasks.held"])
        self._must(self._do(puppet.is_refused), "filled, and not refused")

    def _attach(self, puppet: Puppet) -> None:
        with self._at("attach"):
            self._try("attach", lambda: self.other.attach(puppet.pid))
        # The puppet alone has moved; what it made before has not.
        self._fill(puppet, OTHER - 1, "in another container")
        self._do(lambda: puppet.end(3))

    def _gather(self) -> None:
        """What the puppet has left behind goes elsewhere as a whole, and comes back."""
        left = self._tasks(self.box)
        new = Container(self._gov.client, self.box.hierarchy, "/new")
        with self._at("gather"):
            self._try("gather", lambda: new.attach_all(self.box))
        self._must(self._tasks(self.box) == [], "some have stayed behind")
        self._must(self._tasks(new) == left, "some are nowhere")
        self._try("gather again", lambda: self.box.attach_all(new))

    def _limit(self, puppet: Puppet) -> None:
        with self._at("limit"):
            self._set(OTHER_LATER)
        self._fill(puppet, OTHER_LATER - (OTHER - 3), "with a lower limit")

    def _set(self, limit: int) -> None:
        def write() -> None:
            self.other["numtasks.limit"] = limit

        self._try("limit", write)

    def _count(self, puppet: Puppet) -> None:
        with self._at("count"):
            held = self._try("count", lambda: self.other["numtasks.held"])
        self._must(held == OTHER_LATER, f"{held} are held, not {OTHER_LATER}")

    def _take_over(self, puppet: Puppet) -> None:
        with self._at("takeover"):
            agent = agent_below(self._gov.pid)
            if agent:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(agent, 9)
            self._must(self._do(puppet.is_refused), "not refused by a new agent")
            held = self._try("count later", lambda: self.other["numtasks.held"])
        self._must(held == OTHER_LATER, f"{held} are held later, not {OTHER_LATER}")

    def _succeed(self, puppet: Puppet) -> None:
        """Another spawner goes on, which the next job is started by."""
        command, mark = self._command("(exit 3); exit 9")
        with self._at("succession"):
            kill_and_see([self._spawner()])
            job = self._try("spawn later", lambda: self._gov.spawn(command))
            result = self._result(job, "wait later") if job else None
            self._must(self._do(puppet.is_refused), "not refused after a succession")
        self._must(result is not None and result.exit_code == 9, f"exit 9 is {result}")
        self.ran.append(mark)

    def _spawner(self) -> int:
        for pid in _children(self._gov.pid):
            with contextlib.suppress(OSError):
                if b"spawner.main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return self._stage.spawner

    def _end(self) -> None:
        command, mark = self._command("read _; (exit 3); exit 7")
        until, stage = os.pipe()
        with open(until, "rb") as stdin, open(stage, "wb") as set_stage:
            job = self._try(
                "spawn another",
                lambda: self._gov.spawn(command, containers=[self.gone], stdin=stdin),
            )
            if job is None:
                return
            with self._at("end"):
                set_stage.close()  # it does not end before that is known
                result = self._result(job, "wait")
        self._must(result is not None and result.exit_code == 7, f"exit 7 is {result}")
        self.ran.append(mark)

    def _end_storm(self, storm: Job | None) -> None:
        result = self._result(storm, "wait for the storm") if storm else None
        self._must(result is not None and result.exit_code == 0, f"the storm is {result}")
        said = (self._scratch / "storm").read_text().split()
        self._must(len(said) == 3 and said[2] == "0", f"the storm says {said}")
        failcnt = self._try("failcnt", lambda: self.storm["numtasks.failcnt"])
        self._must(said[1:2] == [str(failcnt)], f"failcnt is {failcnt}, the storm says {said}")

    def _enter(self) -> None:
        """A process enters other namespaces, and so a container of its own."""
        if not self._place.ns:
            return
        box = self._gov.mount("servers", ["ns"]).mkdir("/box")
        command, mark = self._command('exec "$1"', self._place.ns)

        def start(stdin: int, stdout: int) -> None:
            self._gov.spawn(command, containers=[box], stdin=stdin, stdout=stdout)

        with self._do(lambda: Puppet(start)) as puppet, self._at("enter"):
            error, _ = self._do(lambda: puppet.do("u"))
            self._must(not error, f"unshare fails with {error}")
            self._eventually(
                lambda: [puppet.pid in self._tasks(child) for child in box.children] == [True],
                "it has a container of its own",
            )
            self._do(lambda: puppet.do("f"))  # the call before this one is over by now
            self._try("report", self._gov.containers)
        self.ran.append(mark)

    def _rmdir(self) -> None:
        self._eventually(lambda: not self._tasks(self.gone), "a job has ended")
        with self._at("rmdir"):
            self._try("rmdir", self.gone.rmdir, errno.ENOENT)

    def _invariants(self) -> None:
        """What is held is what the kernel shows, in every container and in all together."""
        for container in (self.box, self.other, self.storm):
            tasks = self._tasks(container)
            held = self._try("held", lambda c=container: c["numtasks.held"])  # type: ignore[misc]
            self._must(held == len(tasks), f"{container.path}: {held} held, tasks {tasks}")
        reports = self._try("report", self._gov.containers) or []
        paths = sorted(report.path for report in reports if report.hierarchy == "load")
        self._must(paths == ["/", "/box", "/new", "/o", "/storm"], f"containers {paths}")
        corner = self._tasks(self.corner)
        members = {pid for c in (self.box, self.other, self.storm) for pid in self._tasks(c)}
        self._must(set(corner) <= members, f"{corner} are in one hierarchy, {members} in the other")

    def _shut_down(self) -> None:
        with self._at("shutdown"):
            try:
                self._gov.shutdown()
            except (GovernorError, ProtocolError) as error:
                self.told.append(f"shutdown: {_name_of(error)}")
            self._gov.close()


def _start(place: Place, fork: bool) -> Governor:
    """A governor, the next one with this state if there is one."""
    if not place.state:
        return governor.Governor(fork=fork, agent_timeout=AGENT_TIMEOUT)
    directory = os.path.join(place.scratch, "runtime", "g")
    lock = rundir.claim(directory, place.state)
    try:
        gov = governor.Governor(
            fork=fork,
            agent_timeout=AGENT_TIMEOUT,
            directory=directory,
            lock=lock if fork else None,
            state=place.state,
        )
        rundir.record(directory, gov.pid, gov.nonce)
    finally:
        os.close(lock)
    return gov


def _differences(gov: Governor) -> list[str]:
    """What a governor that goes on with a state does not have as it was."""
    load = gov.hierarchy("load")
    wanted = {"/box": (BOX,), "/o": (OTHER, OTHER_LATER), "/storm": (STORM,)}
    wrong = []
    for path, limits in wanted.items():
        container = load[path]
        limit, held = container["numtasks.limit"], container["numtasks.held"]
        if limit not in limits:
            wrong.append(f"afterwards, the limit of {path} is {limit}")
        if held != len(container.tasks):
            wrong.append(f"afterwards, {held} are held in {path}, tasks {container.tasks}")
    return wrong


def agent_below(pid: int) -> int:
    """The agent among the descendants of a supervisor; waits for one, 0 when there is none."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for child in _descendants(pid):
            with contextlib.suppress(OSError):
                if "/memfd:governor-estate" in Path(f"/proc/{child}/maps").read_text():
                    return child
        time.sleep(0.01)
    return 0


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return sorted(undertaker.children(pid))
    return []


def _name_of(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, "?") if number else repr(error)


def tell(stage: Stage, place: Place) -> Outcome:
    """One story in a governor of its own."""
    with _start(place, fork=True) as gov:
        story = Story(gov, stage, place)
        try:
            story.tell()
            kind = TOLD if story.told else HEALED
        except Ended:
            kind = ENDED
        finally:
            stage.set()
    if place.state:
        with _start(place, fork=False) as successor:
            story.violations += _differences(successor)
    return Outcome(kind, story.told, story.violations, story.ran, story.perhaps)
