"""A small project in C, to be compiled as people compile theirs: what a build costs."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from governor.bench.helpers import find_compiler, need
from governor.bench.marks import mark

FILES: Final = 40
JOBS: Final = 4

_FUNCTION: Final = """\
int sort_{file}_{number}(char **lines, int count)
{{
	for (int i = 1; i < count; i++)
		for (int j = i; j > 0 && strcmp(lines[j - 1], lines[j]) > {number}; j--) {{
			char *kept = lines[j];

			lines[j] = lines[j - 1];
			lines[j - 1] = kept;
		}}
	return printf("%d lines\\n", count) + {file};
}}
"""
_HEAD: Final = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
_MAKEFILE: Final = """\
objects := $(patsubst %.c,%.o,$(wildcard *.c))

all: $(objects)

%.o: %.c
	{compiler} -O1 -c -o $@ $<
"""


def check() -> None:
    """Raise GovernorError [ENOENT] without make or a compiler."""
    need("make")
    find_compiler()


@contextlib.contextmanager
def made() -> Iterator[list[str]]:
    """Give the command that compiles all of a project, anew each time; it is removed at the end.

    Raises GovernorError [ENOENT] without make or a compiler.
    """
    make, compiler = need("make"), find_compiler()
    with tempfile.TemporaryDirectory(prefix=mark()) as directory:
        for file in range(FILES):
            functions = [_FUNCTION.format(file=file, number=number) for number in range(5)]
            Path(directory, f"part{file}.c").write_text(_HEAD + "\n".join(functions))
        Path(directory, "Makefile").write_text(_MAKEFILE.format(compiler=shlex.quote(compiler)))
        yield [make, "--always-make", "--silent", f"-j{JOBS}", "-C", directory]
