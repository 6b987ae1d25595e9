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
