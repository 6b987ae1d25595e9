"""Very many containers: made, limited, read, scraped and removed.

Run as ``python -m tests.stress.wide [CONTAINERS]``. What is wrong fails an assertion.
"""

from __future__ import annotations

import sys
import time
import urllib.request

from governor.api import Governor
from governor.api.container import snapshot
from tests.stress.watch import DEADLINE, Watch, descriptors, in_words

PARENTS = 10


class Stopwatch:
    """Notes how long the parts of a load take."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._parts: list[str] = []

    def lap(self, part: str, each: int = 1) -> None:
        """A part is over; with ``each``, it was done so many times."""
        now = time.monotonic()
        took = (now - self._since) / each
        self._parts.append(f"{part} {took:.2f} s" if took >= 0.1 else f"{part} {took * 1e3:.2f} ms")
        self._since = now

    def __str__(self) -> str:
        return ", ".join(self._parts)


def run(gov: Governor, count: int) -> str:
    """The whole load; what came of it, in a line. The governor has to serve metrics."""
    tree = gov.mount("load", ["numtasks", "cpuacct"])
    watch = Watch(gov)
    scrape(gov)  # it has a connection of its own
    before, clock = watch.rest(), Stopwatch()
    parents = [tree.mkdir(f"/p{n}") for n in range(PARENTS)]
    made = [parents[n % PARENTS].mkdir(f"c{n}") for n in range(count)]
    clock.lap("mkdir", count)
    for n, container in enumerate(made):
        container["numtasks.limit"] = n + 1
    clock.lap("limit", count)
    limits = {report.path: report.files["numtasks.limit"] for report in snapshot(gov.client)}
    assert [limits[container.path] for container in made] == list(range(1, count + 1))
    clock.lap("read all")
    text = scrape(gov)
    assert text.count("\ngovernor_numtasks_limit{") == count + PARENTS + 1
    clock.lap(f"scrape of {len(text) >> 20} MiB")
    for container in made[:: max(1, count // 20)]:
        assert gov.spawn(["true"], containers=[container]).wait(DEADLINE).exit_code == 0
    clock.lap("job", len(made[:: max(1, count // 20)]))
    most = watch.rest()
    for container in reversed(made):
        container.rmdir()
    clock.lap("rmdir", count)
    for parent in parents:
        parent.rmdir()
    assert gov.status().containers == 1
    after = watch.rest()
    assert descriptors(after) == descriptors(before), (before, after)
    each = (most["supervisor"].resident - before["supervisor"].resident) * 1024 / count
    return (
        f"{count} containers: {clock}; {each:.0f} bytes of the supervisor for each; "
        f"at most {in_words(before, most)}; afterwards {in_words(before, after)}"
    )


def scrape(gov: Governor) -> str:
    """What Prometheus is told."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gov.metrics_port}/metrics") as answer:
        text: str = answer.read().decode()
    return text


if __name__ == "__main__":
    with Governor(metrics=0) as own:
        print("wide:", run(own, int(sys.argv[1]) if sys.argv[1:] else 10_000))
