"""A process that ends with its parent, or only with another one."""

from __future__ import annotations

import os
import select
import subprocess
import sys

CHILD = """
import os, signal, sys
from workers import parent

real = os.getppid
{meanwhile}
print(parent.end_with({meant}), flush=True)
sys.stdin.read()
"""

MEANWHILE = """
def dying():
    before = real()
    os.kill(before, signal.SIGKILL)
    while real() == before:
        pass
    return before

os.getppid = dying
"""


def orphan(meanwhile: str, meant: str) -> tuple[str, bool]:
    """What a child of a parent that dies says, and whether it lives on without it."""
    child = CHILD.format(meanwhile=meanwhile, meant=meant)
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        said = parent.stdout.readline().strip()
        parent.kill()
        parent.wait()
        ended, _, _ = select.select([parent.stdout], [], [], 0.2)
        parent.stdin.close()
        assert parent.stdout.read() == ""
        return said, not ended


def test_it_ends_with_its_parent() -> None:
    assert orphan("", "real()") == ("True", False)


def test_it_does_not_end_with_somebody_else() -> None:
    assert orphan("", "1 << 30") == ("False", True)


def test_somebody_else_who_is_dying_does_not_take_it_along() -> None:
    """Its sockets are closed, which is heard, a moment before its children are told."""
    assert orphan(MEANWHILE, "1 << 30") == ("False", True)
