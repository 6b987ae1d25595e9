"""A governor with a state whose supervisor is killed at a named step.

    python -m tests.process.supervisor_faults DIRECTORY STATE [STRUCK STEP WHEN NTH]

WHEN is before or after the NTH time that the STEP is done, or instead: then the supervisor is not
killed, but the step fails as by a mistake of ours. Then the file STRUCK is made. With WHEN full the
step fails from then on for want of room, as long as that file is there. Says the supervisor's pid
when clients may connect, and ends with it. The supervisor is a fork of this process: that is how
it comes to have the fault.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

from governor import rundir
from governor.api import Governor
from governor.journal.file import Journal
from governor.journal.place import Place
from governor.supervisor import inheritance, start
from governor.supervisor.agent import AgentLink
from governor.supervisor.job_progress import JobProgress
from governor.supervisor.recording import Recording
from governor.supervisor.restore import Restorer
from governor.supervisor.state import State
from governor.transport import Server
from governor.wire.client import Result
from governor.wire.job import Go
from governor.wire.spawner import (
    Drop,
    Inherited,
    Keep,
    Kept,
    Quit,
    Recorded,
    Running,
    StartAgent,
    StartWorker,
)
from workers import channel, spawner

STEPS: dict[str, tuple[Any, str, type | None]] = {
    "make room": (Journal, "_make_ready", None),
    "write": (Place, "write", None),
    "sync": (Place, "sync", None),
    "replace": (Place, "replace", None),
    "turn": (Recording, "turn", None),
    "answer": (Server, "send", Result),
    "keep": (channel, "send", Keep),
    "drop": (channel, "send", Drop),
    "say recorded": (channel, "send", Recorded),
    "ask for agent": (channel, "send", StartAgent),
    "ask for worker": (channel, "send", StartWorker),
    "say go": (channel, "send", Go),
    "say quit": (channel, "send", Quit),
    "hear started": (JobProgress, "on_started", None),
    "hear ready": (JobProgress, "_on_ready", None),
    "hear placed": (JobProgress, "on_placed", None),
    "hear end": (JobProgress, "on_reaped", None),
    "take over": (State, "take_over", None),
    "hear kept": (channel, "receive", Kept),
    "hear running": (channel, "receive", Running),
    "hear inherited": (channel, "receive", Inherited),
    "end agents": (inheritance, "end_agents", None),
    "rebuild": (Restorer, "rebuild", None),
    "tell agent": (Restorer, "tell_agent", None),
    "inherit": (AgentLink, "inherit", None),
    "give up": (Restorer, "give_up", None),
    "begin": (State, "begin", None),
}
"""What is done, and with which message where the step is a message."""

_SENT, _HEARD = "send", "receive"
_is_supervisor = False


def _plant(struck: str, step: str, when: str, nth: int) -> None:
    place, name, kind = STEPS[step]
    original = getattr(place, name)
    done = 0

    def faulty(*arguments: Any, **keys: Any) -> Any:
        nonlocal done
        if name == _HEARD:
            result = original(*arguments, **keys)
            if _is_supervisor and result is not None and isinstance(result[0], kind or object):
                done += 1
                _strike(struck, done == nth)
            return result
        sent = kind is None or any(isinstance(argument, kind) for argument in arguments)
        if not _is_supervisor or not sent:
            return original(*arguments, **keys)
        done += 1
        if done == nth and when == "instead":
            Path(struck).touch()
            raise AssertionError("it goes wrong")
        if when == "full":
            if done == nth:
                Path(struck).touch()
            if done >= nth and os.path.exists(struck):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*arguments, **keys)
        _strike(struck, done == nth and when == "before")
        is_nth = done == nth  # it may be done again inside of itself
        result = original(*arguments, **keys)
        _strike(struck, is_nth)
        return result

    setattr(place, name, faulty)


def _strike(struck: str, due: bool) -> None:
    if due:
        Path(struck).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _mark_roles() -> None:
    begin, serve = start.main, spawner.Spawner.serve

    def marked(*arguments: Any) -> int:
        global _is_supervisor
        _is_supervisor = True
        return begin(*arguments)

    def left(self: spawner.Spawner) -> None:
        global _is_supervisor
        _is_supervisor = False
        serve(self)

    setattr(start, "main", marked)  # noqa: B010 - mypy lets no function be assigned
    setattr(spawner.Spawner, "serve", left)  # noqa: B010


def main(directory: str, state: str, *fault: str) -> None:
    """Run a governor as ``governor up --state`` does, until its supervisor has ended."""
    if fault:
        struck, step, when, nth = fault
        _mark_roles()
        _plant(struck, step, when, int(nth))
    lock = rundir.claim(directory, state)
    gov = Governor(directory=directory, lock=lock, state=state, fork=True)
    rundir.record(directory, gov.pid, gov.nonce)
    os.close(lock)
    print(gov.pid, flush=True)
    os.waitpid(gov.pid, 0)
    os._exit(0)  # there is nothing left that could be asked to end


if __name__ == "__main__":
    main(*sys.argv[1:])
