"""All combinations, several at a time, with a table of what came of each.

    python -m tests.faults [--jobs N] [--seconds S] [--done FILE] [NAME ...]

NAME is the beginning of the names of those to run, such as ``takeover`` or ``place.Place:drop``.
With a FILE, what has been found right in an earlier run is not run again. No combination is
begun after so many SECONDS. Ends with 1 when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.judge import PROGRAMS, Verdict, can_enter, judge
from tests.faults.matrix import COMBINATIONS, POSSIBLE, Combination
from tests.process.helpers import program


def main() -> int:
    """Run them and print the table."""
    parser = argparse.ArgumentParser(prog="tests.faults", description="Named faults.")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--done", type=Path)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    possible = [c for c in POSSIBLE if c.step.protocol != "enter" or can_enter()]
    wanted = [c for c in possible if _is_named(c, options.names)]
    known = (
        set(options.done.read_text().split()) if options.done and options.done.exists() else set()
    )
    verdicts = _run([c for c in wanted if c.name not in known], options)
    _summary(wanted, known, verdicts)
    return int(any(v.violations for v in verdicts) or not verdicts)


def _known(done: Path | None) -> set[str]:
    return set(done.read_text().split()) if done is not None and done.exists() else set()


def _is_named(combination: Combination, names: list[str]) -> bool:
    return not names or any(combination.name.startswith(name) for name in names)


def _run(combinations: list[Combination], options: argparse.Namespace) -> list[Verdict]:
    end = time.monotonic() + options.seconds

    def one(combination: Combination) -> Verdict | None:
        if time.monotonic() > end:
            return None
        return judge(combination.step.name, combination.kind, combination.expected)

    verdicts = []
    for name in PROGRAMS:
        program(name)  # before several would compile it at once
    with ThreadPoolExecutor(options.jobs) as pool:
        for combination, verdict in zip(combinations, pool.map(one, combinations), strict=True):
            if verdict is None:
                continue
            verdicts.append(verdict)
            print(_line(combination, verdict), flush=True)
            if options.done and not verdict.violations:
                with options.done.open("a") as file:
                    file.write(combination.name + "\n")
    return verdicts


def _line(combination: Combination, verdict: Verdict) -> str:
    told = f"  ({'; '.join(verdict.told)})" if verdict.told else ""
    line = f"{combination.name:42} {verdict.outcome:8} {verdict.seconds:5.1f} s{told}"
    return "\n".join([line, *(f"    VIOLATION: {what}" for what in verdict.violations)])


def _summary(wanted: list[Combination], known: set[str], verdicts: list[Verdict]) -> None:
    reasons = Counter(c.why_not for c in COMBINATIONS if c.why_not)
    for reason, count in reasons.most_common():
        print(f"{count:5} not tried: {reason}")
    print(f"{len(known & {c.name for c in wanted}):5} found right before")
    for outcome, count in Counter(v.outcome for v in verdicts).most_common():
        print(f"{count:5} {outcome}")
    print(f"{sum(bool(v.violations) for v in verdicts):5} with violations, of {len(verdicts)}")


if __name__ == "__main__":
    sys.exit(main())
