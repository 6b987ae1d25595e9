"""Going on without a terminal: a process that outlives its caller, and says when it is ready."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from governor.errors import GovernorError
from governor.launch import open_standard_streams

Ready = Callable[[str], None]
"""To be called once, with what the caller is to hear."""


def detach(become: Callable[[Ready], int]) -> str:
    """Run ``become(ready)`` in a process with a session of its own; what it said when ready.

    It has none of this process's descriptors but standard error. Raises the GovernorError with
    which it failed before that, EIO when it ended without a word. To be called while this
    process has one thread.
    """
    _flush()
    open_standard_streams()
    hear, tell = socket.socketpair()
    if os.fork() == 0:
        _run(become, tell)
    tell.close()
    with hear, hear.makefile(encoding="utf-8", errors="replace") as heard:
        number, _, words = heard.read().partition(" ")
    if not number:
        raise GovernorError(errno.EIO, "the governor did not start; see above for the reason")
    if number != "0":
        raise GovernorError(int(number), words)
    return words


def _run(become: Callable[[Ready], int], tell: socket.socket) -> NoReturn:
    told = False

    def say(number: int, words: str) -> None:
        nonlocal told
        if not told:
            told = True
            tell.sendall(f"{number} {words}".encode(errors="replace"))
            tell.shutdown(socket.SHUT_RDWR)  # what was forked meanwhile has copies of it

    code = 1
    try:
        _leave_caller(tell.fileno())
        code = become(lambda words: say(0, words))
    except GovernorError as error:
        say(error.errno, error.message)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _flush() -> None:
    """Write out what is buffered, where there is a stream; there is none if it came closed."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _leave_caller(keep: int) -> None:
    """A session of one's own, no streams but standard error, no descriptor of the caller's."""
    os.setsid()
    os.chdir("/")
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
