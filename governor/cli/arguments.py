"""Parsers of arguments that several commands take."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from governor.errors import GovernorError
from governor.units import parse_duration

if TYPE_CHECKING:
    from governor.serving import Serving

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

    seconds = parse_duration(text)
    if not AGENT_TIMEOUT_LEAST <= seconds <= AGENT_TIMEOUT_MOST:
        raise ValueError(f"{text!r} is not a time for this: allowed are 100ms to 24h")
    return seconds


def add_events(parser: argparse._ActionsContainer) -> None:
    """Add ``--events``: a file of what happens."""
    parser.add_argument(
        "--events",
        type=checked(_file),
        metavar="FILE",
        help="append a line of JSON to FILE for all that happens",
    )


def _file(text: str) -> str:
    """A file, wherever the working directory will be; an empty name is a variable not set."""
    if not text:
        raise ValueError("an empty name is no file")
    return os.path.abspath(text)


def add_metrics(parser: argparse._ActionsContainer) -> None:
    """Add ``--metrics`` and how they are served; see `serving`."""
    add = parser.add_argument
    add(
        "--metrics",
        type=checked(_address),
        metavar="[HOST:]PORT",
        help="serve Prometheus metrics, on 127.0.0.1 without a HOST",
    )
    add("--metrics-tls-cert", metavar="FILE", help="by TLS, with this certificate")
    add("--metrics-tls-key", metavar="FILE", help="its key (default: in the same file)")
    add("--metrics-auth", metavar="FILE", help="only for these: a line user:password for each")
    add(
        "--metrics-keep",
        type=checked(parse_duration),
        metavar="TIME",
        help="how long what is gone is still told of (default: 1m)",
    )


def serving(args: argparse.Namespace) -> Serving | None:
    """How metrics are to be served, if at all. EINVAL: it is said how, but not where."""
    given = {name: getattr(args, f"metrics_{name}") for name in ("tls_cert", "tls_key", "auth")}
    files = {name: os.path.abspath(path) for name, path in given.items() if path is not None}
    if args.metrics is None:
        for name in (*files, *(["keep"] if args.metrics_keep is not None else [])):
            option = f"--metrics-{name.replace('_', '-')}"
            raise GovernorError(errno.EINVAL, f"{option} is for --metrics, which is not given")
        return None
    from governor.serving import KEEP, Serving

    host, number = args.metrics
    keep = KEEP if args.metrics_keep is None else args.metrics_keep
    return Serving(number, host, keep=keep, **files)


def _address(text: str) -> tuple[str, int]:
    """``PORT``, ``HOST:PORT`` or ``[IPv6]:PORT``."""
    from governor.serving import HOST

    host, colon, number = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or (colon and not host):
        raise ValueError(f"{text!r} is not PORT, HOST:PORT or [HOST]:PORT")
    return host or HOST, _port(number)


def command_of(args: argparse.Namespace) -> list[str]:
    """The command at the end of a command line, without the ``--`` that may be before it."""
    words: list[str] = args.command
    return words[1:] if words[:1] == ["--"] else words


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


def _port(text: str) -> int:
    """A TCP port."""
    return _number(text, 65535, "a port: allowed are 1 to 65535")


def number_of_jobs(text: str) -> int:
    """How many jobs at once, one or more."""
    return _number(text, 10**9, "a number of jobs: allowed are 1, 2, ...")


def _number(text: str, highest: int, allowed: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= highest):
        raise ValueError(f"{text!r} is not {allowed}")
    return int(text)


def batch_file(name: str) -> str:
    """The batch file that a user names; ``-`` is standard input, as for other commands."""
    return "/dev/stdin" if name == "-" else name
