"""The examples of the page on executors print what it says they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.helpers import DEADLINE, PYTHONPATH
from tests.process.helpers import runtime as runtime

pytestmark = pytest.mark.once

PAGE = Path(__file__).parents[2] / "docs/executor.md"
EXAMPLES = re.findall(r"```python\n(.*?)```(?:\n\n```\n(.*?)```)?", PAGE.read_text(), re.S)


@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
def test_example(code: str, printed: str, runtime: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", printed)
