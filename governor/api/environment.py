"""The environment of a worker, set before anything else of a task is imported there."""

from __future__ import annotations

import os


def set_environment(variables: dict[str, str]) -> None:
    """An initializer for workers. It is here, where it imports nothing that looks at them."""
    os.environ.update(variables)
