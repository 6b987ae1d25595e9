"""Manual pages, made from the parsers: what ``--help`` says, in the sections of man-pages(7).

A command's page needs nothing but its parser. Of the description and the epilog, a paragraph that
begins with "Exit status:" becomes a section, and so do lines below "examples:". Lines that are
indented stay as they are.
"""

from __future__ import annotations

import argparse
import os
import re
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from governor import __version__
from governor.cli import COMMANDS, HEADINGS, build_parser
from governor.cli.parsers import parser_of, subcommands

WIDTH = 72
"""Columns of the source; what it looks like is up to man(1)."""

_HELD: Final = "\0"

_SPECIAL: Final = {
    "\\": "\\e",
    "-": "\\-",
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
}
"""Characters that would be printed as others, which nobody could copy (groff_char(7))."""

_ENVIRONMENT: Final = (
    ("GOVERNOR_DIR", "the directory of the running governor"),
    ("XDG_RUNTIME_DIR, TMPDIR", "where directories for sockets are made; else in /tmp"),
    ("GOVERNOR_SHIM=off", "in the environment of a job: nothing is preloaded into it"),
    ("NO_COLOR", "no colours in what governor batch prints"),
)


def name_of(command: str | None) -> str:
    """The name of a page: ``governor`` or ``governor-COMMAND``."""
    return f"governor-{command}" if command else "governor"


def pages() -> Iterator[tuple[str, str]]:
    """Every page, as the name of its file and its source."""
    for command in (None, *COMMANDS):
        yield f"{name_of(command)}.1", page(command)


def page(command: str | None) -> str:
    """The source of a page in the language of man(7)."""
    lines = _overview() if command is None else _of_command(command)
    name = name_of(command)
    date = time.strftime("%Y-%m-%d", time.gmtime(_now()))
    head = f'.TH {_escape(name.upper())} 1 {date} "governor {__version__}" "governor"'
    # Words are not parted: names and options are not words that one could put together again.
    return "\n".join([head, ".nh", ".ad l", *lines, ""])


def _now() -> float:
    """The time that a page bears; builds that can be repeated set it."""
    return float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())


def _overview() -> Iterator[str]:
    parser = build_parser([])
    description = parser.description or ""
    yield from _section(
        "NAME", [_escape(f"governor - {description[0].lower()}{description[1:-1]}")]
    )
    yield from _section(
        "SYNOPSIS", _synopsis("governor [--version] [--help] COMMAND [ARGUMENT ...]")
    )
    text = f"{description} What each command does is in a page of its own."
    yield from _section("DESCRIPTION", _prose(text))
    yield ".SH COMMANDS"
    for command, action in subcommands(parser).items():
        if command in HEADINGS:
            yield f".SS {_escape(HEADINGS[command])}"
        yield from _item(f"\\fB{_escape(name_of(command))}\\fR(1)", _sentence(action.help or ""))
    yield from _section("OPTIONS", _options(parser))
    yield from _section("ENVIRONMENT", _items(_ENVIRONMENT))


def _of_command(command: str) -> Iterator[str]:
    overview = build_parser([command])
    parser = parser_of(overview, command)
    summary = subcommands(overview)[command].help or ""
    texts = f"{parser.description or ''}\n\n{parser.epilog or ''}"
    paragraphs = [part for part in re.split(r"\n\s*\n", texts.strip("\n")) if part.strip()]
    ends = [part for part in paragraphs if part.startswith("Exit status:")]
    examples = [part for part in paragraphs if part.startswith("examples:")]
    yield from _section("NAME", [_escape(f"{name_of(command)} - {summary}")])
    yield from _section("SYNOPSIS", _synopsis(_usage(parser)))
    rest = [part for part in paragraphs if part not in ends + examples]
    yield from _section("DESCRIPTION", _paragraphs(rest))
    yield from _section("OPTIONS", _options(parser))
    if command in MORE:
        yield from MORE[command]()
    yield from _section("EXIT STATUS", _ends(ends))
    yield from _section("EXAMPLES", _paragraphs(part.partition("\n")[2] for part in examples))
    yield from _section("SEE ALSO", ["\\fBgovernor\\fR(1)"])


# -- sections ------------------------------------------------------------------------------


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield f".SH {title}"
        yield from found


def _usage(parser: argparse.ArgumentParser) -> str:
    text = " ".join(parser.format_usage().split())
    return text.removeprefix("usage: ").replace(" [-h]", "", 1)


def _synopsis(usage: str) -> Iterator[str]:
    """The usage: what is typed as it stands is bold, what stands for something else is not."""
    words = usage.split()
    count = next(n for n, word in enumerate([*words, "["]) if not word.isalpha() or word.isupper())
    yield f".B {_escape(' '.join(words[:count]))}"
    rest = _kept_together(" ".join(words[count:]))
    for line in textwrap.wrap(rest, WIDTH // 2, break_on_hyphens=False, break_long_words=False):
        # Without the end, which is invisible, "...]" would end a sentence.
        yield _text(_marked(line).replace(_HELD, "\\ ") + "\\&")


def _kept_together(usage: str) -> str:
    """The usage with spaces in brackets held: an option and its value are on one line."""
    depth, letters = 0, []
    for letter in usage:
        depth += (letter == "[") - (letter == "]")
        letters.append(_HELD if letter == " " and depth else letter)
    return "".join(letters)


def _marked(text: str) -> str:
    """Options bold, and the names of values in italics."""
    parts = re.split(r"(?<![\w-])(--?[a-z][a-z-]*|[A-Z][A-Z]+)(?![a-z])", text)
    fonts = ("I", "B")
    return "".join(
        f"\\f{fonts[part[0] == '-']}{_escape(part)}\\fR" if index % 2 else _escape(part)
        for index, part in enumerate(parts)
    )


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Arguments and options, under the titles of their groups where those have their own."""
    usual = {parser._positionals, parser._optionals}
    for group in sorted(parser._action_groups, key=lambda one: one not in usual):
        actions = [one for one in group._group_actions if _is_listed(one)]
        if actions and group not in usual:
            yield f".SS {_escape(str(group.title)).capitalize()}"
        for action in actions:
            text = parser._get_formatter()._expand_help(action) if action.help else ""
            yield from _item(_invocation(action), _sentence(text))


def _is_listed(action: argparse.Action) -> bool:
    shown = action.help != argparse.SUPPRESS
    return shown and not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)


def _invocation(action: argparse.Action) -> str:
    """``-p NAME, --property NAME``."""
    metavar = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    value = f"\\fI{_escape(str(metavar))}\\fR"
    if not action.option_strings:
        return f"{value} ..." if action.nargs in ("+", "*") else value
    if action.nargs == 0:
        value = ""
    elif action.nargs == "?":
        value = f" [{value}]"
    else:
        value = f" {value}"
    return ", ".join(f"\\fB{_escape(option)}\\fR{value}" for option in action.option_strings)


def _ends(texts: Iterable[str]) -> Iterator[str]:
    """``Exit status: 0 done, 1 failed.`` as a list."""
    for text in texts:
        sentence = " ".join(text.removeprefix("Exit status:").split()).removesuffix(".")
        for part in re.split(r"[,;] (?=\d+(?:\+n)? )", sentence):
            status, _, meaning = part.partition(" ")
            if status[0].isdigit():
                yield from _item(f"\\fB{status}\\fR", _sentence(meaning))
            else:
                yield from _prose(_sentence(part))


# -- text ----------------------------------------------------------------------------------


def _paragraphs(parts: Iterable[str]) -> Iterator[str]:
    """Paragraphs, with those lines as they are that are indented."""
    for number, part in enumerate(parts):
        if number:
            yield ".PP"
        if part[:1].isspace():
            yield from (".EX", *map(_line, textwrap.dedent(part).rstrip().split("\n")), ".EE")
        else:
            yield from _prose(part)


def _prose(text: str) -> Iterator[str]:
    """Text, a sentence on lines of its own, as man(1) wants to know where one ends."""
    for sentence in re.split(r"(?<=[a-z)\"'][.:?!])\s+(?=[A-Z])", " ".join(text.split())):
        lines = textwrap.wrap(sentence, WIDTH, break_on_hyphens=False, break_long_words=False)
        yield from map(_line, lines)


def _sentence(text: str) -> str:
    """What is a line of help, as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _items(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in pairs:
        yield from _item(f"\\fB{_escape(term)}\\fR", _sentence(text))


def _item(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield term
    yield from _prose(text)


def _line(text: str) -> str:
    return _text(_escape(text))


def _text(line: str) -> str:
    """A line of text, which is none of the requests that begin with a dot."""
    return f"\\&{line}" if line.startswith(".") else line


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


# -- what one command has more of ------------------------------------------------------------


def _properties() -> Iterator[str]:
    """What ``-p`` takes, and what it does not."""
    from governor.cli import properties

    yield ".SH PROPERTIES"
    yield from _prose(
        "Names and values are those of systemd.resource-control(5) and systemd.exec(5): sizes with "
        "K, M, G or T for powers of 1024, times such as 5min 20s, lists such as 0-3,5, infinity. "
        "A name with a dot is a control file of the command's own container, such as "
        "numfiles.limit=4k. A file of --limits has one property a line, and comments after # or ;."
    )
    for one in properties.PROPERTIES.values():
        does = _sentence(one.does)
        more = "" if one.difference == "the same" else f" Unlike systemd: {one.difference}."
        if one.difference.startswith("the same;"):
            more = f" As in systemd{one.difference.removeprefix('the same')}."
        yield from _item(f"\\fB{one.name}\\fR", f"{does}{more}".replace("`", ""))
    yield ".SS Refused"
    reasons: dict[str, list[str]] = {}
    for name, why in properties.REFUSED.items():
        reasons.setdefault(why, []).append(name)
    yield from _items((", ".join(names), why) for why, names in reasons.items())


MORE: Final[dict[str, Callable[[], Iterator[str]]]] = {"run": _properties}
"""Sections that only the page of one command has."""
