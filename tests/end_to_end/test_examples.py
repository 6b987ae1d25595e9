"""Every example of the documents runs, and prints what is shown; the few that cannot say why."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.examples import Example, examples, missing, outputs, script
from tests.end_to_end.runner import DEADLINE, Runner
from tests.end_to_end.running import Shell

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PAGES = {
    str(page.relative_to(ROOT)): examples(page)
    for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
}
NOT_RUN = 9
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


@pytest.mark.parametrize(
    "page", [name for name, page in PAGES.items() if any(e.is_run for e in page)]
)
def test_the_examples_of_a_page_run(page: str, shell: Shell, runner: Runner) -> None:
    prepare(runner.directory)
    environment = {
        "GOVERNOR_DIR": str(shell.directory),
        "PATH": f"{runner.directory}/programs:{os.environ['PATH']}",
    }
    command = ["sh", "-c", script(PAGES[page])]
    output = runner.directory / "output"
    # A file, since what goes on in the background would keep a pipe open.
    with (
        output.open("w") as stdout,
        runner.command(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=stdout
        ) as process,
    ):
        assert process.wait(DEADLINE) == 0
    found = outputs(output.read_text())
    wrong = {
        f"{page}:{example.line}": mistakes
        for number, example in enumerate(PAGES[page])
        if example.is_run and (mistakes := check(example, number, found))
    }
    assert wrong == {}


def test_every_example_is_run_or_says_why_not() -> None:
    notes = [example.notes for page in PAGES.values() for example in page]
    others = [note["run by"] for note in notes if "run by" in note]
    for other in others:
        file, _, name = other.partition("::")
        assert re.search(rf"def {name}\b", (ROOT / file).read_text()), other
    assert sum("not run" in note for note in notes) <= NOT_RUN
