"""A worker on its way to the job: whoever signals the job, as soon as there is one, means it."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from governor.wire.codec import encode
from governor.wire.job import FROM_WORKER, JobSpec, Ready
from workers import bootstrap, channel, seccomp
from workers.syscalls import table

pytestmark = pytest.mark.once

SPEC = JobSpec(
    argv=[b"sleep", b"1000"],
    callable=b"",
    env={b"PATH": os.fsencode(os.defpath)},
    cwd=b"/",
    umask=0o022,
    filter=seccomp.build(frozenset(), table()),
    cpus=[],
    pgid=0,
    modules=[],
)


def worker(there: socket.socket) -> int:
    """A worker that reports to this end; its pid."""
    described = os.memfd_create("spec")
    os.write(described, encode(SPEC))
    pid = os.fork()
    if pid == 0:
        try:
            bootstrap.main(described, os.dup(0), os.dup(1), os.dup(2), there.detach())
        finally:
            os._exit(99)
    os.close(described)
    there.close()
    return pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_it_is_the_job_ends_it_as_it_would_end_that(number: int) -> None:
    here, there = channel.pair()
    with here:
        pid = worker(there)
        received = channel.receive(here, FROM_WORKER)
        assert received is not None
        message, descriptors = received
        assert isinstance(message, Ready)
        for descriptor in descriptors:
            os.close(descriptor)
        os.kill(pid, number)  # it waits for its Go
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number
