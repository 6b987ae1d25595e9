"""A real supervisor whose agent, spawner and processes are of paper, so that nothing is harmed.

Requests, handlers, policy, trees and jobs are the ones that run in a governor. What is replaced
is ZeroMQ, the agent's answers, and the list of governed processes. Nothing is ever forked.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from governor.core.forest import Forest
from governor.errors import GovernorError, ProtocolError
from governor.supervisor import policy, server
from governor.supervisor.agent import AgentLink
from governor.supervisor.spawner_link import SpawnerLink
from governor.supervisor.terms import Terms
from governor.transport import STDIO
from governor.wire import agent as agent_wire
from governor.wire import client as wire
from governor.wire.codec import Catalogue, Message, encode
from governor.wire.spawner import TO_SPAWNER, Buried, Reaped, Started, StartWorker
from workers import channel, cpu, membership
from workers.estate import _REFUSALS
from workers.membership import Tag

NOBODY = 2**24
"""Paper processes have pids above all that a kernel gives (PID_MAX_LIMIT is 2**22)."""
OUTSIDE = range(NOBODY - 4, NOBODY)
"""Processes that nobody governs yet."""
NONCE = 7
PEER = b"peer"
_FAILED = re.compile(r"^governor: \w+\(\) of .* failed:", re.MULTILINE)


class Failure(Exception):
    """The supervisor did what it must not do, whatever it was sent."""


class PaperServer:
    """A `transport.Server` that hears frames from a queue."""

    def __init__(self, path: str, catalogue: Catalogue, *_: object, **__: object) -> None:
        self.path = path
        self._catalogue = catalogue
        self.socket, self.monitor = os.pipe()
        self.inbox: deque[bytes] = deque()
        self.sent = 0
        self.last: Message = None
        self.failed: list[str] = []

    def receive(self) -> tuple[bytes, Message] | None:
        """As that of a real one."""
        if not self.inbox:
            return None
        try:
            return PEER, self._catalogue.decode(self.inbox.popleft())
        except ProtocolError as error:
            error.peer = PEER
            raise

    def send(self, peer: bytes, message: Message) -> bool:
        """Encode it, as a real one would; only the last message is kept."""
        encode(message)
        self.last = message
        self.sent += 1
        if isinstance(message, wire.Failure) and message.message.startswith("governor has failed"):
            self.failed.append(message.message)
        return True

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self.socket)
        os.close(self.monitor)


class PaperAgent(AgentLink):
    """Knows what it is told, and answers every question as an agent without processes would."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.placing: deque[agent_wire.Place] = deque()
        self.processes: dict[int, Tag | None] = dict.fromkeys(OUTSIDE)

    def _connect(self) -> bool:
        self._peer = PEER
        return False

    def _send(self, message: Message) -> None:
        encode(message)
        if isinstance(message, agent_wire.Place):
            self.placing.append(message)

    def _ask_this_one(self, message: Message) -> Any:
        self._send(message)
        self._say()
        if isinstance(message, agent_wire.Move):
            tag = self.processes.get(message.pid)
            job = tag.job if tag else message.job
            self.processes[message.pid] = Tag(NONCE, job, message.group)
            return agent_wire.Moved(message.request, 0, 1, 1)
        if isinstance(message, agent_wire.CountSome):
            rows = [[id, 1, 0, 2, 3, 4] for id in message.counters]
            return agent_wire.Figures(message.request, rows, [], [])
        if isinstance(message, agent_wire.Count):
            figures = [[id, 1, 0, 2, 3, 4] for id in self.counters]
            rows = [
                [pid, 1, 1, tag.group, message.request, 0, 0, 0, message.request // 2]
                for pid, tag in self.processes.items()
                if tag is not None
            ]
            return agent_wire.Figures(message.request, figures, rows, [])
        return agent_wire.Pong(message.request)

    def catch_up(self) -> None:
        """Say of each worker that it has been placed."""
        while self.placing:
            placed = self.placing.popleft()
            if placed.pid in self.processes:
                self.processes[placed.pid] = Tag(NONCE, placed.job, placed.group)
            self._unasked(agent_wire.Placed(placed.job, 0, 0, 1, 1))
        self._say()

    def _say(self) -> None:
        """What it was fed, which may be while it is asked something."""
        while self._server.inbox and (message := self._next()) is not None:  # type: ignore[attr-defined]
            if isinstance(message, agent_wire.Resumed):
                self.taken_over("is another one", message)
            else:
                self._unasked(message)

    def refuse(self, times: int) -> None:
        """So many calls were refused until now, whoever has been told."""
        word = times.to_bytes(8, sys.byteorder, signed=True)
        os.pwrite(self.process._estate, word, _REFUSALS * len(word))


class PaperDoors:
    """Always open."""

    def __init__(self, _: object) -> None:
        pass

    def tend(self, ready: set[object]) -> None:
        """There is nothing to do."""


def _no_other() -> tuple[int, socket.socket]:
    raise OSError("this spawner does not die")


class PaperSupervisor:
    """One supervisor; ``feed`` it, and `Failure` tells what was wrong."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="gov")
        self._end, self._spawner = channel.pair()
        self._owner, self._ours = socket.socketpair()
        self._signals = socket.socketpair()
        with (
            mock.patch.object(server, "Server", PaperServer),
            mock.patch.object(server, "AgentLink", PaperAgent),
            mock.patch.object(server, "Doors", PaperDoors),
            mock.patch.object(server, "_signals", return_value=self._signals[0]),
        ):
            link = SpawnerLink(os.getpid(), self._end, NONCE, _no_other, 10.0)
            terms = Terms(self.directory, NONCE, 10.0, None, "")
            self.real: Any = server.Supervisor(terms, link, self._owner)
        agent: Any = self.real._agent
        self.processes: dict[int, Tag | None] = agent.processes
        self._jobs: dict[int, int] = {}
        self._ended: list[tuple[int, int]] = []
        self._reports: dict[int, socket.socket] = {}
        self._patches = contextlib.ExitStack()
        for place, name, ours in (
            (membership, "scan", lambda nonce: self.members),
            (membership, "read", self._tag),
            (policy, "living", lambda task: task if task in self.processes else None),
            (os, "kill", self._kill),
            (cpu, "sample", lambda pid: None),
        ):
            self._patches.enter_context(mock.patch.object(place, name, ours))

    # -- the processes -------------------------------------------------------------

    @property
    def members(self) -> dict[int, Tag]:
        """Those that are governed."""
        return {pid: tag for pid, tag in self.processes.items() if tag is not None}

    def _tag(self, pid: int) -> Tag | None:
        if pid not in self.processes:
            raise ProcessLookupError
        return self.processes[pid]

    def _kill(self, pid: int, number: int) -> None:
        """Instead of kill(2): no real process is ever sent a signal."""
        if not -(2**31) <= pid < 2**31:
            raise OverflowError
        if pid not in self.processes:
            raise ProcessLookupError
        if number in (9, 15):
            self._ended.append((pid, number))

    def _bury(self, pid: int, status: int) -> None:
        """The spawner reaps a process, if it was there."""
        tag = self.processes.pop(pid, None)
        job = self._jobs.pop(pid, 0)
        if pid in self._reports:
            self._reports.pop(pid).close()
        if tag is not None or job:
            group = tag.group if tag else 0
            channel.send(self._spawner, Reaped(pid, tag.job if tag else 0, group, status, 9, 1))
            channel.send(self._spawner, Buried(pid))

    @property
    def forest(self) -> Forest:
        """The trees."""
        forest: Forest = self.real._policy.forest
        return forest

    @property
    def running(self) -> bool:
        """Whether nobody has asked it to end."""
        return bool(self.real._running)

    # -- feeding -------------------------------------------------------------------

    def feed(self, where: str, frame: bytes) -> None:
        """Send bytes to one of its sockets and let it work on them."""
        {
            "clients": self.real._clients.inbox.append,
            "desk": self._leave,
            "report": self._report,
            "spawner": self._end_one,
            "agent": self._say,
        }[where](frame)
        with contextlib.redirect_stderr(io.StringIO()) as said:
            ready = self.real._poller.poll(0)
            self.real._tick(ready)
            self.real._turn(ready)
            self._work()
        failed = self.real._clients.failed
        if failed or _FAILED.search(said.getvalue()):
            raise Failure(f"{failed} {said.getvalue()}")

    def ask(self, request: Callable[[int], Message]) -> Any:
        """The answer to a request, as a client gets it. Raises the GovernorError of a refusal."""
        self.feed("clients", encode(request(1)))
        answer = self.real._clients.last
        if isinstance(answer, wire.Failure):
            raise GovernorError(answer.errno, answer.message)
        return answer.value

    def _leave(self, frame: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as desk:
            desk.connect(os.path.join(self.directory, STDIO))
            socket.send_fds(desk, [frame[:60_000]], [0, 1, 2][: 3 - (len(frame) > 40)])

    def _report(self, frame: bytes) -> None:
        """What the worker says that was started last."""
        if self._reports:
            worker = self._reports[max(self._reports)]
            with contextlib.suppress(OSError):
                socket.send_fds(
                    worker, [frame[:60_000]], [0] * (len(frame) % 3 if len(frame) > 40 else 0)
                )

    def _say(self, frame: bytes) -> None:
        """The agent says something, and may have refused more than it tells."""
        self.real._agent.refuse(sum(frame) % 4)
        self.real._agents.inbox.append(frame)

    def _end_one(self, frame: bytes) -> None:
        """One of the processes ends."""
        if self.processes:
            pid = sorted(self.processes)[sum(frame) % len(self.processes)]
            self._ended.append((pid, sum(frame) % 100 * 256))

    def _work(self) -> None:
        """Be the spawner: say that workers were forked, which report at once."""
        for pid, status in self._ended:
            self._bury(pid, status)
        self._ended.clear()
        self._spawner.setblocking(False)
        while True:
            try:
                received = channel.receive(self._spawner, TO_SPAWNER)
            except BlockingIOError:
                return
            assert received is not None
            message, descriptors = received
            if isinstance(message, StartWorker) and message.job in self.real._jobs.by_id:
                self._start(message.job, socket.socket(fileno=descriptors.pop()))
            for descriptor in descriptors:
                os.close(descriptor)

    def _start(self, job: int, report: socket.socket) -> None:
        pid = NOBODY + job
        self._reports[pid] = report
        self._jobs[pid] = job
        self.processes[pid] = None
        channel.send(self._spawner, Started(job, pid, 0))

    # -- looking -------------------------------------------------------------------

    def check(self) -> None:
        """What holds whatever was done. Raises `Failure`."""
        forest = self.forest
        below: dict[int, set[int]] = {}
        trees = [list(h.containers()) for h in forest.hierarchies.values()]
        there = {id(container) for tree in trees for container in tree}
        for group in forest.groups:
            if len(group.containers) != len(forest.hierarchies):
                raise Failure(f"{group} is not in every hierarchy")
            for container in group.containers:
                for node in container.ancestors():
                    below.setdefault(id(node), set()).add(group.id)
                if id(container) not in there:
                    raise Failure(f"{group} is in a container that was removed")
        for tree in trees:
            for container in tree:
                if container.groups.keys() != below.get(id(container), set()):
                    raise Failure(f"{container} has groups {list(container.groups)}")
        jobs = self.real._jobs
        if not jobs._running.keys() <= jobs.by_id.keys():
            raise Failure("a job runs that nobody knows")
        if self.real._ends._unsettled:
            raise Failure("a job has ended and got no result")

    def close(self) -> None:
        """Leave nothing."""
        real = self.real
        self._patches.close()
        for report in self._reports.values():
            report.close()
        for job in real._jobs.by_id.values():
            real._progress.close_report(job)
        real._desk.close()
        real._agent.process.close()
        for server_ in (real._clients, real._agents):
            server_.close()
        for end in (self._end, self._spawner, self._owner, self._ours, *self._signals):
            end.close()
        shutil.rmtree(self.directory)


@contextlib.contextmanager
def paper_supervisor() -> Iterator[PaperSupervisor]:
    """One that is closed afterwards."""
    paper = PaperSupervisor()
    try:
        yield paper
    finally:
        paper.close()


def on_files_of(packages: tuple[str, ...], seen: set[tuple[str, int]]) -> Callable[..., Any]:
    """A function for sys.settrace that adds the lines to ``seen`` that run in these packages.

    A function of which every line has been seen is not looked at any more.
    """
    left: dict[Any, set[int]] = {}

    def local(frame: Any, event: str, _: object) -> Any:
        if event == "line":
            missing = left[frame.f_code]
            if frame.f_lineno in missing:
                missing.discard(frame.f_lineno)
                seen.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def start(frame: Any, event: str, _: object) -> Any:
        code = frame.f_code
        if code not in left:
            ours = code.co_filename.startswith(packages)
            lines = {n for *_, n in code.co_lines() if n} - {code.co_firstlineno}
            left[code] = lines if ours else set()
        return local if left[code] else None

    return start


assert sys.platform == "linux"
