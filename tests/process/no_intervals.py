"""Runs a job under a supervisor that never looks anywhere unless it is woken.

    python -m tests.process.no_intervals

Whatever it waits for, it waits for without end. Its agents are killed, when nothing goes on and
when a question is on the way. Prints how often the job was answered and how many were replaced.
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Sequence
from typing import Any

import governor
from governor import launch
from governor.transport import Poller
from tests.process.helpers import puppet
from tests.process.test_takeover import agent

KILLS = 5


def _wait_without_end() -> None:
    """In this process and all that are forked from it; what looks without waiting still does."""
    poll, wait = Poller.poll, select.select

    def wait_for_messages(self: Poller, timeout: float | None) -> set[object]:
        return poll(self, 0 if timeout == 0 else None)

    def wait_for_files(
        r: Sequence[Any], w: Sequence[Any], x: Sequence[Any], timeout: float | None = None
    ) -> tuple[list[Any], list[Any], list[Any]]:
        return wait(r, w, x, 0 if timeout == 0 else None)

    setattr(Poller, "poll", wait_for_messages)  # noqa: B010 - mypy lets no method be assigned
    setattr(select, "select", wait_for_files)  # noqa: B010


def _plant() -> None:
    """Only in the supervisor: this process is to ask and to wait as always."""
    serve = launch._serve

    def without_end(*arguments: Any) -> int:
        _wait_without_end()
        return serve(*arguments)

    setattr(launch, "_serve", without_end)  # noqa: B010


def main() -> None:
    """See the module."""
    _plant()
    with governor.Governor(fork=True) as gov:
        box = gov.mount("load", ["numtasks"]).mkdir("/box")
        box["numtasks.limit"] = 2
        answered = 0
        with puppet(gov, box) as job:
            for turn in range(2 * KILLS):
                os.kill(agent(gov), signal.SIGKILL)
                if turn % 2:
                    answered += box["numtasks.held"] == 1
                job.make()
                answered += job.is_refused()
                job.end(1)
        said = [answered, gov.status().agent_restarts]
    print(json.dumps(said))


if __name__ == "__main__":
    main()
