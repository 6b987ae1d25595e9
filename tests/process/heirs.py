"""A supervisor that does nothing but have jobs started by a spawner that outlives it.

    python -m tests.process.heirs DIRECTORY NONCE COMMAND...

Says a line with the jobs' pids; for each number that it reads, that many ends are recorded.
"""

from __future__ import annotations

import os
import select
import socket
import sys

from governor.supervisor.spawner_link import SpawnerLink
from governor.wire.codec import encode
from governor.wire.job import FROM_WORKER, Go, JobSpec
from governor.wire.spawner import ESTATE, LISTENER, Started
from workers import channel, membership, spawner
from workers.membership import Tag

ESTATE_TEXT = b"what agents share"


def _never() -> tuple[int, socket.socket]:
    raise AssertionError("the spawner has died")


def start_job(link: SpawnerLink, nonce: int, job: int, command: str) -> int:
    """Start a shell command as a job without a filter; its pid."""
    words = [b"sh", b"-c", command.encode()]
    spec = JobSpec(words, b"", dict(os.environb), b"/", 0o022, b"", [], 0, [])
    description = os.memfd_create("job")
    os.write(description, encode(spec))
    here, there = channel.pair()
    started: list[Started] = []
    link.on_started = started.append
    link.start_worker(job, [description, 2, 2, 2, there.fileno()])
    there.close()
    os.close(description)
    while not started:
        link.wait()
    assert channel.receive(here, FROM_WORKER) is not None
    pid = started[0].pid
    membership.write(pid, Tag(nonce, job, 1))
    channel.send(here, Go())
    assert channel.receive(here, FROM_WORKER) is None
    here.close()
    return pid


def main(directory: str, nonce: int, *commands: str) -> None:
    """Start everything, and record ends until killed. Without commands: not so far yet."""
    spawner.become_subreaper()
    pid, end = spawner.start(nonce, directory, lasting=True)
    link = SpawnerLink(pid, end, nonce, _never, 10.0, lasting=True)
    memory = os.memfd_create("estate")
    os.write(memory, ESTATE_TEXT)
    link.keep(ESTATE, 0, memory)
    pids = []
    for job, command in enumerate(commands, 1):
        pids.append(start_job(link, nonce, job, command))
        reads, writes = os.pipe()
        os.write(writes, b"%d" % job)
        link.keep(LISTENER, job, reads)
        os.close(writes)
    link.drop(LISTENER, len(commands))
    if commands:
        link.begin()
    print(pid, *pids, flush=True)
    ended: list[int] = []
    link.on_reaped = lambda message, user_ns: ended.append(message.pid)
    for line in sys.stdin:
        while len(ended) < int(line):
            select.select([link], [], [])
            link.catch_up()
        link.acknowledge()
        print("recorded", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
