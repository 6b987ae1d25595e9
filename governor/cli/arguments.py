"""Parsers of arguments that several commands take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Add ``--dir``: which running governor."""
    parser.add_argument(
        "--dir",
        metavar="DIR",
        help="the governor's directory (default: $GOVERNOR_DIR, or as usual)",
    )


def add_agent_timeout(parser: argparse._ActionsContainer) -> None:
    """Add ``--agent-timeout``: when a process that enforces is taken to hang."""
    parser.add_argument(
        "--agent-timeout",
        type=checked(_agent_timeout),
        metavar="T",
        help="replace the process that enforces after T without an answer (default: 10s)",
    )


def _agent_timeout(text: str) -> float:
    from governor.launch import AGENT_TIMEOUT_LEAST, AGENT_TIMEOUT_MOST
    from governor.units import parse_duration

    seconds = parse_duration(text)
    if not AGENT_TIMEOUT_LEAST <= seconds <= AGENT_TIMEOUT_MOST:
        raise ValueError(f"{text!r} is not a time for this: allowed are 100ms to 24h")
    return seconds


def checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser for argparse whose ValueError's own words reach the user."""

    def parse_or_explain(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_or_explain


def completes(action: argparse.Action, kind: str) -> None:
    """Say what shells are to offer for an argument: a method of `complete.Offers`."""
    action.offers = kind  # type: ignore[attr-defined]


def port(text: str) -> int:
    """A TCP port."""
    return _number(text, 65535, "a port: allowed are 1 to 65535")


def number_of_jobs(text: str) -> int:
    """How many jobs at once, one or more."""
    return _number(text, 10**9, "a number of jobs: allowed are 1, 2, ...")


def _number(text: str, highest: int, allowed: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= highest):
        raise ValueError(f"{text!r} is not {allowed}")
    return int(text)
