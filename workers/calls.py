"""A worker of an executor: it takes calls from a socket and sends back what becomes of them."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from workers import frames, pickles, stdin


def from_stdin(prepare: bytes, calls: int, key: bytes) -> NoReturn:
    """Be a worker, as a job of its own whose standard input is the socket."""
    end = take_stdin()
    belong(key)
    serve(end, prepare, calls)


def belong(key: bytes) -> None:
    """Be known to the managers of multiprocessing that the executor's process has."""
    from multiprocessing.process import current_process

    current_process().authkey = key


def take_stdin() -> socket.socket:
    """The socket that standard input is, which becomes /dev/null."""
    return socket.socket(fileno=stdin.take())


def serve(end: socket.socket, prepare: bytes, calls: int) -> NoReturn:
    """Carry out calls until there are no more, so many at most unless that is 0; then exit.

    ``prepare`` is the pickled initializer with its arguments, empty for none.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    own, status = os.getpid(), 0
    try:
        if not prepare or _prepare(end, prepare):
            _carry_out_all(end, calls, own)
    except (EOFError, OSError, KeyboardInterrupt):
        status = 1 if os.getpid() != own else 0
    finally:
        _flush()
        os._exit(status)


def _carry_out_all(end: socket.socket, calls: int, own: int) -> None:
    inbox = frames.Inbox(end)
    done = 0
    while not calls or done < calls:
        frame = inbox.read()
        assert frame is not None  # the socket blocks
        _carry_out(end, frame, own)
        del frame
        done += 1


def _prepare(end: socket.socket, prepare: bytes) -> bool:
    """Call the initializer; whether that went well."""
    try:
        function, args = pickles.unpack(prepare[1:], bool(prepare[0]))
        function(*args)
    except BaseException as error:
        _send(end, frames.UNREADY, error, _traceback(error), 0.0, 0.0)
        return False
    return True


def _carry_out(end: socket.socket, frame: frames.Frame, own: int) -> None:
    """One call and its answer; a fork of ours that comes back from it just ends."""
    wall, cpu = time.perf_counter(), _cpu()
    kind, words = frames.RETURNED, b""
    value: Any
    try:
        function, args, kwargs = pickles.unpack(frame.data, frame.head.whole)
        value = function(*args, **kwargs)
    except BaseException as error:
        kind, value, words = frames.RAISED, error, _traceback(error)
    if os.getpid() != own:
        raise EOFError
    _flush()
    _send(end, kind, value, words, _cpu() - cpu, time.perf_counter() - wall)


def _send(end: socket.socket, kind: int, value: Any, words: bytes, cpu: float, wall: float) -> None:
    try:
        packed = _pack(value)
    except BaseException as error:
        packed = _pack_instead(value, error)
        kind, words = max(kind, frames.RAISED), words or _traceback(error)
    head = frames.Head(len(packed.data), len(words), kind, packed.whole, cpu, wall)
    frames.send(end, head, words, packed.data)


def _pack(value: Any) -> pickles.Packed:
    if isinstance(value, BaseException):
        value.__traceback__ = None  # its text goes along
    return pickles.pack_answer(value)


def _pack_instead(value: Any, error: BaseException) -> pickles.Packed:
    """What to raise in the place of something that cannot be sent: why it cannot."""
    import pickle

    name = type(value).__name__
    try:
        error.add_note(f"raised when a {name} was to be sent back")
        return _pack(error)
    except BaseException:
        return _pack(pickle.PicklingError(f"a {name} cannot be sent back: {error!r}"))


def _traceback(error: BaseException) -> bytes:
    import traceback

    return "".join(traceback.format_exception(error)).encode(errors="replace")


def _cpu() -> float:
    """Seconds of CPU time of this process and of the children that it has waited for."""
    own = time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own + children.ru_utime + children.ru_stime


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def chunk(function: Any, rows: list[tuple[Any, ...]]) -> list[Any]:
    """Several calls as one, for ``map`` with chunks."""
    return [function(*row) for row in rows]
