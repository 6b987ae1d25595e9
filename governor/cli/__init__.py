"""The command line. A command's module adds its parser, or those of several commands."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from errno import errorcode
from typing import NoReturn

from governor import __version__
from governor.errors import GovernorError, NotRunning
from governor.results import OWN_FAILURE

COMMANDS = {
    "run": "run",
    "batch": "batch",
    "check": "check",
    "report": "report",
    "doctor": "doctor",
    "bench": "bench",
    "up": "up",
    "down": "running",
    "status": "running",
    "mount": "hierarchies",
    "umount": "hierarchies",
    "remount": "hierarchies",
    "containers": "hierarchies",
    "ls": "listing",
    "tree": "listing",
    "mkdir": "containers",
    "rmdir": "containers",
    "mv": "containers",
    "get": "files",
    "set": "files",
    "attach": "processes",
    "ps": "processes",
    "kill": "processes",
    "where": "processes",
    "events": "events",
    "top": "top",
    "fs": "fs",
    "completion": "completion",
}
"""Commands, in the order of the help, and the modules of this package they are in."""

FAILED = 1
USAGE_ERROR = 2
NOT_RUNNING = 3
"""Exit codes of the commands that use a running governor; 3 is that of LSB's ``status``."""
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one line, with an exit code of its own."""

    usage_error = USAGE_ERROR

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse what is not known at once: a command's own parser names itself and its code."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            option = f"there is no option {unknown[0]}"
            self.error(option if unknown[0][:1] == "-" else f"no place for {unknown[0]!r}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; argparse would print the whole usage first."""
        self.exit(self.usage_error, f"{self.prog}: {message}; see '{self.prog} --help'\n")


def entry() -> NoReturn:
    """The installed command: `main`, and then out without taking the interpreter apart.

    That would take longer than starting the job did, and everything of ours is closed.
    """
    _restore_locale()
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # it is None when we were started with it closed
                stream.flush()
        except OSError:
            code = code or 1
    os._exit(code)


def _restore_locale() -> None:
    """Take back the LC_CTYPE that Python adds in the C locale (PEP 538): jobs shall not see it."""
    try:
        with open("/proc/self/environ", "rb", buffering=0) as file:
            given = file.read().split(b"\0")
    except OSError:
        return
    if not any(entry.startswith(b"LC_CTYPE=") for entry in given):
        os.environ.pop("LC_CTYPE", None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = build_parser(arguments).parse_args(arguments)
    try:
        code: int = args.run(args)
        return code
    except GovernorError as error:
        return _explain(error, getattr(args, "failure", OWN_FAILURE))
    except KeyboardInterrupt:
        return INTERRUPTED


def _explain(error: GovernorError, code: int) -> int:
    """Say why not, and to scripts with which errno where the exit code does not tell."""
    if isinstance(error, NotRunning):
        print(f"governor: {error.message}", file=sys.stderr)
        return NOT_RUNNING if code == FAILED else code
    name = f" [{errorcode.get(error.errno, error.errno)}]" if code == FAILED else ""
    print(f"governor: {error.message}{name}", file=sys.stderr)
    return code


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for these arguments; it knows all commands unless they begin with one."""
    parser = Parser(
        prog="governor",
        description="Run programs under limits, in several hierarchies, without root.",
    )
    parser.add_argument("--version", action="version", version=f"governor {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    # Only the command that is asked for is imported: starting is part of every run.
    wanted = COMMANDS.get(arguments[0]) if arguments else None
    for name in dict.fromkeys(COMMANDS.values()) if wanted is None else (wanted,):
        importlib.import_module(f"governor.cli.{name}").add_parser(subparsers)
    return parser
