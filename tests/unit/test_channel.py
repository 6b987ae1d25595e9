"""The channel between spawner, worker and supervisor."""

from __future__ import annotations

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
