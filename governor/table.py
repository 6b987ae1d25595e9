"""Text in aligned columns, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

WIDTH: Final = 80
"""What a summary fits into: tables that would be wider are divided, sentences are wrapped."""


class Column(NamedTuple):
    """A column of a table. ``group`` is written once over neighbouring columns that share it."""

    title: str
    right: bool = True
    group: str = ""


def render(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as aligned lines, without trailing blanks."""
    lines = [[column.title for column in columns], *rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(cells, widths, columns, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([*_group_line(columns, widths), *map(line, lines)])


def _group_line(columns: Sequence[Column], widths: Sequence[int]) -> Iterator[str]:
    """Yield the line of group titles, each over the left edge of its first column, if any."""
    text, offset, previous = "", 0, ""
    for column, width in zip(columns, widths, strict=True):
        if column.group not in ("", previous):
            text = f"{text:{offset}}{column.group}"
        previous = column.group
        offset += width + 2
    if text:
        yield text


def wrapped(start: str, words: str) -> str:
    """Return a sentence that begins with ``start``, on as many lines as it takes."""
    import textwrap

    # Where a path or an option is cut in two it cannot be copied any more.
    return textwrap.fill(
        start + words,
        WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def too_wide(table: str) -> int:
    """Return by how much the widest line of a table does not fit; 0 when all do."""
    return max(0, max(map(len, table.split("\n"))) - WIDTH)


def shortened(name: str, length: int | None) -> str:
    """Return a name without its middle where it is longer: both its ends tell it from others."""
    if length is None or len(name) <= length:
        return name
    end = (length - 1) // 2
    return f"{name[: length - 1 - end]}…{name[-end:]}"
