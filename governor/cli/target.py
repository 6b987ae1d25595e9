"""What the commands on a running governor are given: containers, control files, values."""

from __future__ import annotations

import signal
from typing import NamedTuple

from governor.cli.layout import parse_place


class Target(NamedTuple):
    """A container, or one of its control files."""

    hierarchy: str
    path: str
    file: str | None = None


class Assignment(NamedTuple):
    """A control file and what to write to it."""

    target: Target
    file: str
    value: str


def container(text: str) -> Target:
    """``HIER:/PATH``. Raises ValueError."""
    return Target(*parse_place(text))


def branch(text: str) -> Target:
    """``HIER`` or ``HIER:/PATH``; a hierarchy is its root. Raises ValueError."""
    return container(text if ":" in text else f"{text}:/")


def container_or_file(text: str) -> Target:
    """``HIER:/PATH`` or ``HIER:/PATH:FILE``. Raises ValueError."""
    place, colon, file = text.rpartition(":")
    if not colon or file.startswith("/"):
        return container(text)
    if not file or ":/" not in place:
        raise ValueError(f"{text!r} is not HIER:/PATH or HIER:/PATH:FILE, such as load:/builds")
    return Target(*parse_place(place), file)


def assignment(text: str) -> Assignment:
    """``HIER:/PATH:FILE=VALUE``. Raises ValueError."""
    left, equals, value = text.partition("=")
    try:
        target = container_or_file(left)
    except ValueError:
        target = Target("", "")
    if not equals or target.file is None:
        raise ValueError(
            f"{text!r} is not HIER:/PATH:FILE=VALUE, such as load:/builds:numtasks.limit=64"
        )
    return Assignment(target, target.file, value)


def subsystems(text: str) -> list[str]:
    """``SUBSYS,...`` or ``all``. Raises ValueError."""
    names = text.split(",")
    if not all(names):
        raise ValueError(f"{text!r} is not a list of subsystems, such as numtasks,numfiles or all")
    return names


def pid(text: str) -> int:
    """A process. Raises ValueError."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 2**31):
        raise ValueError(f"{text!r} is not a pid: allowed are 1, 2, ...")
    return int(text)


def signal_number(text: str) -> int:
    """``TERM``, ``SIGTERM`` or ``15``. Raises ValueError."""
    name = text.upper().removeprefix("SIG")
    if f"SIG{name}" in signal.Signals.__members__:
        return int(signal.Signals[f"SIG{name}"])
    if text.isascii() and text.isdigit() and 0 <= int(text[:5]) < signal.NSIG:
        return int(text)
    raise ValueError(f"{text!r} is not a signal: allowed are names such as TERM and numbers")


def signal_names() -> list[str]:
    """The names of all signals, without SIG."""
    return [one.name.removeprefix("SIG") for one in signal.Signals]
