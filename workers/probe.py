"""What this host lets us do, found out by doing it.

Every probe runs in processes of its own, so that whatever the host answers (a refusal, a signal,
silence) is a finding and happens to nobody else. As in a governed job, there are two of them: one
stands for the worker and one, no relative of it but a sibling, for the agent, since some hosts
let a process inspect its descendants only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, NoReturn

from governor.errors import GovernorError
from workers import affinity, cpu, files, membership, seccomp
from workers.syscalls import table

PATIENCE = 5.0
"""Seconds that a probe may take; one that takes longer has not worked."""

_ANSWER = errno.EXDEV
"""An errno that sched_setaffinity never has by itself."""


class Finding(NamedTuple):
    """Whether something works here, and what was seen."""

    ok: bool
    seen: str = ""


Findings = dict[str, Finding]
Agent = Callable[[int, socket.socket], Iterator[tuple[str, Finding]]]
"""What the agent's stand-in does: (pid of the worker's, stream to it) -> findings by name."""


class Probe(NamedTuple):
    """An experiment: the names of all it finds out, and what its two processes do."""

    names: tuple[str, ...]
    agent: Agent
    worker: Callable[[socket.socket], None]


def examine() -> Findings:
    """Run all probes, which takes a fraction of a second; a finding for every name."""
    findings: Findings = {}
    for probe in PROBES:
        findings.update(run(probe))
    return findings


def run(probe: Probe) -> Findings:
    """Run one probe. What its processes did not get to is found not to work, with the reason."""
    theirs, ours = socket.socketpair()
    results, output = os.pipe()
    pids: list[int] = []
    try:
        with theirs, ours:
            pids.append(_fork(lambda: probe.worker(theirs), ours))
            pids.append(_fork(lambda: _report(probe.agent(pids[0], ours), output), theirs))
        os.close(output)
        output = -1
        findings = _read(results)
        reason = _end(pids.pop()) if len(findings) < len(probe.names) else ""
    except OSError as error:
        findings, reason = {}, f"no process for the probe: {os.strerror(error.errno or 0)}"
    finally:
        for descriptor in (results, output):
            if descriptor >= 0:
                os.close(descriptor)
        for pid in pids:
            _end(pid)
    return {name: findings.get(name, Finding(False, reason)) for name in probe.names}


# -- processes ---------------------------------------------------------------------------------


def _fork(body: Callable[[], None], others: socket.socket) -> int:
    """Run ``body`` in a child without ``others``, which has to end for its owner to notice."""
    pid = os.fork()
    if pid:
        return pid
    _be_child(body, others)


def _be_child(body: Callable[[], None], others: socket.socket) -> NoReturn:
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(2 * int(PATIENCE))  # should our parent be killed
        others.close()
        body()
    finally:
        os._exit(0)


def _report(findings: Iterator[tuple[str, Finding]], output: int) -> None:
    """Write each finding as soon as there is one: the next step may be the last."""
    try:
        for name, finding in findings:
            os.write(output, json.dumps([name, *finding]).encode() + b"\n")
    except Exception as error:
        os.write(output, json.dumps(["", False, _words(error)]).encode() + b"\n")


def _read(results: int) -> Findings:
    """All findings until the end, or until patience does; "" is why there are no more."""
    text = b""
    deadline = time.monotonic() + PATIENCE
    poll = select.poll()
    poll.register(results, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        chunk = os.read(results, 65536)
        if not chunk:
            break
        text += chunk
    rows = [json.loads(line) for line in text.splitlines()]
    return {name: Finding(ok, seen) for name, ok, seen in rows}


def _end(pid: int) -> str:
    """End a process of ours; returns what had become of it before."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended:
        return f"ended by {_signal_name(status)}" if os.WIFSIGNALED(status) else "no answer"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return f"no answer within {PATIENCE:g} s"


def _signal_name(status: int) -> str:
    number = os.WTERMSIG(status)
    return signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"


def _words(error: Exception) -> str:
    """An exception in a few words."""
    if isinstance(error, GovernorError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
