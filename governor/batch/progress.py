"""What a batch shows while it runs: a line per job that ends, on a terminal a live block below."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from governor.batch.forecast import Forecast
from governor.batch.listener import Listener, Now, Running
from governor.batch.plan import one_line
from governor.report import OK, SKIPPED, JobReport
from governor.summary import noun, number, resources
from governor.units import UNLIMITED, format_duration

if TYPE_CHECKING:
    from governor.api import ContainerReport

Write = Callable[[str], None]
ReadContainers = Callable[[], "Sequence[ContainerReport]"]
Line = tuple[str, int]
"""A line for the screen, and how many cells it takes there."""

FIGURES_SECONDS: Final = 1.0
"""How old the containers' figures may be: each reading of them is a recount."""

_SHARE: Final = 10
"""Drawing takes at most one part in so many of the time."""

_LEAST_TITLE: Final = 8
"""Characters of a title that remain where there is no room for it."""

# Its first line by itself: tmux keeps what is erased from the top of the screen on, at every tick.
_UP_AND_ERASE = "\x1b[{}A\r\x1b[K\n\x1b[J\x1b[A"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_GREEN, _RED, _RESET = "\x1b[32m", "\x1b[31m", "\x1b[0m"


class Progress(Listener):
    """Plain lines, for files and pipes.

    ``total`` is the number of jobs, of which ``done`` have ended before, and ``failed`` badly.
    """

    def __init__(self, write: Write, total: int, done: int = 0, failed: int = 0) -> None:
        self._write = write
        self._total = total
        self._done = done
        self._failed = failed
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
    """The same lines, and below them a block that is drawn anew at every tick.

    ``names`` are those of the jobs to run, of which ``forecast`` knows how long they take.
    """

    def __init__(
        self,
        write: Write,
        total: int,
        title: str,
        read: ReadContainers,
        names: Iterable[str],
        forecast: Forecast,
        done: int = 0,
        failed: int = 0,
    ) -> None:
        super().__init__(write, total, done, failed)
        self._title = one_line(title)
        self._read = read
        self._left = dict.fromkeys(names)  # as a set that keeps their order
        self._forecast = forecast
        self._began = time.monotonic()
        self._drawn: list[Line] = []
        self._next = 0.0
        self._figures: list[str] = []
        self._figures_at = -FIGURES_SECONDS
        # https://no-color.org: any value but the empty one.
        self._colours = not os.environ.get("NO_COLOR")

    def __enter__(self) -> LiveProgress:
        self._write(_HIDE_CURSOR)
        return self

    def __exit__(self, *_: object) -> None:
        self._write(self._erased() + _SHOW_CURSOR)

    def finished(self, job: JobReport) -> None:
        """Show that a job has ended, and learn from it how long one takes."""
        self._left.pop(job.name, None)
        if job.exit_code is not None:
            self._forecast.ended(job.wall_seconds)
        super().finished(job)

    def message(self, text: str) -> None:
        """Show a line that stays, above the block."""
        block = self._drawn
        self._write(f"{self._erased()}{text}\n{_on_screen(block)}")
        self._drawn = block

    def tick(self, now: Now) -> None:
        """Draw the block, unless that would take too much of the time: jobs may end in crowds."""
        moment = time.monotonic()
        if moment < self._next:
            return
        if moment - self._figures_at >= FIGURES_SECONDS:
            self._figures = list(figures(self._read()))
            self._figures_at = moment
        size = shutil.get_terminal_size()
        # A line of the full width, or a block of the full height, would make the terminal scroll.
        block = self._block(now, moment, size.columns - 1, max(1, size.lines - 1))
        self._write(self._erased() + _on_screen(block))
        self._drawn = block
        self._next = moment + _SHARE * (time.monotonic() - moment)

    def _block(self, now: Now, moment: float, columns: int, rows: int) -> list[Line]:
        """Return the lines of the block, as many as ``rows`` at most."""
        jobs, others, figures = self._shown(now, rows - 1)
        lines = [self._headline(now, moment, columns)]
        lines += [job_line(job, moment) for job in jobs] + others + figures
        shown = [line[:columns] for line in lines[:rows]]
        return [(line, len(line)) for line in shown]

    def _shown(self, now: Now, rows: int) -> tuple[Sequence[Running], list[str], list[str]]:
        """Return the running jobs and figures that fit into ``rows``, and what is said of others.

        Figures of limits have a third of the place, and more where jobs leave it.
        """
        figures = self._figures[: max(rows // 3, rows - len(now.running))]
        place = max(0, rows - len(figures))
        if len(now.running) <= place:
            return now.running, [], figures
        jobs = now.running[: max(0, place - 1)]
        return jobs, [f"  and {len(now.running) - len(jobs)} others"][:place], figures

    def _headline(self, now: Now, moment: float, columns: int) -> str:
        """How many jobs are where, and how long it takes; of the title what there is room for."""
        succeeded = self._done - self._failed - self._skipped
        ended = f"{succeeded} ok, {self._failed} failed"
        if self._skipped:
            ended += f", {self._skipped} skipped"
        again = f" ({now.delayed} to retry)" if now.delayed else ""
        left = "" if (seconds := self._seconds_left(now, moment)) is None else about(seconds)
        text = (
            f": {len(now.running)} running, {ended}, {now.waiting} left{again}  "
            f"{format_duration(moment - self._began)}{left}"
        )
        return self._title[: max(_LEAST_TITLE, columns - len(text))] + text

    def _seconds_left(self, now: Now, moment: float) -> float | None:
        running = {job.name: moment - job.since for job in now.running}
        waiting = [name for name in self._left if name not in running]
        return self._forecast.left(list(running.items()), waiting)

    def _erased(self) -> str:
        """Return what takes the block off the screen, which may have become narrower since."""
        columns = shutil.get_terminal_size().columns
        rows = sum(max(1, -(-cells // columns)) for _, cells in self._drawn)
        self._drawn = []
        return _UP_AND_ERASE.format(rows) if rows else ""

    def _painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours else text


def _on_screen(block: Sequence[Line]) -> str:
    return "".join(f"{line}\n" for line, _ in block)


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


def about(seconds: float) -> str:
    """Return what a headline says of the time that is left, which is a guess."""
    whole = max(1, round(seconds))
    return f", about {f'{whole} s' if whole < 60 else format_duration(whole)} left"


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
