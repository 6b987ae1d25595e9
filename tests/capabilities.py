"""What the host may lack: a clear skip on somebody's machine, a failure where all must run."""

from __future__ import annotations

import os

import pytest


def need(ok: bool, reason: str) -> None:
    """Go on when ``ok``; otherwise skip, or fail when the variable CI is set, saying why."""
    if ok:
        return
    if os.environ.get("CI"):
        pytest.fail(f"this host must be able to run the test: {reason}")
    pytest.skip(reason)
