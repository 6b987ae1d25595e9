"""Taking the place of a supervisor that has died: what its spawner hands over."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import struct
from typing import NamedTuple

from governor.errors import GovernorError
from governor.supervisor.spawner_link import Restart, SpawnerLink
from governor.wire.spawner import AGENT, ESTATE, FROM_SPAWNER, LISTENER, Inherited, Kept, Running
from workers import channel, membership
from workers.heirloom import HEIRS
from workers.spawner import await_end, kill, take_descriptors

PATIENCE = 10.0
"""Seconds in which a spawner hands everything over; one that does not is ended."""
_CREDENTIALS = struct.Struct("3i")


class Inheritance(NamedTuple):
    """What goes on though its supervisor has died. Its agents have been ended."""

    link: SpawnerLink
    estate: int
    """The agents' memory, as a descriptor."""
    listeners: dict[int, int]
    """The descriptors of the listeners of jobs, by id."""
    jobs: dict[int, int]
    """The pids of the jobs whose first process has not been reaped, by id.

    Those that are reaped meanwhile, and those whose end had not been recorded, are reported
    when `SpawnerLink.catch_up` is called.
    """


def reconnect(directory: str, nonce: int, restart: Restart, timeout: float) -> Inheritance | None:
    """Take over the spawner of governor ``nonce`` in ``directory``; None: there is none.

    Its supervisor has to be dead. A spawner that does not answer in `PATIENCE` is killed, as is
    one of another governor that has no jobs: then there is none. ``restart`` and ``timeout``: as
    for `SpawnerLink`. EBUSY: there are jobs of another governor. EMFILE: not all descriptors that
    the spawner has may be had here. Both leave everything as it is.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end.settimeout(PATIENCE)
    try:
        end.connect(os.path.join(directory, HEIRS))
    except (FileNotFoundError, ConnectionRefusedError):
        end.close()
        return None
    credentials = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    store: dict[tuple[str, int], int] = {}
    running: list[Running] = []
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    take_descriptors()  # there is at least one for each job
    try:
        found = _receive(end, store, running)
        _check_known(found, nonce, pid, directory)
    except OSError:  # it has hung, or died
        found = None
    except GovernorError:
        _drop(end, store)
        raise
    if found != nonce or (ESTATE, 0) not in store:
        kill([pid])
        await_end(pid)
        _drop(end, store)
        resource.setrlimit(resource.RLIMIT_NOFILE, files)  # that is for the next one's jobs
        return None
    end_agents([process.pid for process in running if not process.job])
    _end_adopted(store.pop((AGENT, 0), None))
    link = SpawnerLink(pid, end, nonce, restart, timeout, lasting=True)
    jobs = {process.job: process.pid for process in running if process.job}
    link.outlives(jobs.values())
    listeners = {id: descriptor for (kind, id), descriptor in store.items() if kind == LISTENER}
    return Inheritance(link, store[ESTATE, 0], listeners, jobs)


def _receive(
    end: socket.socket, store: dict[tuple[str, int], int], running: list[Running]
) -> int | None:
    """Receive everything; the number of the governor, None when the spawner died over it."""
    while (received := channel.receive(end, FROM_SPAWNER)) is not None:
        message, descriptors = received
        match message:
            case Kept() if not descriptors:
                raise GovernorError(
                    errno.EMFILE,
                    "there are more jobs to go on with than descriptors to be had here: raise the "
                    "hard limit (ulimit -Hn)",
                )
            case Kept(kind, id):
                store[kind, id] = descriptors[0]
            case Running():
                running.append(message)
            case Inherited(nonce):
                return nonce
    return None


def _check_known(found: int | None, nonce: int, pid: int, directory: str) -> None:
    """Refuse to do anything to jobs that our state knows nothing of, and to take them for ours."""
    if not pid:
        raise GovernorError(errno.EBUSY, f"the governor at {directory} is in another PID namespace")
    if found in (None, nonce) or not any(tag.job for tag in membership.scan(found).values()):
        return
    raise GovernorError(
        errno.EBUSY,
        f"jobs run at {directory} that are not in this state: choose the one they are in; or kill "
        f"process {pid}, and they will be ended",
    )


def _drop(end: socket.socket, store: dict[tuple[str, int], int]) -> None:
    end.close()
    for descriptor in store.values():
        os.close(descriptor)


def end_agents(pids: list[int]) -> None:
    """Kill agents, so that never two answer one listener; the spawner reaps them."""
    kill(pids)
    for pid in pids:
        await_end(pid)


def _end_adopted(agent: int | None) -> None:
    """End the agent with this pidfd, which may be no child of the spawner."""
    if agent is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(agent, signal.SIGKILL)
            channel.is_readable(agent)
        os.close(agent)
