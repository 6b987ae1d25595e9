"""What the host may lack: a clear skip on somebody's machine, a failure where all must run."""

from __future__ import annotations

import os

import pytest


def need(ok: bool, reason: str, *, root: bool = False) -> None:
    """Go on when ``ok``; otherwise skip, or fail when the variable CI is set, saying why.

    ``root``: only root can have it. An ordinary user skips it in CI, too, where the same
    tests run as root as well.
    """
    if ok:
        return
    if os.environ.get("CI") and not (root and os.geteuid()):
        pytest.fail(f"this host must be able to run the test: {reason}")
    pytest.skip(reason)
