"""Rows of the model as cells of a table that fits a screen: widths, bars, short numbers.

A cell is a text of exactly its column's width and the name of a style; what shows it maps the
names to colours, or leaves them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from governor.results import ENFORCED, OBSERVED
from governor.summary import number
from governor.top.model import ROOT, Figures, Held, Row, hierarchies

NAME, CPU, REFUSED, CPUS, LEVEL = "container", "cpu%", "ref/s", "cpus", "level"
_WIDTHS: Final = {CPU: 5, REFUSED: 6, CPUS: 6, LEVEL: 8}
_NAME_LEAST: Final = 20
_NAME_MOST: Final = 60
_FIGURES: Final = 9
"""Columns for ``held/limit``, each of four digits at most."""
_BAR_LEAST: Final = 4
_BAR_MOST: Final = 16

_UNKNOWN: Final = "-"
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"

NEAR: Final = 0.8
"""The share of a limit from which a bar warns."""

PLAIN, DIM, GOOD, WARN, BAD = "plain", "dim", "good", "warn", "bad"


class Cell(NamedTuple):
    """A piece of a line."""

    text: str
    style: str = PLAIN


_GAP: Final = Cell(" ")


class Column(NamedTuple):
    """A column: ``kind`` is one of the titles above or the noun of a resource."""

    kind: str
    width: int
    bar: int = 0

    @property
    def is_right(self) -> bool:
        """Whether it is aligned to the right."""
        return bool(self.bar) or self.kind in (CPU, REFUSED)


def columns(rows: Sequence[Row], nouns: Sequence[str], width: int | None) -> list[Column]:
    """The columns that fit into ``width``; None is as much as it takes to cut nothing off.

    The most important are kept longest: the first two resources, CPU, refusals, CPUs, levels,
    and then other resources. What is left goes to names, as far as they need it, and bars.
    """
    longest = max((cell_width(_label(row, True)) for row in rows), default=0)
    has_cpu = any(row.figures.is_metered for row in rows)
    cpus = max((len(row.figures.cpus or "") for row in rows), default=0)
    extras = [CPU] * has_cpu + [REFUSED] * bool(nouns) + [CPUS] * bool(cpus) + [LEVEL]
    if width is None:
        resources = [Column(word, _BAR_LEAST + 1 + _FIGURES, _BAR_LEAST) for word in nouns]
        widths = _WIDTHS | {CPUS: max(cpus, _WIDTHS[CPUS])}
        name = max(longest, _NAME_LEAST)
        return [Column(NAME, name), *resources, *(Column(kind, widths[kind]) for kind in extras)]
    left = width - _NAME_LEAST
    chosen = []
    for kind in (*nouns[:2], *extras, *nouns[2:]):
        need = 1 + _WIDTHS.get(kind, _BAR_LEAST + 1 + _FIGURES)
        if need <= left:
            chosen.append(kind)
            left -= need
    bars = [word for word in nouns if word in chosen]
    more = min(left, max(0, min(longest, _NAME_MOST) - _NAME_LEAST))
    bar = _BAR_LEAST
    if bars:
        bar += min((left - more) // len(bars), _BAR_MOST - _BAR_LEAST)
    name = min(width, _NAME_LEAST + more)
    resources = [Column(word, bar + 1 + _FIGURES, bar) for word in bars]
    return [Column(NAME, name), *resources, *(Column(k, _WIDTHS[k]) for k in extras if k in chosen)]


def titles(columns: Iterable[Column], sort: str) -> list[Cell]:
    """The line of titles; that of the order is marked."""
    marked = {"name": NAME, "cpu": CPU, "refused": REFUSED}.get(sort, sort)
    line: list[Cell] = []
    for column in columns:
        style = WARN if column.kind == marked else DIM
        line += [_GAP] if line else []
        line.append(Cell(fitted(column.kind.upper(), column.width, column.is_right), style))
    return line


def cells(row: Row, columns: Iterable[Column], drawn: bool = True) -> list[Cell]:
    """The line of a row; ``drawn``: with lines and blocks beyond ASCII."""
    line: list[Cell] = []
    for column in columns:
        line += [_GAP] if line else []
        if column.kind == NAME:
            line.append(Cell(fitted(_label(row, drawn), column.width)))
        elif column.bar:
            line += _resource(row.figures.held.get(column.kind), column, drawn)
        else:
            text, style = _figure(row, column.kind)
            line.append(Cell(fitted(text, column.width, column.is_right), style))
    return line


def _label(row: Row, drawn: bool) -> str:
    """The name, indented, with a mark for what can be folded or is."""
    opened, closed = ("▾ ", "▸ ") if drawn else ("- ", "+ ")
    mark = (closed if row.hidden else opened) if row.has_children else "  "
    count = f" ({row.hidden})" if row.hidden else ""
    return f"{'  ' * row.depth}{mark}{printable(row.name)}{count}"


def _resource(held: Held | None, column: Column, drawn: bool) -> list[Cell]:
    """A bar and ``held/limit``."""
    if held is None:
        return [Cell(fitted(_UNKNOWN, column.width, True), DIM)]
    share = held.share
    figures = short(held.amount) + (f"/{short(held.limit)}" if held.limit is not None else "")
    text = fitted(figures, _FIGURES + 1, True)
    if share is None:
        return [Cell(" " * column.bar), Cell(text)]
    style = BAD if share >= 1 else WARN if share >= NEAR else GOOD
    return [Cell(bar(share, column.bar, drawn), style), Cell(text, PLAIN if share < 1 else BAD)]


def _figure(row: Row, kind: str) -> tuple[str, str]:
    """A figure of the other columns and its style."""
    figures = row.figures
    if kind == CPU:
        return (_UNKNOWN, DIM) if figures.cpu is None else (percent(figures.cpu), PLAIN)
    if kind == REFUSED:
        if row.refusals is None:
            return _UNKNOWN, DIM
        return rate(row.refusals), BAD if row.refusals else DIM
    if kind == CPUS:
        return figures.cpus if figures.cpus is not None else _UNKNOWN, PLAIN
    worst = {ENFORCED: GOOD, OBSERVED: BAD}
    return figures.level, worst.get(figures.level, WARN)


def bar(share: float, width: int, drawn: bool = True) -> str:
    """A bar that is full at the limit, and never empty or full before the figure is."""
    steps = 8 if drawn else 1
    most = width * steps
    filled = min(most, round(share * most))
    if 0 < share < 1:
        filled = min(max(filled, 1), most - 1)
    whole, rest = divmod(filled, steps)
    if not drawn:
        return "#" * whole + "." * (width - whole)
    text = "█" * whole + (_EIGHTHS[rest] if rest else "")
    return text + " " * (width - len(text))


def short(count: int) -> str:
    """A count in four characters as long as it is below a quadrillion: 9999, 12k, 1.2M."""
    if count < 10_000:
        return str(count)
    number = float(count)
    for unit in "kMGTPE":
        number /= 1000
        if number < 9.95 and unit != "k":
            return f"{number:.1f}{unit}"
        if number < 999.5:
            break
    return f"{number:.0f}{unit}"


def percent(value: float) -> str:
    """A percentage in five characters."""
    return f"{value:.1f}" if value < 999.95 else f"{value:.0f}"


def rate(value: float) -> str:
    """So many per second in six characters."""
    if not value:
        return "0"
    return f"{value:.1f}" if value < 9999.95 else short(round(value))


def printable(text: str) -> str:
    """A name without what would move the cursor or turn the writing round."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "�" for char in text)


def cell_width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fitted(text: str, width: int, is_right: bool = False) -> str:
    """A text cut or filled up to a width."""
    space = width - cell_width(text)
    if space < 0:
        text = _cut(text, width)
        space = width - cell_width(text)
    return " " * space + text if is_right else text + " " * space


def _cut(text: str, width: int) -> str:
    """The beginning of a text, with a sign that there was more."""
    if width < 1:
        return ""
    kept, used = "", 0
    for char in text:
        used += _char_width(char)
        if used > width - 1:
            break
        kept += char
    return f"{kept}~"


def to_text(cells: Iterable[Cell]) -> str:
    """A line as plain text, without trailing blanks."""
    return "".join(cell.text for cell in cells).rstrip()


def headline(found: Sequence[Figures], about: str) -> str:
    """How much there is, and how much of it is refused."""
    names = hierarchies(found)
    roots = [figures for figures in found if figures.path == ROOT]
    refused = sum(figures.refused for figures in found)
    refusals = sum(figures.refusals or 0.0 for figures in found)
    cpu = max((figures.cpu for figures in roots if figures.cpu is not None), default=None)
    parts = [
        about,
        f"{number(len(found))} container{'s' * (len(found) != 1)} in {', '.join(names) or 'none'}",
        *([f"cpu {percent(cpu)}%"] if cpu is not None else []),
        f"refused {number(refused)} ({rate(refusals)}/s)",
    ]
    return printable("  ".join(parts))
