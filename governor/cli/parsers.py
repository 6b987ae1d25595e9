"""What all parsers of the command line have in common."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from governor.cli import COMMANDS, HEADINGS, USAGE_ERROR


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
