"""What is recorded: one class per kind. A record with the same kind and number replaces another.

As with messages, kinds are for ever: fields are never changed, and a record that needs more is
a new kind. Golden bytes in ``tests/unit/golden/journal.txt`` see to it.
"""

from __future__ import annotations

from typing import Any, Final

from governor.wire.codec import Catalogue, encode
from governor.wire.named import Named

FORMAT: Final = 1
"""What this governor writes, and the highest that it reads."""


class Began(Named):
    """Who writes this journal: always the first record, number 0.

    ``boot`` is the kernel's boot_id; ``nonce`` is what marks processes, ``directory`` where the
    sockets are, ``version`` governor's own.
    """

    id: int
    format: int
    version: str
    boot: str
    nonce: int
    directory: str


class Numbers(Named):
    """The last number that was given to a counter, a group and a job; number 0."""

    id: int
    counter: int
    group: int
    job: int


class Tree(Named):
    """A hierarchy, in the order of mounting. ``unbound``: hierarchy 0."""

    id: int
    name: str
    mounted: bool
    unbound: bool
    labels: list[str]
    release_agent: str


class Node(Named):
    """A container of hierarchy ``tree``; ``parent`` is 0 for a root.

    ``states`` has, by kind of subsystem, what `Subsystem.save` gave.
    """

    id: int
    tree: int
    parent: int
    name: str
    notify_on_release: bool
    auto_remove: bool
    occupied: bool
    states: dict[str, Any]


class Meters(Named):
    """What was used in container ``id``: ``[kind, total, user]`` for each of its meters."""

    id: int
    totals: list[Any]


class Figures(Named):
    """The figures of counter ``id`` when it was last looked at."""

    id: int
    minheld: int
    maxheld: int
    failcnt: int
    admitted: int


class Combination(Named):
    """A group and its containers, and what is known of the processes it has had.

    ``released``: one of its containers was removed and is its parent here; something may
    still be reported of it.
    """

    id: int
    nodes: list[int]
    released: bool
    trapped: list[str]
    untrapped: list[str]
    hidden: bool
    unfollowed: bool


class Past(Named):
    """What is known of processes that container ``id`` has had in groups that are forgotten."""

    id: int
    trapped: list[str]
    untrapped: list[str]
    hidden: bool
    unfollowed: bool


class Work(Named):
    """A job. ``began`` is in seconds since the epoch, ``clock`` and ``deadline`` since the boot.

    ``pid`` is 0 while there is none; ``result`` are the fields of a `JobResult`, none while it
    runs. ``listens``: its filter has a listener.
    """

    id: int
    name: str
    group: int
    pid: int
    start: int
    traps: list[str]
    grace: float
    timeout: float | None
    deadline: float | None
    began: float
    clock: float
    placed: bool
    timed_out: bool
    listens: bool
    base_cpu: int
    refusal: str
    error: str | None
    result: list[Any]


class Refused(Named):
    """What job ``id`` was refused so far: a counter and the fields of a `Refusal` in each row."""

    id: int
    rows: list[Any]


class Member(Named):
    """A process whose CPU time is not all its group's: see `governor.core.usage.Kept`."""

    id: int
    start: int
    ppid: int
    group: int
    base: list[int]
    use: list[int]
    outside: bool
    discards: bool


class Orphan(Named):
    """A process that is gone, whose end has not been reported: as a `Member`."""

    id: int
    start: int
    ppid: int
    group: int
    base: list[int]
    use: list[int]
    outside: bool
    discards: bool


class Spent(Named):
    """CPU time of group ``id``: ``[all, user]`` of ended processes, and of what was published."""

    id: int
    retired: list[int]
    published: list[int]


class Gone(Named):
    """The record ``id`` of this kind does not hold any more."""

    id: int
    kind: str


KINDS = (
    Began, Numbers, Tree, Node, Meters, Figures, Combination, Past, Work, Member, Orphan, Spent,
    Gone, Refused,
)  # fmt: skip
RECORDS = Catalogue(KINDS)

Record = Any
"""An instance of one of these classes."""


def bytes_of(record: Record) -> bytes:
    """A record as it is written. EINVAL when something in it cannot be."""
    return encode(record)
