"""The examples of a page: what is in its blocks, and how they are run.

A comment right before a block says what the reader need not see:

``<!-- before: COMMAND -->``  what has to be done first, by the shell of the page;
``<!-- run by: FILE::TEST -->``  another test runs it;
``<!-- not run: REASON -->``  nobody does, and why;
``<!-- needs: PROGRAM -->``  it uses a program that a host may lack.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(
    r"^(?P<notes>(?: *<!-- (?:before|run by|not run|needs): [^\n]* -->\n)*)"
    r" *```(?P<language>python|console|sh)\n(?P<text>.*?)^ *```$"
    r"(?:\n+```\n(?P<output>.*?)^```$)?",
    re.M | re.S,
)
_NOTE = re.compile(r"<!-- (before|run by|not run|needs): (.*) -->")
_PROMPT = re.compile(r"^\$ ((?:.*\\\n)*.*)$", re.M)


class Example(NamedTuple):
    """A block of a page. ``notes``: kind to text; ``output``: what a block after it shows."""

    line: int
    language: str
    text: str
    output: str
    notes: dict[str, str]

    @property
    def is_run(self) -> bool:
        """Whether it is run here, with the others of its page."""
        return not self.notes.keys() & {"run by", "not run"}

    def commands(self) -> Iterator[tuple[str, str]]:
        """What is typed, and what is shown of its output."""
        _, *parts = _PROMPT.split(self.text)
        yield from zip(parts[::2], parts[1::2], strict=True)


def examples(page: Path) -> list[Example]:
    """Those of a page, in their order."""
    text = page.read_text()
    return [
        Example(
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            textwrap.dedent(found["text"]),
            found["output"] or "",
            dict(_NOTE.findall(found["notes"])),
        )
        for found in _BLOCK.finditer(text)
    ]


def script(page: list[Example]) -> str:
    """A shell script that does what the page does, with a mark before each part's output.

    A block of Python finds what the blocks above it have imported.
    """
    lines = [
        f'governor() {{ {sys.executable} -m governor "$@"; }}',
        "exec 2>>errors",
    ]
    imports: list[str] = []
    for number, example in enumerate(page):
        if not example.is_run:
            continue
        lines += [example.notes.get("before", ":")]
        for part, command in enumerate(_to_do(example, imports)):
            lines += [f'printf "\\n@@{number}.{part}\\n"', ": >errors", command]
            lines += ['printf "exit %s\\n" $?', "cat errors"]
        imports += re.findall(r"^(?:import|from) .*", example.text, re.M)
    lines += ["governor down >errors 2>&1"]
    return "\n".join(lines)


def _to_do(example: Example, imports: list[str]) -> list[str]:
    if example.language == "console":
        return [command for command, _ in example.commands()]
    text, end = example.text, "END OF EXAMPLE"
    if example.language == "sh":
        return [f"sh -e <<'{end}'\n{text}{end}"]
    first = "\n".join(["from __future__ import annotations", *imports])
    return [f"{sys.executable} - <<'{end}'\n{first}\n{text}{end}"]


def outputs(said: str) -> dict[str, str]:
    """What was printed, by mark."""
    _, *parts = re.split(r"\n@@([\d.]+)\n", said)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def loosely(text: str) -> list[str]:
    """Lines as they are compared: numbers, paths and the width of columns may differ."""
    text = re.sub(r"(?<![\w:\"/])/[\w./-]+", "/PATH", text)
    text = re.sub(r"\d[\d.:T-]*", "N", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def missing(shown: str, said: str) -> list[str]:
    """Lines that a page shows and that were not said, in this order. ``...`` is any text."""
    lines = iter(loosely(said))
    return [
        line
        for line in loosely(shown)
        if line != "..." and not any(_is(line, other) for other in lines)
    ]


def _is(shown: str, said: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), said) is not None
