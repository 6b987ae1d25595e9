"""Scrapes of very many containers: the CPU time they take, and whether trapped calls wait.

Run as ``python -m tests.stress.scrapes [CONTAINERS]``. What is wrong fails an assertion. On a
machine that does other work as well, compare the lines, which take turns, not single figures.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from governor.api import Container, Governor
from tests.programs.build import compile
from workers import cpu

SUBSYSTEMS = ["numfiles", "cpuacct"]
LINES = 12
"""Series that a container has at least."""
MOST = 0.3
"""Seconds of CPU time that a scrape may take."""
EVERY = 0.8
"""Seconds between two scrapes while calls are trapped."""

CLIENT = """
import sys, time, urllib.request
url, encoding, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
asked = urllib.request.Request(url, headers={"Accept-Encoding": encoding})
while True:
    body = urllib.request.urlopen(asked).read()
    if not pause:
        print(len(body), body.count(bytes([10])))
        break
    time.sleep(pause)
"""
"""Scrapes from a process of its own, so that what a client takes is nobody else's."""
BURN = """
import sys, time
cost, pause = map(float, sys.argv[1:])
while True:
    end = time.process_time() + cost
    while time.process_time() < end: pass
    time.sleep(pause)
"""


class Cost(NamedTuple):
    """Seconds of CPU time, user and system."""

    supervisor: float
    server: float

    def __str__(self) -> str:
        return f"supervisor {self.supervisor:.3f} s, who serves {self.server:.3f} s"


def used(pid: int) -> float:
    """The CPU time of all threads of a process, also of those that have ended by now."""
    nanoseconds = cpu.process_ns(pid)
    assert nanoseconds is not None, f"process {pid} is gone"
    return nanoseconds / 1e9


def client(gov: Governor, encoding: str, pause: float) -> list[str]:
    """The command of one that scrapes, once without a pause."""
    url = f"http://127.0.0.1:{gov.metrics_port}/metrics"
    return [sys.executable, "-c", CLIENT, url, encoding, str(pause)]


def scrape(gov: Governor, encoding: str = "identity") -> tuple[Cost, str]:
    """What one scrape costs; bytes and lines, as the client has seen them."""
    before = used(gov.pid), used(os.getpid())
    asked = client(gov, encoding, 0)
    seen = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Cost(used(gov.pid) - before[0], used(os.getpid()) - before[1]), seen


@contextlib.contextmanager
def meanwhile(command: list[str]) -> Iterator[None]:
    """Something that goes on until the end of this."""
    if not command:
        yield
        return
    with subprocess.Popen(command) as process:
        try:
            yield
            assert process.poll() is None, "it has ended by itself"
        finally:
            process.kill()


def latency(gov: Governor, container: Container, calls: int) -> tuple[float, float]:
    """Microseconds of trapped calls: the median, and what 99 of 100 are faster than."""
    reading, writing = os.pipe()
    command = [compile("trap_latency"), str(calls)]
    with open(reading) as words, open(writing, "w") as end:
        job = gov.spawn(command, containers=[container], stdout=end)
        end.close()
        assert job.wait().exit_code == 0
        half, most = map(int, words.read().split())
    return half / 1e3, most / 1e3


class Seen(NamedTuple):
    """What came of it: by encoding, and by what went on meanwhile."""

    lines: int
    size: int
    first: Cost
    later: dict[str, Cost]
    calls: dict[str, list[tuple[float, float]]]

    def __str__(self) -> str:
        parts = [f"{self.lines} lines, {self.size} bytes; the first {self.first}"]
        parts += [f"later ones, {encoding}: {cost}" for encoding, cost in self.later.items()]
        for name, rounds in self.calls.items():
            halves, mosts = zip(*rounds, strict=True)
            parts.append(
                f"meanwhile {name}: median call {min(halves):.1f} - {max(halves):.1f} us, "
                f"99 of 100 faster than {min(mosts):.0f} - {max(mosts):.0f} us"
            )
        return "\n  ".join(parts)


def run(containers: int, calls: int = 200_000, rounds: int = 4) -> Seen:
    """So many containers are scraped, in so many rounds, at last while calls are trapped."""
    with Governor(metrics=0) as gov:
        tree = gov.mount("load", SUBSYSTEMS)
        made = [tree.mkdir(f"/c{number}") for number in range(containers)]
        first, told = scrape(gov)
        size, lines = map(int, told.split())
        later = {}
        for encoding in ("identity", "gzip"):
            scrape(gov, encoding)
            costs = [scrape(gov, encoding)[0] for _ in range(rounds)]
            later[encoding] = Cost(*(median(cost[n] for cost in costs) for n in range(2)))
        cost = str(sum(later["identity"]))
        loads = {
            "nothing": [],
            "scrapes": client(gov, "identity", EVERY),
            "as much CPU time": [sys.executable, "-c", BURN, cost, str(EVERY)],
        }
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in loads}
        for _ in range(rounds):
            for name, load in loads.items():
                with meanwhile(load):
                    took[name].append(latency(gov, made[0], calls))
    return Seen(lines, size, first, later, took)


def check(seen: Seen, containers: int) -> None:
    """Complete, and within the time there is; calls are as fast as otherwise."""
    assert seen.lines >= containers * LINES, seen
    for cost in (seen.first, *seen.later.values()):
        assert sum(cost) < MOST, seen
    calm, scraped = (
        median(half for half, _ in seen.calls[name]) for name in ("nothing", "scrapes")
    )
    assert scraped < 1.5 * calm, seen


if __name__ == "__main__":
    containers = int(sys.argv[1]) if sys.argv[1:] else 10_000
    seen = run(containers)
    print(f"scrapes: {containers} containers: {seen}")
    check(seen, containers)
