"""That no two files of a batch are the same one: a job log written over the batch file, say."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from governor.errors import GovernorError


def check_apart(files: Mapping[str, str]) -> None:
    """Raise `GovernorError` (EINVAL) when two of ``files``, by what they are called, are one.

    Of what is no file, such as a terminal or /dev/null, there may be several.
    """
    seen: dict[str, str] = {}
    for what, path in files.items():
        place = os.path.realpath(path)
        if os.path.exists(place) and not os.path.isfile(place):
            continue
        other = seen.setdefault(place, what)
        if other != what:
            raise GovernorError(errno.EINVAL, f"{path} cannot be {what}: it is {other}")
