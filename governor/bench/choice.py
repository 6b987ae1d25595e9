"""Lists of names as they are given to ``--only`` and ``--section``."""

from __future__ import annotations

from collections.abc import Sequence


def parse(text: str, what: str, allowed: Sequence[str]) -> list[str]:
    """Return the names in a text such as ``fork,open``, in the order of ``allowed``.

    Raises ValueError for a name that is not allowed.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in allowed:
            raise ValueError(f'no {what} "{name}": allowed are {", ".join(allowed)}')
    return [name for name in allowed if name in names]
