"""The control files that every container has, whatever is bound: about its release."""

from __future__ import annotations

import errno
import os

from governor.core.container import Container
from governor.errors import GovernorError
from governor.results import Value
from governor.subsystem import ControlFile


def parse_flag(value: Value) -> bool:
    """``0`` or ``1``; ValueError for anything else."""
    if str(value).strip() not in ("0", "1"):
        raise ValueError("only 0 and 1 are allowed")
    return str(value).strip() == "1"


def _parse_program(value: Value) -> str:
    """An absolute path of a program, or nothing for none."""
    path = str(value).strip()
    if path and (not path.startswith("/") or "\0" in path):
        raise ValueError("the program is named by its absolute path, or by nothing for none")
    return path


def _set_program(container: Container, path: str) -> None:
    if path and not (os.path.isfile(path) and os.access(path, os.X_OK)):
        raise GovernorError(
            errno.EACCES if os.path.exists(path) else errno.ENOENT,
            f"release_agent of {container.label}: {path} is not there or cannot be run",
        )
    container.hierarchy.release_agent = path


def _set_notify(container: Container, notify: bool) -> None:
    container.notify_on_release = notify


def _set_auto_remove(container: Container, remove: bool) -> None:
    container.auto_remove = remove


CORE_FILES = {
    name: file._replace(needs="nothing")
    for name, file in {
        "notify_on_release": ControlFile(
            lambda c: int(c.notify_on_release), parse_flag, _set_notify
        ),
        "auto_remove": ControlFile(lambda c: int(c.auto_remove), parse_flag, _set_auto_remove),
        "release_agent": ControlFile(
            lambda c: c.hierarchy.release_agent, _parse_program, _set_program, on="root"
        ),
    }.items()
}
