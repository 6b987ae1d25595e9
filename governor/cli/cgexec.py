"""``governor exec``: a command in containers of a running governor, named by their subsystems.

What cgexec(1) of libcgroup is for control groups: its options, the exit codes of ``governor run``.
"""

from __future__ import annotations

import argparse
import errno
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.cli.arguments import add_directory, checked, command_of, completes
from governor.errors import GovernorError
from governor.results import OWN_FAILURE

if TYPE_CHECKING:
    from governor.api import HierarchyReport

_DESCRIPTION = """\
Run a command in containers of the governor that 'governor up' runs, as cgexec does in control
groups. Subsystems name the hierarchy they are bound to. The command is in the root of those that
are not named.

Exit status: as of 'governor run': the command's own; 125 when governor itself failed or there is a
mistake on the command line, 126 when the command cannot be executed, 127 when it is not found,
128+n when signal n ended it."""

_EXAMPLES = """\
examples:
  governor exec -g numtasks,numfiles:/builds make -j8
  governor exec -g numtasks:/students/bob -g cpuset:/even -- sh job.sh
  governor exec -g '*:/builds' make
"""

EVERY = "*"
"""Stands for all subsystems that are bound."""
BY_NAME = "name="
"""How a hierarchy is written instead of its subsystems, as in /proc/PID/cgroup."""


class Group(NamedTuple):
    """``SUBSYS,...:/PATH`` of a command line."""

    subsystems: list[str]
    path: str


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``exec`` command."""
    parser = subparsers.add_parser(
        "exec",
        help="run a command in containers of a running governor, as cgexec",
        usage="governor exec -g SUBSYS,...:/PATH [-g ...] [--dir DIR] [--] CMD [ARG ...]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.usage_error = OWN_FAILURE
    action = parser.add_argument(
        "-g",
        dest="groups",
        type=checked(parse_group),
        action="append",
        default=[],
        metavar="SUBSYS,...:/PATH",
        help="in this container of the hierarchies these subsystems are bound to; '*' is all of "
        "them, name=HIER a hierarchy",
    )
    completes(action, "groups")
    parser.add_argument(
        "--sticky",
        action="store_true",
        help="accepted for cgexec's: nothing moves the processes elsewhere, ever",
    )
    add_directory(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def parse_group(text: str) -> Group:
    """``SUBSYS,...:PATH``; a path is absolute, with or without the slash. Raises ValueError."""
    names, colon, path = text.partition(":")
    if not colon or not all(names.split(",")):
        raise ValueError(f"{text!r} is not SUBSYS,...:/PATH, such as numtasks,numfiles:/builds")
    return Group(names.split(","), "/" + "/".join(part for part in path.split("/") if part))


def run(args: argparse.Namespace) -> int:
    """Run the command; returns its exit code."""
    from governor.api import Governor
    from governor.cli.run_at import run_in
    from governor.cli.target import Target
    from governor.cli.verb import container

    command = command_of(args)
    if not args.groups:
        raise GovernorError(
            errno.EINVAL, "no container is named: governor exec -g SUBSYS:/PATH CMD"
        )
    if not command:
        raise GovernorError(errno.EINVAL, "no command to run; give it after the containers")
    with Governor.connect(args.dir) as governor:
        places = places_of(args.groups, governor.hierarchies()[1:])
        containers = [container(governor, Target(*place)) for place in places.items()]
        return run_in(governor, containers, command)


def places_of(groups: list[Group], mounted: list[HierarchyReport]) -> dict[str, str]:
    """Paths by hierarchy. ENOENT: a subsystem is bound to none; EINVAL: two paths in one."""
    places: dict[str, str] = {}
    for subsystems, path in groups:
        for subsystem in subsystems:
            for name in _hierarchies(subsystem, mounted):
                if places.setdefault(name, path) != path:
                    raise GovernorError(
                        errno.EINVAL,
                        f"{places[name]} and {path} are in one hierarchy, {name}, which has "
                        f"{subsystem}; give one of them",
                    )
    return places


def _hierarchies(subsystem: str, mounted: list[HierarchyReport]) -> list[str]:
    if subsystem.startswith(BY_NAME):
        found = [one.name for one in mounted if one.name == subsystem.removeprefix(BY_NAME)]
    else:
        found = [one.name for one in mounted if subsystem in (EVERY, *one.subsystems)]
    if not found:
        there = "; ".join(f"{one.name} has {','.join(one.subsystems)}" for one in mounted)
        what = "no hierarchy is mounted" if subsystem == EVERY else f"no hierarchy has {subsystem}"
        if subsystem.startswith(BY_NAME):
            what = f"there is no hierarchy {subsystem.removeprefix(BY_NAME)}"
        elif any(one.name == subsystem for one in mounted):
            what += f", but {BY_NAME}{subsystem} is one"
        raise GovernorError(errno.ENOENT, f"{what}: {there or 'none is mounted'}")
    return found
