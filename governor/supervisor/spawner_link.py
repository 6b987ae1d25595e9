"""The spawner, whichever process that is: what it is asked for, what it reports, its succession.

The supervisor is the spawner's parent and a subreaper itself: what the spawner has forked
becomes a child of the supervisor when the spawner dies, and is reaped here.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn

from governor.errors import GovernorError
from governor.supervisor.heartbeat import Heartbeat
from governor.supervisor.spawner_requests import Request, Requests
from governor.wire.codec import Message
from governor.wire.spawner import (
    FROM_SPAWNER,
    Alive,
    Buried,
    Drop,
    Keep,
    Probe,
    Quit,
    Reaped,
    Recorded,
    StartAgent,
    Started,
    StartWorker,
    UserTime,
)
from workers import channel
from workers.spawner import await_end, end_all, kill
from workers.undertaker import Undertaker

if TYPE_CHECKING:
    from governor.supervisor.strangers import Strangers

DEATHS = 5
DEATHS_SECONDS = 10.0
"""So many deaths in so many seconds are too many to go on."""
_FRESH_SECONDS = 10.0
"""In which a fresh interpreter answers for the first time, however little patience there is."""
_FORK_AGAIN = 0.1
_FORKS = 50
"""How often, and with which pause in seconds, starting one is tried while that fails."""
_LOOK = 0.05
"""Seconds between two looks whether adopted children have ended, while something is awaited."""

Restart = Callable[[], tuple[int, socket.socket]]
"""Starts another spawner: its pid and the end of a channel to it. Raises OSError."""


class SpawnerLink:
    """Process ``pid`` at the other side of ``end``, or the one that has taken its place.

    A spawner that is silent for ``timeout`` seconds is killed; one that has died is replaced by
    ``restart``. Until they are answered, requests are kept, to be made again of the next one.
    """

    def __init__(
        self,
        pid: int,
        end: socket.socket,
        nonce: int,
        restart: Restart,
        timeout: float,
        lasting: bool = False,
    ) -> None:
        """``lasting``: the spawner goes on when this process dies."""
        self.pid = pid
        self._end = end
        self._end.settimeout(timeout)
        self.lasting = lasting
        self._kept: dict[tuple[str, int], int] = {}
        self._unrecorded = 0
        """Ends that the spawner would tell a successor of ours."""
        self.nonce = nonce
        self._restart = restart
        self._timeout = timeout
        self._requests = Requests()
        self._user_ns = 0
        self._announced: Reaped | None = None
        """The last end that has been reported, until the process is buried."""
        self._undertaker: Undertaker | None = None
        """There is one as soon as there may be adopted children."""
        self._failure: GovernorError | None = None
        self.restarts = 0
        """How often another one has taken the place of one that had died."""
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._heartbeat = Heartbeat(timeout, self._ping, self.kill)
        self._strangers: Strangers | None = None
        """Processes that are no children of ours when the spawner dies, if it is none itself."""
        self._is_child = True
        self.on_unseen: Callable[[int], None] = lambda pid: None
        """A process is gone, and nobody can tell how it has ended."""
        self.on_started: Callable[[Started], None] = lambda message: None
        self.on_reaped: Callable[[Reaped, int], None] = lambda message, user_ns: None
        """A process of ours is gone; ``user_ns`` of what it used was user time."""
        self.renew: Callable[[Request], None] = lambda request: None
        """Called for each request that a spawner has died over: puts what no process that has
        been forked already may share in the place of its descriptors. Raises OSError."""
        self.on_replaced: Callable[[str, int], None] = lambda how, before: None
        """Called when another one is there; with how the one ``before`` has ended."""

    def fileno(self) -> int:
        """Readable when there is something to catch up with; the same for every spawner."""
        return self._end.fileno()

    # -- asking --------------------------------------------------------------------

    def start_worker(self, job: int, descriptors: Sequence[int]) -> None:
        """Have a worker forked; `on_started` follows. Raises OSError: no room for descriptors."""
        self._ask(StartWorker(job), descriptors)

    def start_agent(self, endpoint: str, descriptors: Sequence[int]) -> None:
        """Have an agent forked; `on_started` follows, with job 0."""
        self._ask(StartAgent(endpoint), descriptors)

    def _ask(self, message: StartWorker | StartAgent, descriptors: Sequence[int]) -> None:
        self._requests.add(message, descriptors)
        self._send()

    def _send(self) -> None:
        for request in self._requests.due():
            self._say(request.message, request.descriptors)

    def _ping(self) -> None:
        self._say(Probe(0))

    def _say(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Say something; to one that does not take it for too long, nothing is said any more."""
        if not channel.send(self._end, message, descriptors):
            self.kill()

    # -- what is for a successor of this process ----------------------------------------

    def keep(self, kind: str, id: int, descriptor: int) -> None:
        """Have a copy of this descriptor kept for a successor, until `drop`."""
        if self.lasting:
            self._kept[kind, id] = descriptor
            self._say(Keep(kind, id), [descriptor])

    def drop(self, kind: str, id: int) -> None:
        """What was kept is not needed any more; to be called before it is closed."""
        if self._kept.pop((kind, id), None) is not None:
            self._say(Drop(kind, id))

    def outlives(self, pids: Iterable[int]) -> None:
        """The spawner is no child of ours, and these are its children.

        When it dies they become init's, so that their ends have to be seen in another way.
        """
        from governor.supervisor.strangers import Strangers

        self._is_child = False
        self._strangers = Strangers(self.nonce)
        for pid in pids:
            self._strangers.hold(pid)

    def watch(self, pid: int) -> bool:
        """See the end of a process that the spawner does not know; False if it is gone."""
        return self._strangers is not None and self._strangers.watch(pid)

    @property
    def sources(self) -> list[int]:
        """The descriptors that are readable when there is something to catch up with."""
        more = [] if self._strangers is None else [self._strangers.fileno()]
        return [self.fileno(), *more]

    def _hear_of(self, strangers: Strangers) -> None:
        for end, is_known in strangers.ends():
            if is_known:
                self.on_reaped(end, 0)
            else:
                self.on_unseen(end.pid)

    def begin(self) -> None:
        """From now on there can be a successor of ours; before that the spawner ends with us."""
        if self.lasting:
            self._say(Recorded(0))

    def acknowledge(self) -> None:
        """A successor will know of all ends that `on_reaped` has been called for until now."""
        if self._unrecorded:
            self._say(Recorded(self._unrecorded))
            self._unrecorded = 0

    # -- hearing -------------------------------------------------------------------

    def catch_up(self) -> None:
        """Take in what has been reported so far, and ends of adopted children.

        EIO: the spawner has died, as others before it; none is started any more.
        """
        if self._failure is not None:
            raise self._failure
        while channel.is_readable(self._end.fileno(), 0):
            received = channel.receive(self._end, FROM_SPAWNER)
            if received is None:
                self._replace()
            else:
                self._hear(received[0])
        if self._undertaker is not None:
            # It reports to us as well: between two words of the spawner's on one end, perhaps.
            announced, user_ns = self._announced, self._user_ns
            self._undertaker.bury_all(self.pid)
            self._announced, self._user_ns = announced, user_ns
        if self._strangers is not None:
            self._hear_of(self._strangers)

    def tend(self) -> None:
        """The same while its answer is waited for: one that does not answer is replaced."""
        self.catch_up()
        self.tick(busy=True)

    def wait(self) -> None:
        """Wait a moment for something to catch up with, and do so."""
        channel.is_readable(self._end.fileno(), _LOOK)
        self.tend()

    def _hear(self, message: Message) -> None:
        self._heartbeat.heard()
        self._heartbeat.timeout = self._timeout
        match message:
            case Started():
                self._requests.answered(message.job)
                self._send()
                if self._strangers is not None and message.pid and not self._is_child:
                    self._strangers.hold(message.pid)
                self.on_started(message)
            case Alive():
                pass
            case _:
                self._unrecorded += self.lasting and isinstance(message, Buried)
                self._hear_of_end(message)

    def _hear_of_end(self, message: Message) -> None:
        match message:
            case UserTime(ns):
                self._user_ns = ns
            case Reaped():
                self._announced = message
            case Buried(pid):
                announced, self._announced = self._announced, None
                assert announced is not None
                assert announced.pid == pid
                if self._strangers is not None:
                    self._strangers.forget(pid)
                self.on_reaped(announced, self._user_ns)

    # -- life and death ------------------------------------------------------------

    def tick(self, busy: bool) -> float | None:
        """See to it that the spawner answers while there is something to do; when to look next."""
        seconds = self._heartbeat.tick(busy or self._requests.awaited)
        look = None if self._strangers is None else self._strangers.tick()
        return min((s for s in (seconds, look) if s is not None), default=None)

    def kill(self) -> None:
        """End one that does nothing any more; another will take its place."""
        kill([self.pid])

    def _replace(self) -> None:
        """Adopt what the spawner has left, and have another one started."""
        before, how = self.pid, self._bury_spawner()
        if self._strangers is not None:
            self._strangers.watch_all()
        self._is_child = True
        announced, self._announced = self._announced, None
        if self._undertaker is None:
            self._undertaker = Undertaker(self.nonce, self._hear_of_end)
        self._start_another(how)
        self.restarts += 1
        self._heartbeat.heard()
        self._heartbeat.timeout = max(self._timeout, _FRESH_SECONDS)
        self._unrecorded = 0
        for (kind, id), descriptor in self._kept.items():
            self._say(Keep(kind, id), [descriptor])
        self.on_replaced(how, before)
        if announced is not None:
            self._settle(announced)
        self._ask_again()

    def _bury_spawner(self) -> str:
        """See the spawner off; how it has ended."""
        self.kill()  # it may only have closed its end
        code = await_end(self.pid)
        self.pid = 0
        if code is None:
            return "was ended"
        return f"was ended by signal {-code}" if code < 0 else f"ended with {code}"

    def _start_another(self, how: str) -> None:
        self._deaths.append(time.monotonic())
        deaths = self._deaths
        if len(deaths) == DEATHS and deaths[-1] - deaths[0] < DEATHS_SECONDS:
            self._give_up(f"the spawner {how}, again and again")
        for _ in range(_FORKS):
            try:
                self.pid, end = self._restart()
                break
            except OSError as error:
                failure = error
                time.sleep(_FORK_AGAIN)  # perhaps some process ends meanwhile
        else:
            self._give_up(f"the spawner {how}, and no other can be started: {failure.strerror}")
        with end:  # whoever waits for our end goes by its number
            os.dup2(end.fileno(), self._end.fileno(), inheritable=False)

    def _give_up(self, why: str) -> NoReturn:
        self._failure = GovernorError(errno.EIO, f"{why}; no job can be started any more")
        raise self._failure

    def _settle(self, announced: Reaped) -> None:
        """See to it that an end counts once, when its reporter has died over it."""
        try:
            os.waitid(os.P_PID, announced.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # it has been buried
            self.on_reaped(announced, self._user_ns)

    def _ask_again(self) -> None:
        """Whatever was forked on these requests is not waited for any more, and ends."""
        for request, failure in self._requests.take_back(self.renew):
            self.on_started(Started(request.job, 0, failure.errno or errno.EIO))
        self._send()

    def quit(self, wake: int) -> None:
        """End the spawner with all that is below it, and what was adopted.

        ``wake`` becomes readable when a child ends.
        """
        self.on_reaped = lambda message, user_ns: None
        self._requests.close()
        is_done = False
        if self.pid:
            channel.send(self._end, Quit())
            is_done = self._await_end() == 0 and self._undertaker is None
        self._end.close()
        if is_done:  # nothing is left, says the only one who had anything
            return
        end_all(self.nonce, self._undertaker or Undertaker(self.nonce, self._hear_of_end), wake)

    def close(self) -> None:
        """Leave it to another supervisor, as by dying."""
        self._end.close()

    def _await_end(self) -> int | None:
        """The spawner closes its end when nothing of ours is left below it. Its exit code."""
        self._end.settimeout(max(self._timeout, _FRESH_SECONDS))
        try:
            while channel.receive(self._end, FROM_SPAWNER) is not None:
                pass
        except TimeoutError:
            self.kill()
        return await_end(self.pid)
