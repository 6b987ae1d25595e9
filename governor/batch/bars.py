"""The progress with bars and colours, where Rich is installed (``governor[progress]``).

Rich lays out the lines; the block is put on the screen, and taken off it, as without.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from governor.batch.listener import Now, Running
from governor.batch.progress import Line, LiveProgress, about
from governor.units import format_duration

_WIDEST = 100
"""Columns of a headline on a wide terminal, which one still sees at a glance."""
_JOB_BAR_CELLS = 10
_NAME_SHARE = 3
"""Names have one part in so many of the width, so that there is room for the rest."""


class BarProgress(LiveProgress):
    """A bar of all jobs, and one of each whose duration is known."""

    def _block(self, now: Now, moment: float, columns: int, rows: int) -> list[Line]:
        jobs, others, figures = self._shown(now, rows - 1)
        console = Console(
            file=io.StringIO(),
            width=max(1, columns),
            force_terminal=True,
            no_color=not self._colours,
            highlight=False,
            legacy_windows=False,
        )
        parts: list[RenderableType] = [self._bar(now, moment, min(columns, _WIDEST))]
        if jobs:
            parts.append(self._jobs(jobs, moment, columns))
        parts += [Text(line, style="dim", no_wrap=True) for line in (*others, *figures)]
        return [line for part in parts for line in _lines(console, part)][:rows]

    def _bar(self, now: Now, moment: float, columns: int) -> RenderableType:
        """What is done of all jobs, and how long the rest will take."""
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.width = columns
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=columns // _NAME_SHARE)
        grid.add_column(ratio=1, min_width=_JOB_BAR_CELLS)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        counts = Text(f"{self._done}/{self._total}")
        if self._failed:
            counts.append(f"  {self._failed} failed", style="red")
        if now.delayed:
            counts.append(f"  {now.delayed} to retry", style="yellow")
        seconds = self._seconds_left(now, moment)
        time = format_duration(moment - self._began) + ("" if seconds is None else about(seconds))
        bar = ProgressBar(
            total=max(1, self._total),
            completed=self._done,
            complete_style="red" if self._failed else "green",
            finished_style="green",
        )
        grid.add_row(Text(self._title, style="bold"), bar, counts, Text(time))
        return grid

    def _jobs(self, jobs: Sequence[Running], moment: float, columns: int) -> RenderableType:
        """The jobs that run: for how long, how far they may be, and where."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=2)
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=columns // _NAME_SHARE)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis", style="cyan")
        for job in jobs:
            ran = moment - job.since
            expected = self._forecast.expected(job.name)
            bar: RenderableType = ""
            if expected:
                bar = ProgressBar(
                    total=expected, completed=min(ran, expected), width=_JOB_BAR_CELLS
                )
            grid.add_row("", job.name, format_duration(ran), bar, " ".join(job.containers))
        return grid


def can_be_shown(stream: TextIO) -> bool:
    """Whether a stream's encoding has what bars are made of."""
    try:
        "━╸╺…".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _lines(console: Console, part: RenderableType) -> Iterator[Line]:
    """Yield the lines of a part, with the sequences that paint them."""
    for segments in console.render_lines(part, pad=False):
        cells = Segment.get_line_length(segments)
        with console.capture() as captured:
            console.print(*[Text(s.text, style=s.style or "") for s in segments], sep="", end="")
        yield captured.get(), cells
