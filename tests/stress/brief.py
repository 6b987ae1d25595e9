"""Very many processes that live for a millisecond: how much of their CPU time who has seen.

Run as ``python -m tests.stress.brief [PROCESSES]``. Governor's metric, the kernel's own cpuacct
cgroup (for root, where there is one), and a sampler that looks at /proc now and then, as monitors
do that have nothing but that. What is wrong fails an assertion.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from governor.api import Governor
from tests.programs.build import compile

CPUACCT = Path("/sys/fs/cgroup/cpuacct")
METRIC = "governor_cpuacct_usage_seconds_total"
TICK = 1 / os.sysconf("SC_CLK_TCK")
EVERY = 0.1


class Seen(NamedTuple):
    """Seconds of CPU time. ``told``: what the kernel told the job's first process."""

    told: float
    metric: float
    parts: float
    """User and system time by their own metrics."""
    kernel: float | None
    sampled: float

    def __str__(self) -> str:
        kernel = "none" if self.kernel is None else f"{self.kernel:.3f} s"
        return (
            f"governor {self.metric:.3f} s, cpuacct cgroup {kernel}, the parent's rusage "
            f"{self.told:.3f} s, sampled every {EVERY} s {self.sampled:.3f} s"
        )


def run(processes: int, microseconds: int = 1000) -> Seen:
    """One after the other, so many processes that each use so much and end."""
    tree = [compile("cpu_tree", "-pthread"), "flat", str(processes), str(microseconds)]
    reading, writing = os.pipe()
    with Governor(metrics=0) as governor, _cgroup() as path, open(reading) as words:
        container = governor.mount("cpu", ["cpuacct"]).mkdir("/brief")
        enter = f'test -z "{path or ""}" || echo $$ >"{path}/cgroup.procs"; exec "$@"'
        with open(writing, "w") as end:
            job = governor.spawn(
                ["sh", "-c", enter, "-", *tree], containers=[container], stdout=end
            )
        with _sampling(job.pid) as sampler:
            result = job.wait()
        assert result.exit_code == 0, result
        metrics = scraped(governor.metrics_port, "/brief")
        kernel = None if path is None else int((path / "cpuacct.usage").read_text()) / 1e9
        told = int(words.read()) / 1e9
    parts = metrics[METRIC.replace("usage", "usage_user")]
    parts += metrics[METRIC.replace("usage", "usage_sys")]
    return Seen(told, metrics[METRIC], parts, kernel, sampler.seen)


def scraped(port: int | None, container: str) -> dict[str, float]:
    """The samples of a container, by name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("container") == container
    }


@contextlib.contextmanager
def _cgroup() -> Iterator[Path | None]:
    if os.geteuid() != 0 or not (CPUACCT / "cpuacct.usage").exists():
        yield None
        return
    path = Path(tempfile.mkdtemp(prefix="governor-test-", dir=CPUACCT))
    try:
        yield path
    finally:
        path.rmdir()


class _Sampler:
    """Adds up what the processes of a session have used since it saw them last."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._last: dict[tuple[int, int], float] = {}
        self._stop = threading.Event()

    @property
    def seen(self) -> float:
        """Seconds."""
        return sum(self._last.values())

    def work(self) -> None:
        """Look now and then, until stopped."""
        while not self._stop.wait(EVERY):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) == self._session:
                        used = (int(fields[11]) + int(fields[12])) * TICK
                        self._last[int(pid), int(fields[19])] = used

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()


@contextlib.contextmanager
def _sampling(session: int) -> Iterator[_Sampler]:
    sampler = _Sampler(session)
    thread = threading.Thread(target=sampler.work)
    thread.start()
    try:
        yield sampler
    finally:
        sampler.stop()
        thread.join()


def check(seen: Seen) -> None:
    """Nothing is missing: within 1 % or 20 ms, for who enters a cgroup later."""
    for other in filter(None, (seen.told, seen.kernel)):
        assert abs(seen.metric - other) <= max(other / 100, 0.02), seen
    assert abs(seen.metric - seen.parts) < 1e-6, seen


if __name__ == "__main__":
    processes = int(sys.argv[1]) if sys.argv[1:] else 10_000
    seen = run(processes)
    print(f"brief: {processes} processes of 1 ms: {seen}")
    check(seen)
