"""Runs jobs under a governor that counts their memory very slowly; prints what came of it.

    python -m tests.process.slow_counts

A count takes twice as long as an agent may say nothing. The last line says how many agents were
replaced. The governor is a fork of this process, and so are its agents.
"""

from __future__ import annotations

import json
import time

import governor
from governor.memory import Memory
from tests.process.helpers import eventually
from workers.resources.physpages import Counted

TIMEOUT = 1.0
JOBS = 8


def one_page(pid: int, space: Memory) -> int:
    """As for a process of many gigabytes."""
    time.sleep(2 * TIMEOUT / JOBS)
    return 1


def main() -> None:
    """See the module."""
    Counted.measure = staticmethod(one_page)
    with governor.Governor(fork=True, agent_timeout=TIMEOUT) as gov:
        box = gov.mount("load", ["physpages"]).mkdir("/box")
        for _ in range(JOBS):
            gov.spawn(["sleep", "600"], containers=[box])
        eventually(lambda: box["physpages.held"] == JOBS, "all are counted")
        restarts = gov.status().agent_restarts
    print(json.dumps(restarts))


if __name__ == "__main__":
    main()
