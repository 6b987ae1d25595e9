"""``governor top`` without Textual: a table, or JSON, that is printed once or again and again."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from governor.top.model import Figures, View, arrange, nouns
from governor.top.source import Source, as_json
from governor.top.table import cells, columns, headline, titles, to_text

if TYPE_CHECKING:
    from governor.api import Governor

Show = Callable[[str], bool]
"""Prints a text; False when nobody reads any more."""

_HOME_AND_ERASE: Final = "\x1b[H\x1b[J"
_OTHER_LINES: Final = 4


class Plain:
    """Prints what a governor does, as ``view`` says, every ``interval`` seconds.

    ``once``: only once, an interval after the first look, so that there are rates. ``drawn``:
    with more than ASCII.
    """

    def __init__(
        self, governor: Governor, view: View, interval: float, once: bool, drawn: bool, show: Show
    ) -> None:
        self._source = Source(governor, interval)
        self._pid = governor.pid
        self._view = view
        self._once = once
        self._drawn = drawn
        self._show = show

    def run_table(self) -> None:
        """Print tables until nobody reads them."""
        for figures in self._looks():
            if not self._show(self._table(figures)):
                return

    def run_json(self) -> None:
        """Print lines of JSON until nobody reads them."""
        for figures in self._looks():
            rows = [as_json(row.figures) for row in arrange(figures, self._view)]
            value = {"time": round(time.time(), 3), "pid": self._pid, "containers": rows}
            if not self._show(json.dumps(value, ensure_ascii=False)):
                return

    def _looks(self) -> Iterator[list[Figures]]:
        figures = self._source.look()
        while True:
            if not self._once:
                yield figures
            time.sleep(self._source.pause)
            figures = self._source.look()
            if self._once:
                yield figures
                return

    def _table(self, figures: Sequence[Figures]) -> str:
        """What is printed at once: on a terminal that is as wide as that, elsewhere as it takes."""
        rows = arrange(figures, self._view)
        width, most = None, len(rows)
        if sys.stdout is not None and sys.stdout.isatty():
            width, height = shutil.get_terminal_size()
            if not self._once:
                most = max(1, height - _OTHER_LINES)
        table = columns(rows, nouns(row.figures for row in rows), width)
        lines = [
            headline(figures, f"governor {self._pid}"),
            to_text(titles(table, self._view.sort)),
            *(to_text(cells(row, table, self._drawn)) for row in rows[:most]),
        ]
        if len(rows) > most:
            lines.append(f"... and {len(rows) - most:,} more")
        text = "\n".join(line[:width] for line in lines)
        if self._once:
            return text
        if width is None or os.environ.get("TERM", "dumb") == "dumb":
            return f"{text}\n"
        return _HOME_AND_ERASE + text
