"""An experiment on this host: two processes, and what one of them finds out about the other.

Whatever the host answers (a refusal, a signal, silence) is a finding and happens to nobody else.
As in a governed job, one process stands for the worker and one, no relative of it but a sibling,
for the agent, since some hosts let a process inspect its descendants only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, NoReturn

from governor.errors import GovernorError

PATIENCE = 5.0
"""Seconds that a probe may take; one that takes longer has not worked."""

_FAILED = ""
"""The name under which an agent's stand-in says why it could not go on."""


class Finding(NamedTuple):
    """Whether something works here (None: it cannot be told), and what was seen."""

    ok: bool | None
    seen: str = ""


Findings = dict[str, Finding]
Agent = Callable[[int, socket.socket], Iterator[tuple[str, Finding]]]
"""What the agent's stand-in does: (pid of the worker's, stream to it) -> findings by name."""


class Probe(NamedTuple):
    """An experiment: the names of all it finds out, and what its two processes do."""

    names: tuple[str, ...]
    agent: Agent
    worker: Callable[[socket.socket], None]


def run(probe: Probe) -> Findings:
    """Run one probe. The first thing its processes did not get to is found not to work.

    What was to come after it cannot be told, and neither can anything without processes.
    """
    try:
        findings, reason = _experiment(probe)
    except OSError as error:
        nothing = Finding(None, f"no process for the probe: {words(error)}")
        return dict.fromkeys(probe.names, nothing)
    rest = [name for name in probe.names if name not in findings]
    findings.update(dict.fromkeys(rest, Finding(None, reason)))
    findings.update(dict.fromkeys(rest[:1], Finding(False, reason)))
    return findings


def _experiment(probe: Probe) -> tuple[Findings, str]:
    """Run a probe's processes; what they found, and what kept them from finding more."""
    theirs, ours = socket.socketpair()
    pids: list[int] = []
    try:
        with theirs, ours:
            pids.append(_fork(lambda: probe.worker(theirs), ours))
            results, output = os.pipe()
            with open(results, "rb", buffering=0) as stream:
                with open(output, "wb", buffering=0) as end:
                    pids.append(_fork(lambda: _report(probe.agent(pids[0], ours), end), theirs))
                theirs.close()
                ours.close()
                findings = _read(stream)
        reason = _end(pids.pop())
    finally:
        for pid in pids:
            _end(pid)
    failure = findings.pop(_FAILED, None)
    return findings, failure.seen if failure else reason


# -- processes ---------------------------------------------------------------------------------


def _fork(body: Callable[[], None], others: socket.socket) -> int:
    """Run ``body`` in a child without ``others``, which has to end for its owner to notice."""
    # Ctrl-C in the middle of a fork: Python would say which of its own functions that was in.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        pid = os.fork()
        if not pid:
            _be_child(body, others, before)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _be_child(
    body: Callable[[], None], others: socket.socket, unblocked: set[int | signal.Signals]
) -> NoReturn:
    try:
        for number in (signal.SIGALRM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        signal.alarm(2 * int(PATIENCE))  # should our parent be killed
        others.close()
        body()
    finally:
        os._exit(0)


def _report(findings: Iterator[tuple[str, Finding]], output: BinaryIO) -> None:
    """Write each finding as soon as there is one: the next step may be the last."""
    try:
        for name, finding in findings:
            output.write(json.dumps([name, *finding]).encode() + b"\n")
    except Exception as error:
        output.write(json.dumps([_FAILED, False, words(error)]).encode() + b"\n")


def _read(results: BinaryIO) -> Findings:
    """All findings, until there will be no more or patience ends."""
    text = b""
    deadline = time.monotonic() + PATIENCE
    poll = select.poll()
    poll.register(results, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        chunk = results.read(65536)
        if not chunk:
            break
        text += chunk
    rows = [json.loads(line) for line in text.splitlines()]
    return {name: Finding(ok, seen) for name, ok, seen in rows}


def _end(pid: int) -> str:
    """End a process of ours; returns what kept it from telling more."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        return "no answer"
    number = os.WTERMSIG(status)
    if number == signal.SIGKILL:
        return f"no answer within {PATIENCE:g} s"
    return f"the host ended the process with {signal.Signals(number).name}"


def words(error: Exception) -> str:
    """An exception in a few words."""
    if isinstance(error, GovernorError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
