"""What the processes of a governor take while a load runs: memory and descriptors."""

from __future__ import annotations

import os
import resource
import select
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from governor.api import Container, Governor

DEADLINE = 300.0
"""Seconds after which a load that waits for something gives up."""


class Size(NamedTuple):
    """What one process takes."""

    resident: int
    """KiB of memory."""
    descriptors: int


Sizes = dict[str, Size]
"""Of supervisor, spawner and agent."""


class Watch:
    """Looks at a governor's own processes; made while no job runs.

    A first job is run in ``containers``, since what is imported for it is there for good.
    """

    def __init__(self, gov: Governor, containers: Sequence[Container] = ()) -> None:
        gov.spawn(["true"], containers=containers).wait(DEADLINE)
        (spawner,) = children(gov.pid)
        (agent,) = children(spawner)
        self.pids = {"supervisor": gov.pid, "spawner": spawner, "agent": agent}

    def look(self) -> Sizes:
        """The sizes now."""
        return {name: Size(_resident(pid), len(_links(pid))) for name, pid in self.pids.items()}

    def rest(self) -> Sizes:
        """The sizes once no process has a listener of a job any more; none must run.

        Nor does one of them count just now: what it looks at in /proc is open for a moment.
        """
        end = time.monotonic() + DEADLINE
        while any(map(_is_busy, (found := {n: _links(p) for n, p in self.pids.items()}).values())):
            assert time.monotonic() < end, f"this is still there: {found}"
            os.sched_yield()
        return {name: Size(_resident(pid), len(found[name])) for name, pid in self.pids.items()}


def _links(pid: int) -> list[str]:
    """What the descriptors of a process are; empty for one that is closed meanwhile."""
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            links.append("")
    return links


def _is_busy(links: list[str]) -> bool:
    return any(not link or "seccomp" in link or link.startswith("/proc") for link in links)


def _resident(pid: int) -> int:
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return resident * resource.getpagesize() // 1024


def children(pid: int) -> list[int]:
    """The processes that one has made, or adopted; none when it is gone."""
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def descriptors(sizes: Mapping[str, Size]) -> dict[str, int]:
    """Of each process."""
    return {name: size.descriptors for name, size in sizes.items()}


def in_words(before: Mapping[str, Size], after: Mapping[str, Size]) -> str:
    """How the sizes have changed."""
    return ", ".join(
        f"{name} {before[name].resident} -> {size.resident} KiB "
        f"and {before[name].descriptors} -> {size.descriptors} descriptors"
        for name, size in after.items()
    )


class Pen:
    """Jobs of `load_job` live in it until it is opened; it hears when they are complete."""

    def __init__(self) -> None:
        self.stdin, self._open = os.pipe()
        self._heard, self.stdout = os.pipe()

    def hear(self, jobs: int) -> None:
        """Wait until so many jobs are complete."""
        while jobs > 0:
            assert select.select([self._heard], [], [], DEADLINE)[0], f"{jobs} jobs are not there"
            jobs -= len(os.read(self._heard, jobs))

    def open(self) -> None:
        """Let all of them end."""
        for descriptor in (self._open, self.stdin, self._heard, self.stdout):
            os.close(descriptor)
