"""Every example of the documents runs, and prints what is shown; the few that cannot say why."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.capabilities import need
from tests.end_to_end.examples import Example, examples, missing, outputs, script
from tests.end_to_end.runner import DEADLINE, Runner
from tests.leftovers import Mark
from tests.process.helpers import eventually

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PAGES = {
    str(page.relative_to(ROOT)): examples(page)
    for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
}
RUN = [name for name, page in PAGES.items() if any(example.is_run for example in page)]
NOT_RUN = 6
"""Examples that nobody runs. Fewer would be better; whoever adds one has a reason to give."""


def prepare(directory: Path) -> None:
    """What the examples find where they run: a make without work, and nothing else of note."""
    programs = directory / "programs"
    programs.mkdir()
    (programs / "make").write_text("#!/bin/sh\nexit 0\n")
    (programs / "make").chmod(0o755)


def check(example: Example, number: int, said: dict[str, str]) -> list[str]:
    """What is wrong with the output of one example."""
    if example.language == "console":
        return [
            f"$ {command}\nlacks {lines}, says {said.get(f'{number}.{part}')!r}"
            for part, (command, shown) in enumerate(example.commands())
            if (lines := missing(shown, said.get(f"{number}.{part}", "")))
        ]
    output = said.get(f"{number}.0", "")
    if "exit 0\n" not in output:
        return [output]
    lines = missing(example.output, output)
    return [f"lacks {lines}, says {output!r}"] if lines else []


class Page:
    """A page whose examples run, all in their order."""

    def __init__(self, name: str, directory: Path, scratch: str, mark: Mark) -> None:
        directory.mkdir()
        prepare(directory)
        self._output = directory / "output"
        runner = Runner(directory, scratch, mark)
        environment = {
            "GOVERNOR_DIR": f"{scratch}/g",
            "PATH": f"{directory}/programs:{os.environ['PATH']}",
        }
        # A file, since what goes on in the background would keep a pipe open.
        with self._output.open("w") as stdout:
            self.process = runner.command(
                ["sh", "-c", script(PAGES[name])],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.DEVNULL,
            )

    def said(self) -> dict[str, str]:
        """What it has printed at its end, by example."""
        with self.process:
            self.process.wait(DEADLINE)
        return outputs(self._output.read_text())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Page]]:
    """All pages at once, since most of what they do is to wait."""
    mark = Mark()
    with contextlib.ExitStack() as stack:
        stack.callback(mark.kill)
        started = {
            name: Page(
                name,
                tmp_path_factory.getbasetemp() / name.replace("/", "-"),
                # Not in pytest's directory: sockets lie in it, and their paths have to be short.
                stack.enter_context(tempfile.TemporaryDirectory(prefix="gov")),
                mark,
            )
            for name in RUN
        }
        yield started
        for page in started.values():
            page.said()  # also those that nobody has asked for
        eventually(lambda: not mark.processes(), "nothing of it runs any more")


@pytest.mark.parametrize("page", RUN)
def test_the_examples_of_a_page_run(page: str, pages: dict[str, Page]) -> None:
    found = pages[page].said()
    needed = {note for example in PAGES[page] if (note := example.notes.get("needs"))}
    lacking = {program for program in needed if not shutil.which(program)}
    wrong = {
        f"{page}:{example.line}": mistakes
        for number, example in enumerate(PAGES[page])
        if example.is_run
        and example.notes.get("needs") not in lacking
        and (mistakes := check(example, number, found))
    }
    assert wrong == {}
    need(not lacking, f"examples of {page} need {', '.join(sorted(lacking))}")


def test_every_example_is_run_or_says_why_not() -> None:
    notes = [example.notes for page in PAGES.values() for example in page]
    others = [note["run by"] for note in notes if "run by" in note]
    for other in others:
        file, _, name = other.partition("::")
        assert re.search(rf"def {name}\b", (ROOT / file).read_text()), other
    assert sum("not run" in note for note in notes) <= NOT_RUN
