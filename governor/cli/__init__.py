"""The command line. A command's module adds its parser, or those of several commands."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from errno import errorcode
from typing import Any, NoReturn

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


class Plain:
    """The colours of argparse in Python 3.14, all of them none."""

    def __getattr__(self, name: str) -> str:
        return ""


class Paragraphs(argparse.HelpFormatter):
    """Help whose descriptions are as wide as the terminal; lines that are indented stay."""

    def __init__(self, prog: str, **keys: Any) -> None:
        super().__init__(prog, **{"width": _columns() - 2, **keys})

    def _set_color(self, *_: object, **__: object) -> None:
        """Called from Python 3.14 on, by every parser; what it imports takes 9 ms of each start.

        So help looks the same on every Python, and manual pages made from it have no escapes.
        """
        self._theme = Plain()
        self._decolor = str

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        prose: list[str] = []
        for line in [*text.strip("\n").split("\n"), ""]:
            if line[:1].strip():
                prose.append(line)
                continue
            if prose:
                lines += self._filled(" ".join(prose), width, indent)
                prose.clear()
            lines.append(line)
        return "\n".join(lines[:-1])

    def _filled(self, text: str, width: int, indent: str) -> list[str]:
        import textwrap

        # Options and names of files are not cut in two.
        return textwrap.wrap(
            text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )


def _columns() -> int:
    """The width of the terminal, as `shutil.get_terminal_size` finds it, and argparse with that.

    Every parser asks for it, and shutil imports all compressors there are.
    """
    with contextlib.suppress(KeyError, ValueError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    # There may be no standard output, or it is no terminal, or one that does not know its size.
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    return 80


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one line, with an exit code of its own.

    Options are written in full: a new one would make the beginning of another ambiguous.
    """

    usage_error = USAGE_ERROR

    def __init__(self, *args: Any, **keys: Any) -> None:
        ours = {"formatter_class": Paragraphs, "allow_abbrev": False}
        super().__init__(*args, **{**keys, **ours})

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse what is not known at once: a command's own parser names itself and its code."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown[0])
        return parsed, unknown

    def _refuse(self, word: str) -> NoReturn:
        if word[:1] != "-":
            self.error(f"no place for {word!r}")
        from governor.cli.nearest import nearest

        name = word.partition("=")[0]
        self.error(f"there is no option {name}{nearest(name, self._option_string_actions)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of an argument's choices, with the nearest one."""
        if action.choices is not None and value not in action.choices:
            from governor.cli.nearest import nearest

            choices = [str(choice) for choice in action.choices]
            near = nearest(str(value), choices)
            raise argparse.ArgumentError(
                action, f"{value!r} is none{near}; allowed are {', '.join(choices)}"
            )

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help so that a full disk is no success, and a closed output no failure."""
        if file is sys.stderr and file is not None:
            super()._print_message(message, file)
        else:
            from governor.cli.output import show

            show(message.rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; argparse would print the whole usage first."""
        self.exit(self.usage_error, f"{self.prog}: {message}; see '{self.prog} --help'\n")


class Overview(Parser):
    """The parser of all commands, whose help has them in groups."""

    def format_help(self) -> str:
        """The help: a line for every command, under the headings."""
        width = max(map(len, COMMANDS)) + 2
        lines = ["usage: governor COMMAND [ARGUMENT ...]", "", self.description or ""]
        for name, action in subcommands(self).items():
            if name in HEADINGS:
                lines += ["", f"{HEADINGS[name]}:"]
            lines.append(f"  {name:{width}}{action.help}")
        more = "'governor COMMAND --help' and 'governor man COMMAND' say more."
        return "\n".join([*lines, "", more, "'governor --version' prints the version.", ""])


def subcommands(overview: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """What the help of all commands has of each, in its order."""
    return {action.dest: action for action in _subparsers(overview)._choices_actions}


def parser_of(overview: argparse.ArgumentParser, command: str) -> argparse.ArgumentParser:
    """The parser of one command."""
    parser: argparse.ArgumentParser = _subparsers(overview).choices[command]
    return parser


def _subparsers(overview: argparse.ArgumentParser) -> argparse._SubParsersAction[Any]:
    (found,) = (one for one in overview._actions if isinstance(one, argparse._SubParsersAction))
    return found


YOUNG = 50_000
"""Objects after which garbage is looked for: not during a start, which makes none to speak of."""


def entry() -> NoReturn:
    """The installed command: `main`, and then out without taking the interpreter apart.

    That would take longer than starting the job did, and everything of ours is closed.
    """
    gc.set_threshold(YOUNG)
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
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


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
