"""Printing: to a standard output that may be closed, full or gone, as text or as JSON."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from governor.errors import GovernorError


def show(text: str) -> bool:
    """Print and flush; False when nobody reads any more. ENOSPC and the like are raised."""
    if sys.stdout is None:  # we were started with it closed
        return False
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names may have any letter
    try:
        print(text, flush=True)
    except OSError as error:
        # What is left in the buffer would be tried, and complained about, once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise GovernorError(error.errno or 0, f"cannot print: {error.strerror}") from None
        return False
    return True


def show_lines(lines: Sequence[str]) -> None:
    """Print lines; nothing at all when there are none."""
    if lines:
        show("\n".join(lines))


def show_json(value: Any) -> None:
    """Print a value as indented JSON."""
    import json

    show(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> None:
    """Print aligned columns; those whose titles are in ``right`` (words) to the right.

    On a terminal a line ends at its edge; elsewhere nothing is cut off.
    """
    from governor.table import Column, render

    columns = [Column(title, right=title in right.split()) for title in titles]
    text = render(columns, rows)
    if sys.stdout is not None and sys.stdout.isatty():
        from shutil import get_terminal_size

        width = get_terminal_size().columns
        text = "\n".join(line[:width] for line in text.split("\n"))
    show(text)


def can_draw() -> bool:
    """Whether the output's encoding has lines."""
    try:
        "├└│─▾▸█".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
