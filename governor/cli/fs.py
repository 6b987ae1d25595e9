"""``governor fs``: the hierarchies of a running governor as directories."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from governor.cli.arguments import add_directory

_DESCRIPTION = """\
Mount a running governor's hierarchies on MOUNTPOINT, an empty directory, through FUSE: containers
are directories and control files are files, so that mkdir, rmdir, mv, echo and cat manage them.

It stays in the foreground until Ctrl-C, TERM, "umount MOUNTPOINT" or the end of the governor, and
unmounts it then. Needs the extra governor[fs] and libfuse 3.

Exit status: 0 when it was unmounted, 1 when it could not be mounted, 2 for a mistake on the command
line, 3 when no governor runs."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the ``fs`` command."""
    parser = subparsers.add_parser(
        "fs",
        help="show the hierarchies as directories",
        description=_DESCRIPTION,
    )
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="an empty directory")
    parser.add_argument(
        "--detach", action="store_true", help="go on in the background once it is mounted"
    )
    add_directory(parser)
    parser.set_defaults(run=run, failure=1)


def run(args: argparse.Namespace) -> int:
    """Serve the control filesystem until it is unmounted; returns the exit status."""
    # A process in the background is not where it was started.
    point = os.path.abspath(args.mountpoint)
    if args.detach:
        from governor.daemon import detach

        print(detach(lambda ready: _serve(args.dir, point, _then_silent(ready))))
        return 0
    return _serve(args.dir, point, lambda words: print(f"governor: {words}", file=sys.stderr))


def _then_silent(ready: Callable[[str], None]) -> Callable[[str], None]:
    """Let go of standard error as well: whoever reads it is not to wait for the unmounting."""

    def tell(words: str) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        ready(words)

    return tell


def _serve(directory: str | None, point: str, ready: Callable[[str], None]) -> int:
    from governor.api import Governor
    from governor.fs.mount import serve

    with Governor.connect(directory) as governor:
        serve(governor.client, governor.pid, point, lambda: ready(f"{point} is mounted"))
    return 0
