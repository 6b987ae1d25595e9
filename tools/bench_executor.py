#!/usr/bin/env python3
"""How governor.Executor compares: with ProcessPoolExecutor, and with starting Python for each task.

Everything is measured in turns within one run, so that a machine that grows slower does not look
like a difference; ratios are medians of the ratios of each turn.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import governor

WORKERS = 2


def seconds(what: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def submit(executor: Executor, tasks: int) -> None:
    """So many tasks that do nothing."""
    for future in [executor.submit(int) for _ in range(tasks)]:
        future.result()


def python(_: int = 0) -> None:
    """Start Python."""
    subprocess.run([sys.executable, "-c", "pass"], check=True)


def compare(name: str, turns: int, ways: dict[str, Callable[[], object]]) -> None:
    """Print what each way takes, and its ratio to the first."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(turns):
        for way, what in ways.items():
            taken[way].append(seconds(what))
    first = next(iter(ways))
    print(name)
    for way, times in taken.items():
        ratio = statistics.median(t / f for t, f in zip(times, taken[first], strict=True))
        print(f"  {way:42}{statistics.median(times) * 1000:9.1f} ms   x {ratio:.2f}")


def main() -> None:
    """Print all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    turns = parser.parse_args().turns
    once = governor.Executor(WORKERS, max_tasks_per_child=1)
    with (
        governor.Executor(WORKERS) as ours,
        ProcessPoolExecutor(WORKERS) as theirs,
        once,
        ThreadPoolExecutor(WORKERS) as threads,
    ):
        for executor in (ours, theirs, once):
            submit(executor, 10)
        compare(
            f"1000 tasks that do nothing, {WORKERS} workers",
            turns,
            {
                "ProcessPoolExecutor": lambda: submit(theirs, 1000),
                "governor.Executor": lambda: submit(ours, 1000),
            },
        )
        compare(
            "200 tasks, each in a process of its own",
            turns,
            {
                "governor.Executor, max_tasks_per_child=1": lambda: submit(once, 200),
                "subprocess, one after the other": lambda: [python() for _ in range(200)],
                f"subprocess, {WORKERS} at once": lambda: list(threads.map(python, range(200))),
            },
        )
        limited = ours.limited(tasks=8)
        compare(
            "20 tasks with limits of their own",
            turns,
            {
                "governor.Executor, limited(tasks=8)": lambda: submit(limited, 20),
                "subprocess, one after the other": lambda: [python() for _ in range(20)],
            },
        )


if __name__ == "__main__":
    main()
