"""The screens of ``governor top``: all containers, and the processes of one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from governor.top.dialogs import Ask, Line
from governor.top.lines import LineList
from governor.top.model import Figures, Key, Row, View, arrange, hierarchies, nouns, sorts
from governor.top.table import (
    DIM,
    Cell,
    Column,
    cells,
    columns,
    fitted,
    headline,
    printable,
    titles,
)

if TYPE_CHECKING:
    from governor.api import ProcessReport
    from governor.top.app import TopApp

T = TypeVar("T")


class Looking(Screen[None]):
    """A screen whose ``look`` is repeated while it is there, at once after ``look_again``."""

    CSS = """
    #headline { height: 1; text-style: bold; background: $panel; }
    #titles { height: 1; }
    LineList { height: 1fr; overflow-x: hidden;
               scrollbar-gutter: stable; scrollbar-size-vertical: 1; }
    #filter { display: none; }
    """

    app: TopApp

    def __init__(self) -> None:
        super().__init__()
        self._again = asyncio.Event()

    def compose(self) -> ComposeResult:
        """A line about it all, titles, lines, and the keys."""
        yield Static("", id="headline", markup=False)
        yield Static("", id="titles")
        yield LineList("lines")
        yield Line(placeholder="words in the path", id="filter", compact=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Begin."""
        self.lines.focus()
        self.run_worker(self._keep_looking())

    def on_resize(self) -> None:
        """Lines are made for a width."""
        self._show_again()

    @property
    def lines(self) -> LineList:
        """The list."""
        return self.query_one(LineList)

    async def _keep_looking(self) -> None:
        while await self.app.attempt(self.look):
            self._show_again()
            self._again.clear()
            try:
                await asyncio.wait_for(self._again.wait(), self.app.pause)
            except TimeoutError:
                continue

    def _show_again(self) -> None:
        """Show it, unless it is being built or taken down just now."""
        if len(self.query("#headline, #titles, #lines")) == 3:
            self.show()

    def look_again(self) -> None:
        """Look now."""
        self._again.set()

    async def look(self) -> None:
        """Get what is shown."""
        raise NotImplementedError

    def show(self) -> None:
        """Show it."""
        raise NotImplementedError

    def tell(self, headline: str, titles: Sequence[Cell]) -> None:
        """Set the two lines above the list."""
        from rich.text import Text

        from governor.top.lines import STYLES

        self.query_one("#headline", Static).update(headline)
        line = Text(no_wrap=True)
        for cell in titles:
            line.append(cell.text, STYLES[cell.style])
        self.query_one("#titles", Static).update(line)

    def ask(
        self,
        question: str,
        value: str,
        do: Callable[[str], str | None],
        offers: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        """Ask for a text and do something with it, where it may wait; then look again."""

        async def carry(text: str) -> str | None:
            return await self.app.call(lambda: do(text))

        def then(said: str | None) -> None:
            if said:
                self.notify(said, markup=False)
            self.look_again()

        async def find() -> Sequence[str]:
            return await self.app.try_call(offers) or () if offers is not None else ()

        self.app.push_screen(Ask(question, value, carry, find), then)

    def complain(self, words: str) -> None:
        """Say that something cannot be done."""
        self.notify(words, severity="warning", markup=False)


class Containers(Looking):
    """All containers as trees or as a list."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", "Quit"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "clear", show=False),
        Binding("s", "sort", "Sort"),
        Binding("h", "hierarchy", "Hierarchy"),
        Binding("t", "flat", "Tree"),
        Binding("space", "fold", "Fold", key_display="spc"),
        Binding("left", "fold(True)", show=False),
        Binding("right", "fold(False)", show=False),
        Binding("minus", "fold_all(True)", show=False),
        Binding("plus", "fold_all(False)", show=False),
        Binding("enter,p", "processes", "Procs", key_display="p"),
        Binding("l", "limit", "Limit"),
        Binding("k", "kill", "Kill"),
    ]

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view
        self._figures: list[Figures] = []
        self._rows: list[Row] = []
        self._columns: list[Column] = []

    async def look(self) -> None:
        """Get the figures of all containers."""
        self._figures = await self.app.call(self.app.source.look)

    def show(self) -> None:
        """Arrange them anew; the cursor stays on its container."""
        chosen = self._chosen()
        self._rows = rows = arrange(self._figures, self.view)
        self._columns = columns(rows, nouns(r.figures for r in rows), self.lines.size.width)
        keys = [row.key for row in rows]
        cursor = keys.index(chosen.key) if chosen and chosen.key in keys else None
        self.lines.show(len(rows), lambda n: cells(rows[n], self._columns), cursor)
        filter_ = f"  filter: {self.view.filter}" if self.view.filter else ""
        about = f"governor {self.app.governor.pid}{self.app.trouble}"
        words = headline(self._figures, about) if self._figures else about
        self.tell(words + filter_, titles(self._columns, self.view.sort))

    def _chosen(self) -> Row | None:
        return self._rows[self.lines.cursor] if self._rows else None

    def _change(self, **fields: Any) -> None:
        self.view = self.view._replace(**fields)
        self.show()

    # -- how it is shown -------------------------------------------------------------

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._change(sort=_next(sorts(self._figures), self.view.sort))

    def action_hierarchy(self) -> None:
        """Go to the next hierarchy, and after the last to all of them."""
        self._change(hierarchy=_next([None, *hierarchies(self._figures)], self.view.hierarchy))

    def action_flat(self) -> None:
        """Change between trees and a list."""
        self._change(flat=not self.view.flat)

    def action_fold(self, fold: bool | None = None) -> None:
        """Fold or unfold a container; folding one without children folds its parent."""
        row = self._chosen()
        if row is None:
            return
        folded = row.key in self.view.folded
        if row.has_children and fold is not folded:
            self._change(folded=self.view.folded ^ {row.key})
        elif fold:
            before = self._rows[: self.lines.cursor]
            above = [number for number, one in enumerate(before) if one.depth < row.depth]
            self.lines.action_move(above[-1] - self.lines.cursor if above else 0)

    def action_fold_all(self, fold: bool) -> None:
        """Fold everything below the roots' children, or unfold everything."""
        keys = ((f.hierarchy, f.path) for f in self._figures if f.path != "/")
        self._change(folded=frozenset(keys) if fold else frozenset())

    def action_filter(self) -> None:
        """Type words that the place of a container must have."""
        line = self.query_one("#filter", Input)
        line.display = True
        line.focus()

    def action_clear(self) -> None:
        """Show everything again."""
        line = self.query_one("#filter", Input)
        line.value = ""
        line.display = False
        self.lines.focus()
        self._change(filter="")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        self._change(filter=event.value)

    def on_input_submitted(self) -> None:
        """Keep the filter and go back to the list."""
        self.query_one("#filter", Input).display = False
        self.lines.focus()

    # -- what is done ----------------------------------------------------------------

    def action_processes(self) -> None:
        """Show the processes of the container."""
        if (row := self._chosen()) is not None:
            self.app.push_screen(Processes(row.key, [r.key for r in self._rows]))

    def action_limit(self) -> None:
        """Change a limit, or any other control file."""
        row = self._chosen()
        if row is None:
            return
        key = row.key
        limits = [
            f"{held.file}={'max' if held.limit is None else held.limit}"
            for held in row.figures.held.values()
        ]

        def write(text: str) -> str:
            self.app.actions.write(key, text)
            return f"{_place(key)}:{text.strip()}"

        def offers() -> list[str]:
            return self.app.actions.settings(key)

        # What is typed at once has to find its place: nothing is asked for before.
        first = limits[0] if limits else ""
        self.ask(f"Set a control file of {_place(key)}", first, write, offers)

    def action_kill(self) -> None:
        """Signal all processes of the container."""
        row = self._chosen()
        if row is None:
            return
        key = row.key

        def send(text: str) -> str:
            number = _signal(text)
            count = self.app.actions.signal_all(key, number)
            return f"{text} to {count} processes of {_place(key)}"

        self.ask(f"Signal all processes of {_place(key)} and below", "TERM", send)


class Processes(Looking):
    """The processes of a container and of those below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back", key_display="q"),
        Binding("k", "kill", "Kill"),
        Binding("m", "move", "Move"),
    ]

    def __init__(self, key: Key, places: Sequence[Key]) -> None:
        super().__init__()
        self.key = key
        self._places = [_place(place) for place in places]
        self._found: list[ProcessReport] = []

    async def look(self) -> None:
        """Get them."""
        self._found = await self.app.call(lambda: self.app.actions.processes(self.key))

    def show(self) -> None:
        """Show them; the cursor stays on its process."""
        found = self._found
        chosen = self._chosen()
        numbers = [n for n, one in enumerate(found) if chosen and one.pid == chosen.pid]
        width = self.lines.size.width
        self.lines.show(
            len(found), lambda n: _process(found[n], width), numbers[0] if numbers else None
        )
        count = f"{len(found)} process{'es' * (len(found) != 1)}"
        head = f"{'PID':>8} {'JOB':>5} S {'THR':>4} {'CONTAINER':<20} COMMAND"
        self.tell(f"{_place(self.key)}: {count}{self.app.trouble}", [Cell(head, DIM)])

    def _chosen(self) -> ProcessReport | None:
        shown = self._found
        return shown[self.lines.cursor] if self.lines.cursor < len(shown) else None

    def action_kill(self) -> None:
        """Signal the process."""
        process = self._chosen()
        if process is None:
            self.complain("there is no process here")
            return

        def send(text: str) -> str:
            self.app.actions.signal(self.key, process, _signal(text))
            return f"{text} to process {process.pid}"

        self.ask(f"Signal process {process.pid}, {printable(process.command)[:50]}", "TERM", send)

    def action_move(self) -> None:
        """Move the process to another container."""
        process = self._chosen()
        if process is None:
            self.complain("there is no process here")
            return

        def move(text: str) -> str:
            self.app.actions.move(self.key, process, text)
            return f"process {process.pid} is in {text}"

        question = f"Move process {process.pid} to"
        places = self._places
        self.ask(question, _place((self.key[0], process.path)), move, lambda: places)


def _process(one: ProcessReport, width: int) -> list[Cell]:
    job = str(one.job or "-")
    place = fitted(printable(one.path), 20)
    text = f"{one.pid:>8} {job:>5} {one.state} {one.threads:>4} {place} {printable(one.command)}"
    return [Cell(fitted(text, width))]


def _place(key: Key) -> str:
    return f"{key[0]}:{printable(key[1])}"


def _next(choices: Sequence[T], now: T) -> T:
    """The choice after the one of now, the first after the last."""
    place = choices.index(now) if now in choices else -1
    return choices[(place + 1) % len(choices)]


def _signal(text: str) -> int:
    """A signal by name or number. EINVAL."""
    import errno

    from governor.errors import GovernorError

    name = text.strip().upper().removeprefix("SIG")
    if f"SIG{name}" in signal.Signals.__members__:
        return int(signal.Signals[f"SIG{name}"])
    if name.isascii() and name.isdigit() and 0 <= int(name[:5]) < signal.NSIG:
        return int(name)
    raise GovernorError(errno.EINVAL, f"{text!r} is not a signal: allowed are TERM, KILL, 9, ...")
