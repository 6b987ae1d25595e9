"""On which line of a TOML document a key or an array element stands; tomllib does not tell.

The document has been read by tomllib before, so this reader need not notice mistakes: it only tells
where keys end and values begin, and leaves what a key says to tomllib.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]
"""Keys and array indices from the top of the document, such as ``("jobs", 0, "name")``."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*")
_SCALAR = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'  # up to two quotes may stand before the closing three
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|[^,\[\]{}#\r\n]+",
    re.DOTALL,
)


class Lines:
    """The lines of every key, table and array element of a valid TOML document."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {(): 1}
        _Scanner(text, self._lines).scan()

    def of(self, path: Path) -> int:
        """The line of ``path``, or of the nearest enclosing thing the document has (from 1)."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def paths(self) -> set[Path]:
        """All paths that have a line, for checking this reader against tomllib."""
        return set(self._lines)


class _Scanner:
    """One pass over the text, noting the line at which every path is first seen."""

    def __init__(self, text: str, lines: dict[Path, int]) -> None:
        self._text = text
        self._at = 0
        self._lines = lines
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._table_counts: dict[Path, int] = {}

    def scan(self) -> None:
        """Read headers and ``key = value`` pairs to the end of the text."""
        table: Path = ()
        while not self._skip_blank():
            if self._text.startswith("[[", self._at):
                table = self._header(2)
            elif self._text[self._at] == "[":
                table = self._header(1)
            else:
                self._pair(table)

    def _header(self, brackets: int) -> Path:
        """Read ``[key]`` or ``[[key]]`` and return the path of the table it opens."""
        self._at += brackets
        self._skip_blank()
        line, keys = self._line(), self._key()
        self._skip_blank()
        self._at += brackets
        path = self._note((), keys[:-1], line) + keys[-1:]
        if brackets == 1:
            return self._note(path[:-1], keys[-1:], line)
        self._lines.setdefault(path, line)
        index = self._table_counts[path] = self._table_counts.get(path, -1) + 1
        self._lines[(*path, index)] = line
        return (*path, index)

    def _note(self, path: Path, keys: tuple[str, ...], line: int) -> Path:
        """Walk down ``keys``, into the newest element of arrays of tables, noting ``line``."""
        for key in keys:
            path = (*path, key)
            self._lines.setdefault(path, line)
            if path in self._table_counts:
                path = (*path, self._table_counts[path])
        return path

    def _pair(self, table: Path) -> None:
        """Read ``key = value``."""
        line = self._line()
        path = self._note(table, self._key(), line)
        self._skip_blank()
        self._at += 1  # the equals sign
        self._skip_blank()
        self._value(path)

    def _value(self, path: Path) -> None:
        """Read a value of any kind, noting what is inside of it."""
        opening = self._text[self._at]
        if opening == "[":
            self._at += 1
            index = 0
            while not self._closes("]"):
                self._lines[(*path, index)] = self._line()
                self._value((*path, index))
                index += 1
        elif opening == "{":
            self._at += 1
            while not self._closes("}"):
                self._pair(path)
        else:
            self._take(_SCALAR)

    def _closes(self, bracket: str) -> bool:
        """Step over a comma and blanks; whether ``bracket`` came, which is stepped over too."""
        self._skip_blank()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip_blank()
        closes = self._text[self._at] == bracket
        self._at += closes
        return closes

    def _key(self) -> tuple[str, ...]:
        """Read a key, dotted or not, and return its parts."""
        value: object = tomllib.loads(f"{self._take(_KEY)} = 0")
        parts: list[str] = []
        while isinstance(value, dict):
            [(part, value)] = value.items()
            parts.append(part)
        return tuple(parts)

    def _skip_blank(self) -> bool:
        """Step over spaces, line ends and comments; whether that was the end of the text."""
        self._take(_BLANK)
        return self._at >= len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> str:
        """Step over what ``pattern`` matches here and return it."""
        match = pattern.match(self._text, self._at)
        assert match is not None, (
            f"no {pattern.pattern} at {self._at} of a document tomllib has read"
        )
        self._at = match.end()
        return match[0]

    def _line(self) -> int:
        """The number of the line that is being read, from 1."""
        return bisect_right(self._starts, self._at)
