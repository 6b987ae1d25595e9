"""The command line. A command's module adds its parser, or those of several commands."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from errno import errorcode
from typing import TYPE_CHECKING, NoReturn

from governor import __version__
from governor.errors import GovernorError, NotRunning
from governor.results import OWN_FAILURE

if TYPE_CHECKING:
    import argparse

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
    "exec": "cgexec",
    "attach": "processes",
    "ps": "processes",
    "kill": "processes",
    "where": "processes",
    "events": "events",
    "top": "top",
    "fs": "fs",
    "completion": "completion",
    "man": "man",
}
"""Commands, in the order of the help, and the modules of this package they are in."""

HEADINGS = {
    "run": "Run commands under limits",
    "doctor": "This machine",
    "up": "A running governor",
    "ls": "Its containers",
    "exec": "Its processes",
    "events": "What happens in it",
    "completion": "Help",
}
"""What the help says above a command: what it and those that follow are about."""

FAILED = 1
USAGE_ERROR = 2
NOT_RUNNING = 3
"""Exit codes of the commands that use a running governor; 3 is that of LSB's ``status``."""
INTERRUPTED = 130

YOUNG = 50_000
"""Objects after which garbage is looked for: not during a start, which makes none to speak of."""

_BEGUN_LATE = ("-h", "--help", "--at", "--agent-timeout")
"""Options with which ``governor run`` needs no supervisor of its own, or another than the usual."""


def entry() -> NoReturn:
    """The installed command: `main`, and then out without taking the interpreter apart.

    That would take longer than starting the job did, and everything of ours is closed.
    """
    gc.set_threshold(YOUNG)
    _restore_locale()
    code = _begin_and_run()
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


def _begin_and_run() -> int:
    """`main`; the supervisor that it is going to need starts while it reads the command line.

    Here and not there, since this takes a process with one thread, which is nobody else's.
    """
    command, *words = sys.argv[1:] or [""]
    if command != "run" or any(word.startswith(_BEGUN_LATE) for word in words):
        return main()
    from governor import launch

    try:
        with _interruptible():
            try:
                launch.begin()
                return main()
            finally:
                launch.abandon()
    except KeyboardInterrupt:
        return INTERRUPTED


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _check_command(arguments)
    failure = FAILED
    try:
        args = build_parser(arguments).parse_args(arguments)
        failure = getattr(args, "failure", OWN_FAILURE)
        with _interruptible():
            code: int = args.run(args)
        return code
    except GovernorError as error:
        return _explain(error, failure)
    except KeyboardInterrupt:
        return INTERRUPTED


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C is an exception in here, so that what has begun is tidied up; what ignores it may.

    Before and after that it ends us, if `governor.__main__` has said so.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = _give_up
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.unraisablehook = sys.__unraisablehook__


def _give_up(caught: sys.UnraisableHookArgs) -> None:
    """End for a Ctrl-C that comes in a callback of the interpreter, such as each import makes.

    Nothing is raised out of these: it would be printed, and go unheard.
    """
    if caught.exc_type is KeyboardInterrupt:
        os._exit(INTERRUPTED)
    sys.__unraisablehook__(caught)


def _check_command(arguments: Sequence[str]) -> None:
    """Help who gives no command, or one that is not there; exits with the code of a mistake."""
    if not arguments:
        build_parser([]).print_help(sys.stderr)
        raise SystemExit(USAGE_ERROR)
    name = arguments[0]
    if name not in COMMANDS and name[:1] != "-":
        from governor.cli.nearest import nearest

        message = f"there is no command {name!r}{nearest(name, COMMANDS)}; see 'governor --help'"
        print(f"governor: {message}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR)


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
    from governor.cli.parsers import Overview, Parser

    parser = Overview(
        prog="governor",
        description="Run programs under limits, in several hierarchies, without root.",
    )
    parser.add_argument("--version", action="version", version=f"governor {__version__}")
    subparsers = parser.add_subparsers(
        metavar="COMMAND", required=True, parser_class=Parser, prog="governor"
    )
    # Only the command that is asked for is imported: starting is part of every run.
    wanted = COMMANDS.get(arguments[0]) if arguments else None
    for name in dict.fromkeys(COMMANDS.values()) if wanted is None else (wanted,):
        importlib.import_module(f"governor.cli.{name}").add_parser(subparsers)
    return parser
