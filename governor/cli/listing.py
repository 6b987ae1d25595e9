"""``governor ls`` and ``governor tree``: what there is."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from governor.cli.output import can_draw, show_json, show_lines
from governor.cli.target import Target, branch
from governor.cli.verb import add_argument, add_json, add_verb, connect, container

if TYPE_CHECKING:
    from governor.api import ContainerReport, Governor

_WHERE = ("HIER[:/PATH]", "where (default: all hierarchies)")


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the commands."""
    parser = add_verb(subparsers, "ls", "list hierarchies, or what is in a container", ls)
    parser.add_argument(
        "-l", "--long", action="store_true", help="with what may be written, and values"
    )
    add_json(parser)
    add_argument(parser, "target", branch, *_WHERE, nargs="?", completed_by="branches")
    parser = add_verb(subparsers, "tree", "draw containers, with what they hold", tree)
    add_json(parser)
    add_argument(parser, "target", branch, *_WHERE, nargs="?", completed_by="branches")


def ls(args: argparse.Namespace) -> int:
    """List hierarchies, or sub-containers (with a slash) and control files."""
    with connect(args) as governor:
        if args.target is None:
            _ls_hierarchies(governor, args)
        else:
            _ls_container(governor, args.target, args)
    return 0


def _ls_hierarchies(governor: Governor, args: argparse.Namespace) -> None:
    reports = governor.hierarchies()
    if args.json:
        show_json([report._asdict() for report in reports])
    elif args.long:
        from governor.cli.hierarchies import show_hierarchies

        show_hierarchies(reports)
    else:
        show_lines([report.name for report in reports])


def _ls_container(governor: Governor, target: Target, args: argparse.Namespace) -> None:
    place = container(governor, target)
    names = [child.path.rpartition("/")[2] for child in place.children]
    files = place.list_files()
    if args.json:
        values = {
            file: {"writable": writable, "value": place[file]} for file, writable in files.items()
        }
        show_json({"containers": names, "files": values})
    elif args.long:
        width = max(map(len, [*files, *(f"{name}/" for name in names)]), default=0)
        lines = [f"drwx  {name}/" for name in names]
        for file, writable in files.items():
            value = " ".join(str(place[file]).split("\n"))
            lines.append(f"-{'rw-' if writable else 'r--'}  {file:{width}}  {value}".rstrip())
        show_lines(lines)
    else:
        show_lines([*(f"{name}/" for name in names), *files])


def tree(args: argparse.Namespace) -> int:
    """Draw the containers of one branch or of all hierarchies."""
    with connect(args) as governor:
        if args.target is not None:
            governor.hierarchy(args.target.hierarchy)[args.target.path]
        reports = [report for report in governor.containers() if _is_below(report, args.target)]
    if args.json:
        show_json([report._asdict() for report in reports])
    else:
        show_lines(list(draw(reports, can_draw())))
    return 0


def _is_below(report: ContainerReport, target: Target | None) -> bool:
    if target is None:
        return True
    base = target.path.rstrip("/")
    return report.hierarchy == target.hierarchy and f"{report.path}/".startswith(f"{base}/")


def draw(reports: Iterable[ContainerReport], lines: bool = True) -> Iterator[str]:
    """The trees of containers, parents before children as in a snapshot, line by line."""
    children: dict[tuple[str, str], list[ContainerReport]] = {}
    tops = []
    known: set[tuple[str, str]] = set()
    for report in reports:
        parent = (report.hierarchy, report.path.rpartition("/")[0] or "/")
        if report.path != "/" and parent in known:
            children.setdefault(parent, []).append(report)
        else:
            tops.append(report)
        known.add((report.hierarchy, report.path))
    for top in tops:
        yield f"{top.hierarchy}:{top.path}{_figures(top)}"
        yield from _branches(top, children, "", lines)


def _branches(
    report: ContainerReport,
    children: dict[tuple[str, str], list[ContainerReport]],
    indent: str,
    lines: bool,
) -> Iterator[str]:
    fork, last, down = ("├── ", "└── ", "│   ") if lines else ("|-- ", "`-- ", "|   ")
    below = children.get((report.hierarchy, report.path), [])
    for number, child in enumerate(below, 1):
        ends = number == len(below)
        name = child.path.rpartition("/")[2]
        yield f"{indent}{last if ends else fork}{name}{_figures(child)}"
        yield from _branches(child, children, indent + ("    " if ends else down), lines)


def _figures(report: ContainerReport) -> str:
    """What is held of every counted resource, and the limit where there is one."""
    parts = []
    for file, held in report.files.items():
        if file.endswith(".held"):
            resource = file.removesuffix(".held")
            limit = report.files.get(f"{resource}.limit", "max")
            parts.append(f"{resource} {held}" + (f"/{limit}" if limit != "max" else ""))
    return f"  {', '.join(parts)}" if parts else ""
