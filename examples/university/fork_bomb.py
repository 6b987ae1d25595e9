"""A badly behaved student: a fork bomb that succeeds only when it is refused.

Every task tries to multiply twenty times a second for a few seconds, in every way that
makes life hard for whoever counts: children, sessions of their own, orphans, threads,
tasks that kill themselves. It exits with 0 when forks or threads were refused with EAGAIN.

It is harmless all the same: it never makes more than BUDGET tasks, refused or not, and
all of them end with the first one, even if that is killed.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import time
from collections.abc import Callable
from threading import Thread

BUDGET = 400
SECONDS = 5.0
PAUSE = 0.05

Body = Callable[[], object]


class Bomb:
    """What all tasks of the bomb share: three pipes."""

    def __init__(self) -> None:
        # One byte per task that may still be made. Reading one is atomic, so that the
        # budget is never overdrawn, however many tasks draw on it.
        self.budget, self.budget_writer = os.pipe()
        os.write(self.budget_writer, bytes(BUDGET))
        os.set_blocking(self.budget, False)
        # Reaches its end when the first task closes the other side or dies.
        self.fuse, self.fuse_writer = os.pipe()
        # One byte per refusal; reaches its end when every task is gone.
        self.refusals, self.refusals_writer = os.pipe()

    def start(self, make: Body) -> None:
        """Make one task if the budget allows; note the refusal if the system does not."""
        try:
            os.read(self.budget, 1)
        except BlockingIOError:
            return
        try:
            make()
        except (BlockingIOError, RuntimeError) as error:
            # EAGAIN is BlockingIOError from fork, RuntimeError from a thread's start.
            os.write(self.budget_writer, b".")
            os.write(self.refusals_writer, b"f" if isinstance(error, OSError) else b"t")

    def fork(self, body: Body) -> None:
        """Make a child that runs ``body`` and ends."""

        def make() -> None:
            if os.fork() == 0:
                with contextlib.suppress(OSError):
                    os.close(self.fuse_writer)
                try:
                    body()
                finally:
                    os._exit(0)

        self.start(make)

    def burnt_out(self, seconds: float) -> bool:
        """Wait up to ``seconds``; tell whether the bomb is over."""
        return bool(select.select([self.fuse], [], [], seconds)[0])

    def multiply(self) -> None:
        """Live for a while and start others meanwhile."""
        ways = [self.child, self.session, self.orphan, self.threads]
        end = time.monotonic() + random.uniform(0.5, 2)
        while time.monotonic() < end and not self.burnt_out(PAUSE):
            random.choice(ways)()
        if random.random() < 0.5:
            os.kill(os.getpid(), signal.SIGKILL)

    def child(self) -> None:
        """Start a plain child."""
        self.fork(self.multiply)

    def session(self) -> None:
        """Start a child that leaves our session and process group."""

        def body() -> None:
            os.setsid()
            self.multiply()

        self.fork(body)

    def orphan(self) -> None:
        """Start a grandchild whose parent ends at once."""
        self.fork(self.child)

    def threads(self) -> None:
        """Start a child with four threads that live for half a second."""

        def body() -> None:
            for _ in range(4):
                self.start(Thread(target=self.burnt_out, args=[0.5], daemon=True).start)
            self.burnt_out(0.5)

        self.fork(body)

    def count_refusals(self) -> tuple[int, int]:
        """Return how many forks and threads were refused, when the bomb is over."""
        seen = b""
        end = time.monotonic() + SECONDS
        while select.select([self.refusals], [], [], max(0.0, end - time.monotonic()))[0]:
            seen += (more := os.read(self.refusals, 4096))
            if not more:
                break
        os.close(self.fuse_writer)
        while more := os.read(self.refusals, 4096):
            seen += more
        return seen.count(b"f"), seen.count(b"t")


def main() -> int:
    """Run the bomb; return 0 when it was refused tasks."""
    # A parent that ignores this signal never waits: the kernel reaps its children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    bomb = Bomb()
    bomb.child()
    os.close(bomb.refusals_writer)
    forks, threads = bomb.count_refusals()
    if forks + threads == 0:
        print(f"was not refused any of its {BUDGET} tasks")
        return 1
    print(f"was refused {forks} forks and {threads} threads with EAGAIN")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
