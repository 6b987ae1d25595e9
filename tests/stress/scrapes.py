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
from pathlib import Path
from statistics import median
from typing import NamedTuple

from governor.api import Container, Governor
from tests.programs.build import compile

SUBSYSTEMS = ["numfiles", "cpuacct"]
LINES = 12
"""Series that a container has at least."""
MOST = 0.3
"""Seconds of CPU time that a scrape of 10,000 containers may take."""
EVERY = 0.8
CALLS, ROUNDS = 200_000, 4

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
    """The CPU time of all threads of a process."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


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


def latency(gov: Governor, container: Container) -> tuple[float, float]:
    """Microseconds of trapped calls: the median, and what 99 of 100 are faster than."""
    reading, writing = os.pipe()
    command = [compile("trap_latency"), str(CALLS)]
    with open(reading) as words, open(writing, "w") as end:
        job = gov.spawn(command, containers=[container], stdout=end)
        end.close()
        assert job.wait().exit_code == 0
        half, most = map(int, words.read().split())
    return half / 1e3, most / 1e3


def run(containers: int) -> None:
    """The whole load, a line for each figure."""
    with Governor(metrics=0) as gov:
        tree = gov.mount("load", SUBSYSTEMS)
        made = [tree.mkdir(f"/c{number}") for number in range(containers)]
        first, seen = scrape(gov)
        size, lines = map(int, seen.split())
        assert lines >= containers * LINES, lines
        print(f"scrapes: {containers} containers: {lines} lines, {size} bytes; the first {first}")
        costs = {}
        for encoding in ("identity", "gzip"):
            scrape(gov, encoding)
            later = [scrape(gov, encoding)[0] for _ in range(5)]
            costs[encoding] = Cost(*(median(cost[n] for cost in later) for n in range(2)))
            print(f"scrapes: later ones, {encoding}: {costs[encoding]}")
        cost = sum(costs["identity"])
        assert cost < MOST * max(1.0, containers / 10_000), cost
        loads = {
            "nothing": [],
            "scrapes": client(gov, "identity", EVERY),
            "another process uses as much CPU time": [
                sys.executable, "-c", BURN, str(cost), str(EVERY),
            ],
        }  # fmt: skip
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in loads}
        for _ in range(ROUNDS):
            for name, load in loads.items():
                with meanwhile(load):
                    found[name].append(latency(gov, made[0]))
        for name, rounds in found.items():
            halves, mosts = zip(*rounds, strict=True)
            print(
                f"scrapes: meanwhile {name}: median call {min(halves):.1f} - {max(halves):.1f} us, "
                f"99 of 100 faster than {min(mosts):.0f} - {max(mosts):.0f} us"
            )
        calm, scraped = (median(h for h, _ in found[name]) for name in ("nothing", "scrapes"))
        assert scraped < 1.5 * calm, (calm, scraped)


if __name__ == "__main__":
    run(int(sys.argv[1]) if sys.argv[1:] else 10_000)
