"""``governor mount``, ``umount``, ``remount`` and ``containers``: hierarchies as a whole."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from governor.cli.output import show_json, show_table
from governor.cli.target import subsystems
from governor.cli.verb import add_argument, add_json, add_verb, connect

if TYPE_CHECKING:
    from governor.api import HierarchyReport


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the commands."""
    wanted = ("subsystems", subsystems, "SUBSYS,...", "what to bind, or 'all'")
    parser = add_verb(subparsers, "mount", "activate a hierarchy with subsystems", mount)
    add_argument(parser, "name", str, "NAME", "a name for it")
    add_argument(parser, *wanted, completed_by="subsystems")
    parser = add_verb(subparsers, "umount", "unmount a hierarchy", umount)
    add_argument(parser, "name", str, "NAME", "which", completed_by="hierarchies")
    parser = add_verb(subparsers, "remount", "bind other subsystems to a hierarchy", remount)
    add_argument(parser, "name", str, "NAME", "which", completed_by="hierarchies")
    add_argument(parser, *wanted, completed_by="subsystems")
    parser = add_verb(
        subparsers, "containers", "list hierarchies, their subsystems and their sizes", containers
    )
    add_json(parser)


def mount(args: argparse.Namespace) -> int:
    """Mount a hierarchy; says so when one with another name has these subsystems."""
    with connect(args) as governor:
        hierarchy = governor.mount(args.name, args.subsystems)
    if hierarchy.name != args.name:
        print(
            f"governor: hierarchy {hierarchy.name!r} has just these subsystems and is reused",
            file=sys.stderr,
        )
    return 0


def umount(args: argparse.Namespace) -> int:
    """Unmount a hierarchy."""
    with connect(args) as governor:
        governor.umount(args.name)
    return 0


def remount(args: argparse.Namespace) -> int:
    """Bind other subsystems."""
    with connect(args) as governor:
        governor.hierarchy(args.name).remount(args.subsystems)
    return 0


def containers(args: argparse.Namespace) -> int:
    """Print all hierarchies, that of the unbound subsystems first."""
    with connect(args) as governor:
        reports = governor.hierarchies()
    if args.json:
        show_json([report._asdict() for report in reports])
    else:
        show_hierarchies(reports)
    return 0


def show_hierarchies(reports: Iterable[HierarchyReport]) -> None:
    """Print a table of hierarchies."""
    rows = [
        (
            report.name,
            "yes" if report.mounted else "no",
            str(report.containers),
            str(report.groups),
            ",".join(report.subsystems),
        )
        for report in reports
    ]
    titles = ("hierarchy", "mounted", "containers", "groups", "subsystems")
    show_table(titles, rows, right="containers groups")
