"""A list that draws only the lines that can be seen, so that it may be thousands long."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from governor.top.table import BAD, DIM, GOOD, PLAIN, WARN, Cell

Line = Callable[[int], list[Cell]]
"""Gives the line of a number."""

STYLES = {
    PLAIN: Style.null(),
    DIM: Style(dim=True),
    GOOD: Style(color="green"),
    WARN: Style(color="yellow", bold=True),
    BAD: Style(color="red", bold=True),
}
_CHOSEN = Style(bgcolor="#264f78", bold=True)


def to_strip(cells: Iterable[Cell], base: Style | None = None) -> Strip:
    """A line of cells in colours, over ``base``."""
    under = base or Style.null()
    return Strip([Segment(cell.text, under + STYLES[cell.style]) for cell in cells])


class LineList(ScrollView):
    """``show(count, line)`` gives it lines; ``cursor`` is the one that is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,ctrl+p", "move(-1)", show=False),
        Binding("down,ctrl+n", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000000)", show=False),
        Binding("end", "move(1000000000)", show=False),
    ]

    can_focus = True

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.cursor = 0
        self._count = 0
        self._line: Line = lambda number: []

    def show(self, count: int, line: Line, cursor: int | None = None) -> None:
        """Show ``count`` lines, which ``line(number)`` gives; the cursor goes along."""
        self._count, self._line = count, line
        # The width stays that of the widget: lines are made to fit it.
        self.virtual_size = Size(0, count)
        self._choose(self.cursor if cursor is None else cursor)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The line that is ``y`` lines below the upper edge."""
        number = y + self.scroll_offset.y
        base = self.rich_style
        if number >= self._count:
            return Strip.blank(self.size.width, base)
        if number == self.cursor:
            base += _CHOSEN
        strip = to_strip(self._line(number), base)
        return strip.adjust_cell_length(self.size.width, base)

    def action_move(self, by: int) -> None:
        """Choose another line."""
        self._choose(self.cursor + by)
        self.refresh()

    def action_page(self, by: int) -> None:
        """Choose a line a screen away."""
        self.action_move(by * max(1, self.size.height - 1))

    def on_click(self, event: events.Click) -> None:
        """Choose the line that was clicked at."""
        self._choose(event.y + self.scroll_offset.y)
        self.refresh()

    def _choose(self, number: int) -> None:
        number = min(max(number, 0), max(0, self._count - 1))
        if number != self.cursor:  # who has scrolled elsewhere to look may stay there
            self.cursor = number
            self.scroll_to_region(Region(0, number, 1, 1), animate=False, force=True)
