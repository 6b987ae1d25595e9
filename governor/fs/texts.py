"""Values of control files as the bytes that are read and written."""

from __future__ import annotations

import errno

from governor.errors import GovernorError
from governor.results import Value

SIZE_MAX = 4095
"""Bytes that one write may have, a newline included: as in the kernel, less than PATH_MAX."""


def to_bytes(value: Value) -> bytes:
    """What is read: the value as a line, nothing where it is empty."""
    text = str(value)
    return (text if not text or text.endswith("\n") else f"{text}\n").encode()


def to_value(data: bytes) -> str:
    """What is written, without space around it. E2BIG: too long. EINVAL: not a text."""
    if len(data) > SIZE_MAX:
        raise GovernorError(
            errno.E2BIG, f"{len(data)} bytes are too many; at most {SIZE_MAX} are taken at once"
        )
    try:
        return data.decode().strip()
    except UnicodeDecodeError:
        raise GovernorError(errno.EINVAL, "what was written is not UTF-8") from None
