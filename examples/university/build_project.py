"""Generate a C project, build it with ``make -j8``, run it, and check what it computes.

Each module scrambles a number; the program sends one number through all of them.
Python computes the same, so a module that was lost or built wrongly shows.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from pathlib import Path

MODULES = 60
STEPS = 100
ROUNDS = 20
WORD = 0xFFFFFFFF

# What one step does: multiply, add, and mix the high half into the low one.
Step = tuple[int, int, int]

MAKEFILE = """\
CFLAGS = -O2 -Wall -Werror
objects = $(patsubst %.c,%.o,$(wildcard *.c))
scramble: $(objects)
\t$(CC) -o $@ $^
$(objects): scramble.h
"""


def random_steps(source: random.Random) -> list[Step]:
    """Return the steps of one module."""
    return [
        (source.randrange(WORD) | 1, source.randrange(WORD), source.randrange(1, 32))
        for _ in range(STEPS)
    ]


def module_source(number: int, steps: list[Step]) -> str:
    """Return one module as C."""
    body = "\n".join(f"        x = x * {m}u + {a}u; x ^= x >> {s};" for m, a, s in steps)
    return f"""\
#include "scramble.h"

uint32_t module{number}(uint32_t x)
{{
    for (int round = 0; round < {ROUNDS}; round++) {{
{body}
    }}
    return x;
}}
"""


def scramble(x: int, steps: list[Step]) -> int:
    """Return what the module with these steps makes of ``x``."""
    for _ in range(ROUNDS):
        for multiplier, addend, shift in steps:
            x = (x * multiplier + addend) & WORD
            x ^= x >> shift
    return x


def write_project(root: Path, modules: list[list[Step]]) -> None:
    """Write the sources, the header and the makefile into ``root``."""
    numbers = range(len(modules))
    declarations = "\n".join(f"uint32_t module{n}(uint32_t x);" for n in numbers)
    calls = "\n".join(f'    x = module{n}(x); printf("%08x\\n", x);' for n in numbers)
    (root / "Makefile").write_text(MAKEFILE)
    (root / "scramble.h").write_text(f"#include <stdint.h>\n#include <stdio.h>\n{declarations}\n")
    (root / "main.c").write_text(
        f'#include "scramble.h"\n\nint main(void)\n{{\n    uint32_t x = 1;\n{calls}\n}}\n'
    )
    for number, steps in enumerate(modules):
        (root / f"module{number}.c").write_text(module_source(number, steps))


def expected_output(modules: list[list[Step]]) -> str:
    """Return what the program has to print."""
    x, lines = 1, []
    for steps in modules:
        x = scramble(x, steps)
        lines.append(f"{x:08x}\n")
    return "".join(lines)


def main() -> int:
    """Build and run; return 0 when the program prints the right numbers."""
    source = random.Random(2006)
    modules = [random_steps(source) for _ in range(MODULES)]
    with tempfile.TemporaryDirectory(dir=os.environ.get("GOVERNOR_JOB_DIR")) as scratch:
        write_project(Path(scratch), modules)
        subprocess.run(["make", "-j8", "--silent"], cwd=scratch, check=True)
        up_to_date = subprocess.run(["make", "--question"], cwd=scratch, check=False)
        output = subprocess.run([f"{scratch}/scramble"], stdout=subprocess.PIPE, check=True).stdout
    right = output.decode() == expected_output(modules) and up_to_date.returncode == 0
    print(f"{MODULES + 1} C files built; the program's output is {'right' if right else 'WRONG'}")
    return 0 if right else 1


if __name__ == "__main__":
    raise SystemExit(main())
