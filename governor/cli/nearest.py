"""What somebody may have meant who wrote a name that is not there."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """``, did you mean X?`` when a known name is near, else nothing; to be put after the name."""
    from difflib import get_close_matches

    # Capitals are what is mistaken most, and a spelling without any is nothing like TasksMax.
    spellings = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), spellings, n=1)
    return f" (did you mean {spellings[near[0]]}?)" if near else ""
