"""What ``-p`` and ``--limits`` say, made part of a ``governor run`` command line.

A limits file has one property a line, as a drop-in of systemd has. What the command line says wins.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from governor.cli import properties
from governor.cli.layout import Setting
from governor.errors import GovernorError

if TYPE_CHECKING:
    import argparse

    from governor.cli.properties import Property

OPTIONS: Final = {
    "numtasks.limit": "max_tasks",
    "numfiles.limit": "max_files",
    "cpuset.cpus": "cpus",
    "timeout": "timeout",
    "grace": "grace",
}
"""Targets of properties that are options as well, by their names in the namespace."""

OF_LIMITS: Final = ("Service", "Slice", "Scope")
OF_OTHERS: Final = ("Unit", "Install")
"""Sections of unit files: with properties, and with nothing that is about a command."""

Chosen = dict[str, tuple["Property", Any]]
"""By target; of several assignments the last one, and None for one that was taken back."""


def apply(args: argparse.Namespace) -> None:
    """Put the properties of a command line, and those of its file, where its options are.

    Sets ``cwd``, ``env`` (or None, for those of this process) and ``prefix``, the program that
    sets limits of each process. Raises GovernorError for every mistake in the file at once.
    """
    own = _last(args.properties)
    for target, (one, value) in own.items():
        given = getattr(args, OPTIONS[target]) if target in OPTIONS else None
        if given is not None and given != value:
            option = f"--{OPTIONS[target].replace('_', '-')}"
            raise GovernorError(
                errno.EINVAL, f"{one.name} and {option} are the same limit; give one of them"
            )
    chosen = own if args.limits is None else _over(_last(_read(args.limits)), own)
    values = {target: value for target, (_, value) in chosen.items() if value is not None}
    args.settings = [*_settings(chosen), *args.settings]
    for target, option in OPTIONS.items():
        if getattr(args, option) is None:
            setattr(args, option, values.get(target))
    args.cwd = values.get("cwd")
    args.env = {**os.environ, **values["env"]} if "env" in values else None
    args.prefix = _prlimit(values)


def _last(assignments: Iterable[tuple[Property, Any]]) -> Chosen:
    """The last assignment to each target. Variables gather, until an empty value forgets them."""
    chosen: Chosen = {}
    for one, value in assignments:
        chosen = _over(chosen, {one.target: (one, value)})
    return chosen


def _over(below: Chosen, above: Chosen) -> Chosen:
    chosen = below | above
    if "env" in below and "env" in above:
        (_, variables), (one, more) = below["env"], above["env"]
        chosen["env"] = (one, None if more is None else {**(variables or {}), **more})
    return chosen


def _settings(chosen: Chosen) -> Iterator[Setting]:
    for target, (one, value) in chosen.items():
        if "." in target and target not in OPTIONS and value is not None:
            yield Setting(None, target, value)
            also, what = properties.ALSO.get(one.name, ("", ""))
            if also and also not in chosen:
                yield Setting(None, also, what)


def _read(path: str) -> list[tuple[Property, Any]]:
    """The assignments in a file, in its order."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except OSError as error:
        raise GovernorError(error.errno or 0, f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise GovernorError(errno.EINVAL, f"{path}: not UTF-8 text") from None
    found: list[tuple[Property, Any]] = []
    mistakes: list[str] = []
    section = OF_LIMITS[0]
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        try:
            if text[0] == "[":
                section = _section(text)
            elif section in OF_LIMITS:
                found.append(properties.parse(text, brief=bool(mistakes)))
        except ValueError as error:
            mistakes.append(f"{path}:{number}: {error}")
    if mistakes:
        raise GovernorError(errno.EINVAL, "\ngovernor: ".join(mistakes))
    return found


def _section(text: str) -> str:
    name = text.removeprefix("[").removesuffix("]")
    if f"[{name}]" != text or name not in OF_LIMITS + OF_OTHERS:
        allowed = ", ".join(f"[{one}]" for one in OF_LIMITS)
        raise ValueError(f"{text!r} is no section with limits; allowed are {allowed}, or none")
    return name


def _prlimit(values: Mapping[str, Any]) -> list[str]:
    """The program, with its arguments, that sets limits of each process and becomes the command."""
    limits = {
        name: _filled(name, *value)
        for name, value in values.items()
        if name.startswith(properties.RLIMIT)
    }
    if not limits:
        return []
    from shutil import which

    program = which("prlimit")
    if program is None:
        raise GovernorError(
            errno.ENOENT, "limits of each process are set by prlimit(1), of util-linux: not found"
        )
    _try(limits)
    return [program, *(_option(name, limit) for name, limit in limits.items()), "--"]


def _filled(name: str, soft: int | None, hard: int | None) -> tuple[int, int]:
    """The limits as numbers; for descriptors the kernel has no infinity (proc_sys_fs(5))."""
    import resource

    none = resource.RLIM_INFINITY
    if name == "RLIMIT_NOFILE" and None in (soft, hard):
        with open("/proc/sys/fs/nr_open") as file:
            none = int(file.read())
    return none if soft is None else soft, none if hard is None else hard


def _try(limits: Mapping[str, tuple[int, int]]) -> None:
    """Refuse what this process may not have; EPERM.

    Tried by a child: that root may raise a limit depends on capabilities and user namespaces.
    """
    import resource

    for name, limit in limits.items():
        number = getattr(resource, name)
        child = os.fork()
        if not child:
            try:
                resource.setrlimit(number, limit)
            except BaseException:
                os._exit(1)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            most = resource.getrlimit(number)[1]
            raise GovernorError(
                errno.EPERM,
                f"Limit{name.removeprefix(properties.RLIMIT)} may be {most} at most here, the hard "
                f"limit of this process (ulimit -H)",
            )


def _option(name: str, limits: tuple[int, int]) -> str:
    """A limit, as an option of prlimit(1)."""
    soft, hard = ("unlimited" if limit < 0 else limit for limit in limits)
    return f"--{name.removeprefix(properties.RLIMIT).lower()}={soft}:{hard}"
