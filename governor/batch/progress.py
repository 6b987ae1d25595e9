"""What a batch shows while it runs: a line per job that ends, on a terminal a live block below."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from governor.batch.listener import Listener, Now, Running
from governor.batch.plan import one_line
from governor.report import OK, SKIPPED, JobReport
from governor.summary import noun, number, resources
from governor.units import UNLIMITED, format_duration

if TYPE_CHECKING:
    from governor.api import ContainerReport

Write = Callable[[str], None]
ReadContainers = Callable[[], "Sequence[ContainerReport]"]

FIGURES_SECONDS: Final = 1.0
"""How old the containers' figures may be: each reading of them is a recount."""

_UP_AND_ERASE = "\x1b[{}A\r\x1b[J"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_GREEN, _RED, _RESET = "\x1b[32m", "\x1b[31m", "\x1b[0m"


class Progress(Listener):
    """Plain lines, for files and pipes. ``total`` is the number of jobs, ``done`` of it before."""

    def __init__(self, write: Write, total: int, done: int = 0) -> None:
        self._write = write
        self._total = total
        self._done = done
        self._failed = 0
        self._skipped = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put right."""

    def finished(self, job: JobReport) -> None:
        """Show that a job has ended."""
        self._done += 1
        self._failed += job.status not in (OK, SKIPPED)
        self._skipped += job.status == SKIPPED
        attempts = len(job.attempts)
        self._line(
            self._painted(f"{job.status:<7}", _GREEN if job.status == OK else _RED),
            job,
            how_it_ended(job) if job.status != OK else "",
            f"{attempts} attempts" if attempts > 1 else "",
        )

    def retrying(self, report: JobReport, seconds: float) -> None:
        """Show that a job has failed for now."""
        again = f"again in {format_duration(seconds)}"
        self._line(self._painted(f"{'retry':<7}", _RED), report, how_it_ended(report), again)

    def _line(self, word: str, job: JobReport, *remarks: str) -> None:
        """Show a line about a job."""
        width = len(str(self._total))
        took = "" if job.status == SKIPPED else f" {format_duration(job.wall_seconds)}"
        told = ", ".join(filter(None, remarks))
        self.message(
            f"[{self._done:>{width}}/{self._total}] {word} {job.name}{took}"
            + (f" ({told})" if told else "")
        )

    def message(self, text: str) -> None:
        """Show a line that stays."""
        self._write(f"{text}\n")

    def _painted(self, text: str, colour: str) -> str:
        return text


class LiveProgress(Progress):
    """The same lines, and below them a block that is drawn anew at every tick."""

    def __init__(
        self, write: Write, total: int, title: str, read: ReadContainers, done: int = 0
    ) -> None:
        super().__init__(write, total, done)
        self._title = one_line(title)
        self._read = read
        self._began = time.monotonic()
        self._drawn: list[str] = []
        self._figures: list[str] = []
        self._figures_at = -FIGURES_SECONDS
        # https://no-color.org: any value but the empty one.
        self._colours = not os.environ.get("NO_COLOR")

    def __enter__(self) -> LiveProgress:
        self._write(_HIDE_CURSOR)
        return self

    def __exit__(self, *_: object) -> None:
        self._write(self._erased() + _SHOW_CURSOR)

    def message(self, text: str) -> None:
        """Show a line that stays, in the place of the block, which comes back at the next tick."""
        self._write(f"{self._erased()}{text}\n")

    def tick(self, now: Now) -> None:
        """Draw the block."""
        moment = time.monotonic()
        if moment - self._figures_at >= FIGURES_SECONDS:
            self._figures = list(figures(self._read()))
            self._figures_at = moment
        size = shutil.get_terminal_size()
        lines = [self._headline(now, moment)]
        lines += [job_line(job, moment) for job in now.running] + self._figures
        # A line of the full width, or a block of the full height, would make the terminal scroll.
        shown = [line[: size.columns - 1] for line in lines[: max(1, size.lines - 1)]]
        erased = self._erased()
        self._drawn = shown
        self._write(erased + "".join(f"{line}\n" for line in shown))

    def _headline(self, now: Now, moment: float) -> str:
        """How many jobs are where."""
        succeeded = self._done - self._failed - self._skipped
        counts = [f"{len(now.running)} running", f"{succeeded} ok", f"{self._failed} failed"]
        if self._skipped:
            counts.append(f"{self._skipped} skipped")
        counts.append(f"{now.waiting} left")
        if now.delayed:
            counts.append(f"{now.delayed} to be retried")
        return f"{self._title}: {', '.join(counts)}  {format_duration(moment - self._began)}"

    def _erased(self) -> str:
        """Return what takes the block off the screen, which may have become narrower since."""
        columns = shutil.get_terminal_size().columns
        rows = sum(max(1, -(-len(line) // columns)) for line in self._drawn)
        self._drawn = []
        return _UP_AND_ERASE.format(rows) if rows else ""

    def _painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours else text


def suits(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that a live block can be drawn on."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def how_it_ended(job: JobReport) -> str:
    """Return the reason a job did not succeed, in a few words."""
    if reason := job.error or job.unmet or job.skipped:
        return reason
    if job.cpu_timed_out:
        return "used up its CPU time"
    if job.timed_out:
        return "timed out"
    if job.signal:
        return f"killed by {signal.Signals(job.signal).name}"
    return f"exit {job.exit_code}" if job.exit_code is not None else "ended with the batch"


def job_line(job: Running, now: float) -> str:
    """Return the block's line for a job that runs."""
    return f"  {job.name}  {format_duration(now - job.since)}  {' '.join(job.containers)}".rstrip()


def figures(containers: Sequence[ContainerReport]) -> Iterator[str]:
    """Yield a line for every container with a limit: what it holds of it, and what it refused."""
    for container in containers:
        parts = []
        for resource in resources(container.files):
            limit = container.files.get(f"{resource}.limit", "max")
            if limit not in ("max", UNLIMITED):
                held = number(container.files[f"{resource}.held"])
                parts.append(f"{noun(resource)} {held}/{number(limit)}")
                if refused := container.files.get(f"{resource}.failcnt", 0):
                    parts[-1] += f" ({number(refused)} refused)"
        if parts:
            yield f"  {container.hierarchy}:{container.path}  {'  '.join(parts)}"
