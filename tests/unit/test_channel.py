"""The channel between spawner, worker and supervisor."""

from __future__ import annotations

import os
import resource

from governor.wire.job import FROM_WORKER, Failed, Go, Ready
from workers import channel


def test_last_words_are_heard_from_who_has_not_read_all() -> None:
    here, there = channel.pair()
    channel.send(there, Ready(""))
    channel.send(here, Go())
    channel.send(there, Failed(5, "do what it was told"))
    there.close()  # with Go unread: the kernel tells of that first
    received = [channel.receive(here, FROM_WORKER) for _ in range(4)]
    assert received == [
        (Ready(""), []),
        (Failed(5, "do what it was told"), []),
        None,
        None,
    ]
    here.close()


def test_descriptors_come_all_or_none() -> None:
    here, there = channel.pair()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with here, there:
        channel.send(there, Ready(""), [0, 1, 2])
        channel.send(there, Ready("again"), [0])
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, limits[1]))
        try:
            received = [channel.receive(here, FROM_WORKER) for _ in range(2)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert received == [(Ready(""), []), (Ready("again"), [free])]
        os.close(free)
